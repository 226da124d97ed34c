// The test page's forms for opening streams and for sending.

import { call, listedTypes, showAnswer, streamUrl } from "./demo-api.js";
import { showUnread } from "./demo-inbox.js";
import { Stream, listenFor, liveStreams } from "./demo-stream.js";

// What a browser gives one host over HTTP/1.1; HTTP/2 and 3 share one connection instead.
const CONNECTIONS_PER_HOST = 6;

const byId = (id) => document.getElementById(id);
const lines = (text) => text.split("\n").filter(Boolean);

// ── Opening streams ──────────────────────────────────────────────────────────

const openForm = byId("open-form");
const openFields = openForm.elements;
let streamsOpened = 0;

/** The stream that the form describes. Ids and groups are taken as typed: spaces count. */
function requestedStream() {
  return {
    form: openFields.form.value,
    userId: openFields.userId.value,
    clientId: openFields.clientId.value,
    groups: lines(openFields.groups.value),
    replay: openFields.replay.value,
    unread: openFields.unread.checked,
    lastEventId: openFields.lastEventId.value,
    since: openFields.since.value,
    eventTypes: listedTypes(openFields.eventTypes.value),
  };
}

function describeOpenForm() {
  const request = requestedStream();
  openFields.userId.required = request.form !== "query";
  const lacksGroup = request.form === "path" && request.groups.length === 0;
  openFields.groups.setCustomValidity(lacksGroup ? "The path form needs a group: the first goes into the path." : "");
  byId("open-url").textContent = streamUrl(request);
}

function warnOfConnections() {
  const [navigation] = performance.getEntriesByType("navigation");
  const shared = ["h2", "h3"].includes(navigation?.nextHopProtocol);
  const live = liveStreams().length;
  const warning = byId("connections-warning");
  warning.hidden = shared || live < CONNECTIONS_PER_HOST;
  warning.textContent = warning.hidden
    ? ""
    : `${live} streams are open. Over HTTP/1.1 a browser keeps at most ${CONNECTIONS_PER_HOST} connections ` +
      "to one host, over all its tabs: sending, the inbox and more streams now wait until a stream is cut.";
}

openForm.addEventListener("input", describeOpenForm);
openForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const stream = new Stream(++streamsOpened, requestedStream(), {
    onUnread: showUnread,
    onStateChange: warnOfConnections,
    onRemove: () => {
      byId("no-streams").hidden = byId("streams").childElementCount > 0;
      openForm.querySelector(".primary").focus({ preventScroll: true });
    },
  });
  byId("no-streams").hidden = true;
  byId("streams").prepend(stream.card);
  stream.open();
});

// ── Event types ──────────────────────────────────────────────────────────────

const listenedField = byId("listened-types");

function listenForListedTypes() {
  const types = listedTypes(listenedField.value);
  listenFor(types);
  byId("types").replaceChildren(...types.map((type) => new Option(type, type)));
}

/** A type that is about to be sent must be listened for first, or the browser drops it unseen. */
function alsoListenFor(types) {
  const unheard = types.filter((type) => !listedTypes(listenedField.value).includes(type));
  if (unheard.length === 0) return;
  listenedField.value = [...listedTypes(listenedField.value), ...new Set(unheard)].join(", ");
  listenForListedTypes();
}

listenedField.addEventListener("change", listenForListedTypes);

// ── Sending ──────────────────────────────────────────────────────────────────

const sendForm = byId("send-form");
const sendFields = sendForm.elements;
const SENDING = {
  user: { path: "/send", receiver: "user_id" },
  client: { path: "/send", receiver: "client_id" },
  group: { path: "/send/group", receiver: "group" },
  broadcast: { path: "/broadcast" },
  batch: { path: "/send/batch" },
};

function jsonError(text) {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return error.message;
  }
}

/** The event types in a batch that may be malformed: judging it is the server's part. */
function batchTypes(body) {
  const messages = JSON.parse(body)?.messages;
  const types = Array.isArray(messages) ? messages.map((message) => message?.event_type) : [];
  return types.filter((type) => typeof type === "string");
}

/** Show only the fields that belong to `kind`. Hidden ones are disabled: they must not block a submit. */
function showFieldsFor(kind) {
  for (const label of sendForm.querySelectorAll("[data-only]")) {
    label.hidden = !label.dataset.only.split(" ").includes(kind);
    label.querySelector("input, select, textarea").disabled = label.hidden;
  }
}

function describeSendForm() {
  showFieldsFor(sendFields.kind.value);
  for (const field of [sendFields.data, sendFields.batch]) field.setCustomValidity(jsonError(field.value));
}

/** The body as JSON text. Data goes in as typed: a trip through JSON.parse would respell its numbers. */
function messageBody(receiver) {
  const message = {
    event_type: sendFields.eventType.value,
    persist: sendFields.persist.checked,
    priority: Number(sendFields.priority.value),
  };
  if (receiver) message[receiver] = sendFields[receiver].value;
  if (sendFields.ttl.value) message.ttl = Number(sendFields.ttl.value);
  if (sendFields.eventId.value) message.event_id = sendFields.eventId.value;
  return `${JSON.stringify(message).slice(0, -1)},"data":${sendFields.data.value}}`;
}

sendForm.addEventListener("input", describeSendForm);
sendForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const kind = sendFields.kind.value;
  const { path, receiver } = SENDING[kind];
  const body = kind === "batch" ? sendFields.batch.value : messageBody(receiver);
  alsoListenFor(kind === "batch" ? batchTypes(body) : [sendFields.eventType.value]);
  showAnswer(byId("send-answer"), await call("POST", path, { body }));
});

for (const describe of [describeOpenForm, describeSendForm, listenForListedTypes]) describe();
