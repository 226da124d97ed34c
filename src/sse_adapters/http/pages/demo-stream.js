// One open stream on the test page: the browser's EventSource, and the card that shows all it hands over.

import { call, streamRefusal, streamUrl } from "./demo-api.js";
import { Continuity } from "./demo-continuity.js";

const CONTROL_TYPES = ["sse.open", "sse.reset", "sse.unread", "sse.close"];
const NUMBERED_TYPE = "demo.number";
const NUMBERED_AT_ONCE = 20;
const FRAMES_KEPT = 200;
const STATES = ["connecting", "open", "closed"]; // by EventSource.readyState

const streams = new Set();
let listenedTypes = [];

/** Have every stream, also those opened later, listen for these application event types. */
export function listenFor(types) {
  listenedTypes = types;
  for (const stream of streams) stream.listen();
}

/** The streams that hold, or try to get, a connection. */
export function liveStreams() {
  return [...streams].filter((stream) => stream.state !== "closed");
}

const clockTime = (date) =>
  `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;

/** A stream and its card. Opened again after a cut, it resumes from the last id it was given. */
export class Stream {
  state = "closed";
  #request;
  #page;
  #source = null;
  #heard = new Set();
  #lastEventId = "";
  #closedBecause = "";
  #opened = null;
  #isSending = false;
  #continuity = new Continuity();

  /**
   * @param {number} number shown in the title
   * @param {object} request what `streamUrl` takes
   * @param {{onUnread: function(object), onStateChange: function(), onRemove: function()}} page
   */
  constructor(number, request, page) {
    this.#request = request;
    this.#page = page;
    this.card = document.getElementById("stream-template").content.firstElementChild.cloneNode(true);
    this.card.dataset.stream = number;
    this.card.setAttribute("aria-label", `Stream ${number}`);
    this.#part("title").textContent = `Stream ${number} · ${request.form}`;
    this.#part("log").setAttribute("aria-label", `Frames of stream ${number}, newest first`);
    this.#part("toggle").addEventListener("click", () => (this.state === "closed" ? this.open() : this.cut("cut")));
    this.#part("send-numbered").addEventListener("click", () => this.#sendNumbered());
    this.#part("remove").addEventListener("click", () => this.#remove());
    streams.add(this);
    this.#showContinuity();
  }

  #part(name) {
    return this.card.querySelector(`[data-testid="stream-${name}"]`);
  }

  /** Connect. EventSource cannot set the Last-Event-ID header, so the cursor goes into the URL. */
  open() {
    const lastEventId = this.#lastEventId || this.#request.lastEventId;
    const url = streamUrl({ ...this.#request, lastEventId });
    this.#part("url").textContent = url;
    this.#notice("");
    this.#enter("connecting");
    this.#source = new EventSource(url);
    this.#source.onopen = () => {
      this.#notice("");
      this.#enter("open");
    };
    this.#source.onerror = () => this.#lose();
    this.#heard.clear();
    this.listen();
  }

  /** Drop the connection at once, as a lost network would; `why` is shown beside the state. */
  cut(why) {
    this.#source?.close();
    this.#closedBecause = why;
    this.#enter("closed");
  }

  /** The connection is lost: the browser either tries again, or has given up for good. */
  async #lose() {
    const source = this.#source;
    this.#enter(STATES[source.readyState]);
    if (this.state !== "closed") return;
    const refusal = await streamRefusal(source.url);
    if (refusal && source === this.#source) this.#notice(refusal);
  }

  /** Listen on the open connection for all types wanted by now. */
  listen() {
    for (const type of [...CONTROL_TYPES, NUMBERED_TYPE, ...this.#request.eventTypes, ...listenedTypes]) {
      if (!this.#source || this.#heard.has(type)) continue;
      this.#heard.add(type);
      this.#source.addEventListener(type, (event) => {
        // A type named "error" or "open" hears EventSource's own plain events too.
        if (event instanceof MessageEvent) this.#receive(event);
      });
    }
  }

  #enter(state) {
    const retrying = state === "connecting" && this.state !== "closed" ? "lost, the browser tries again" : "";
    const closed = state === "closed" ? this.#closedBecause || "refused by the server" : "";
    if (state !== "closed") this.#closedBecause = "";
    this.state = state;
    this.card.dataset.state = state;
    const why = closed || retrying;
    this.#part("state").textContent = why ? `${state} (${why})` : state;
    this.#part("toggle").textContent = state === "closed" ? "Resume" : "Cut";
    this.#part("toggle").classList.toggle("primary", state === "closed");
    this.#part("send-numbered").textContent =
      state === "closed" ? `Send ${NUMBERED_AT_ONCE} while cut` : `Send ${NUMBERED_AT_ONCE} numbered`;
    this.#showContinuity();
    this.#page.onStateChange();
  }

  #receive(event) {
    this.#showFrame(event);
    this.#lastEventId = event.lastEventId;
    this.#part("last-event-id").textContent = event.lastEventId || "–";
    if (CONTROL_TYPES.includes(event.type)) {
      this.#obey(event.type, JSON.parse(event.data));
    } else {
      this.#continuity.receive(event.data);
    }
    this.#showContinuity();
  }

  #obey(type, data) {
    if (type === "sse.open") {
      this.#showFacts(data);
    } else if (type === "sse.unread") {
      this.#showUnread(data);
    } else if (type === "sse.reset") {
      this.#notice(`Reset: ${data.reason}. The cursor could not be honoured; replay begins anew.`);
    } else {
      this.#notice(`The server ended this stream: ${data.reason}.`);
      if (!data.reconnect) this.cut("ended by the server");
    }
  }

  #showFacts(open) {
    this.#opened = open;
    const facts = {
      "client-id": open.client_id,
      "user-id": open.user_id,
      groups: open.groups?.join(", "),
      resumed: open.resumed ? "yes" : "no",
      complete: open.complete ? "yes" : "no",
      heartbeat: `${open.heartbeat_seconds} s`,
      "connection-id": open.connection_id,
    };
    for (const [name, value] of Object.entries(facts)) this.#part(name).textContent = value || "–";
    if (open.unread) this.#showUnread({ user_id: open.user_id, ...open.unread });
  }

  #showUnread(counts) {
    this.#part("unread").textContent = counts.total;
    this.#page.onUnread(counts);
  }

  #showFrame(event) {
    const frame = document.getElementById("frame-template").content.firstElementChild.cloneNode(true);
    const part = (name) => frame.querySelector(`[data-testid="frame-${name}"]`);
    const now = new Date();
    frame.dataset.eventType = event.type;
    frame.dataset.lastEventId = event.lastEventId;
    frame.classList.toggle("control", CONTROL_TYPES.includes(event.type));
    // A frame without an id keeps the one before it: dimmed, so that ephemeral messages stand out.
    frame.classList.toggle("same-id", event.lastEventId === this.#lastEventId);
    part("type").textContent = event.type;
    part("time").textContent = clockTime(now);
    part("time").dateTime = now.toISOString();
    part("id").textContent = event.lastEventId;
    part("data").textContent = event.data;
    const list = this.#part("log").firstElementChild;
    list.prepend(frame);
    if (list.childElementCount > FRAMES_KEPT) list.lastElementChild.remove();
  }

  #showContinuity() {
    const { verdict, text } = this.#continuity.judge(this.state === "closed");
    const shown = this.#part("continuity");
    shown.dataset.verdict = verdict;
    // Written only when it changes, or screen readers would say it again for every frame.
    if (shown.textContent !== text) shown.textContent = text;
    // Before its first id a stream has nowhere to resume from.
    this.#part("send-numbered").disabled = this.#isSending || !this.#opened;
  }

  #notice(text) {
    this.#part("notice").textContent = text;
    this.#part("notice").hidden = !text;
  }

  /** Whom to send to so that this stream gets it, also after a resume (a generated client id may change). */
  #audience() {
    const { user_id, groups } = this.#opened;
    if (user_id) return { user_id };
    if (this.#request.clientId) return { client_id: this.#request.clientId };
    return groups.length > 0 ? { group: groups[0] } : { broadcast: true };
  }

  async #sendNumbered() {
    const numbered = this.#continuity.next(NUMBERED_AT_ONCE);
    // A stream that takes only certain types would rightly get none of another.
    const event_type = this.#request.eventTypes[0] ?? NUMBERED_TYPE;
    const to = this.#audience();
    const common = { to, event_type, persist: true };
    const messages = numbered.map(({ priority, data }) => ({ ...common, priority, data }));
    this.#notice("");
    this.#isSending = true; // one batch at a time: two at once may be taken in either order
    this.#showContinuity();
    const answer = await call("POST", "/send/batch", { body: JSON.stringify({ messages }) });
    const whole = answer.ok ? null : (answer.body ?? answer);
    const problems = numbered.map((_, index) => whole ?? answer.body.results[index].error);
    numbered.forEach(({ number }, index) => problems[index] && this.#continuity.withdraw(number));
    const problem = problems.find(Boolean);
    if (problem) this.#notice(`Not sent: ${problem.code ?? problem.status}. ${problem.detail ?? ""}`);
    this.#isSending = false;
    this.#showContinuity();
  }

  #remove() {
    this.cut("removed");
    streams.delete(this);
    this.card.remove();
    this.#page.onRemove();
  }
}
