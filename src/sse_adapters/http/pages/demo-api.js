// The test page's way to the HTTP API: calls, stream URLs, and answers shown as they came.

const ANSWER_TIMEOUT_MS = 15_000;
// Written there by the server, which knows what it is mounted below.
const PREFIX = document.querySelector('meta[name="sse-prefix"]').content;

/**
 * Call the API. Never rejects: when no answer comes, it makes up a problem of the server's own form,
 * so that callers have one kind of failure to show.
 *
 * @param {string} method
 * @param {string} path below the prefix
 * @param {{query?: object, body?: string}} options body: JSON text, sent as it is
 * @returns {Promise<{ok: boolean, status: number, statusText: string, text: string, body: any}>}
 */
export async function call(method, path, { query = {}, body } = {}) {
  const search = new URLSearchParams(query).toString();
  const headers = { Accept: "application/json, application/problem+json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const url = `${PREFIX}${path}${search && `?${search}`}`;
    const response = await fetch(url, { method, headers, body, signal });
    const { ok, status, statusText } = response;
    const text = await response.text();
    return { ok, status, statusText, text, body: parsed(text) };
  } catch (error) {
    const timedOut = `Nothing came in ${ANSWER_TIMEOUT_MS / 1000} s. Do open streams hold all connections?`;
    const detail = error.name === "TimeoutError" ? timedOut : error.message;
    const problem = { title: "No answer", code: "no_answer", detail };
    return { ok: false, status: 0, statusText: problem.title, text: JSON.stringify(problem), body: problem };
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not JSON: shown as text
  }
}

/** JSON.parse for showing: numbers keep their spelling (1.0 stays 1.0) where the browser can do that. */
export function parseAsSpelled(text) {
  const keepSpelling = (_key, value, context) =>
    typeof value === "number" && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  return JSON.parse(text, keepSpelling);
}

/** The URL of a stream in one of the three forms. `{name}` stands where a path still lacks its part. */
export function streamUrl(request) {
  const segment = (name, value) => (value ? encodeURIComponent(value) : `{${name}}`);
  const query = new URLSearchParams();
  const add = (name, value) => value && query.append(name, value);
  let path = "/stream";
  let groups = request.groups;
  add("id", request.clientId);
  if (request.form === "path") {
    path += `/${segment("group", groups[0])}/${segment("user_id", request.userId)}`;
    groups = groups.slice(1);
  } else if (request.form === "mixed") {
    path += `/${segment("user_id", request.userId)}`;
  } else {
    add("user_id", request.userId);
  }
  groups.forEach((group) => add("group", group));
  add("replay", request.replay);
  add("event_types", request.eventTypes.join(","));
  add("since", request.since);
  add("unread", request.unread ? "1" : "");
  add("last_event_id", request.lastEventId);
  const search = query.toString();
  return `${PREFIX}${path}${search && `?${search}`}`;
}

/**
 * Why the server refuses a stream. EventSource does not tell, so its URL is asked once more.
 *
 * @param {string} url from `streamUrl`
 * @returns {Promise<string>} empty when there is no refusal any more, or no answer
 */
export async function streamRefusal(url) {
  const reading = new AbortController();
  try {
    const response = await fetch(url, { signal: reading.signal });
    if (response.status === 200) return "";
    if (response.status === 204) return "204: this client was disconnected, and is to stay away for now.";
    const problem = parsed(await response.text());
    return `${response.status} ${problem?.code ?? response.statusText}: ${problem?.detail ?? "no reason given"}`;
  } catch {
    return "";
  } finally {
    reading.abort(); // of a stream that does open by now, the head was enough
  }
}

/** Event types as a person lists them, apart by commas, spaces or line ends: no type contains any of those. */
export const listedTypes = (text) => text.split(/[\s,]+/).filter(Boolean);

function line(className, text) {
  const paragraph = document.createElement("p");
  paragraph.className = className;
  paragraph.dataset.testid = className;
  paragraph.textContent = text;
  return paragraph;
}

/** Show an answer: its status, code and detail of each problem (a batch may hold several), and the whole to unfold. */
export function showAnswer(output, answer) {
  const parts = (answer.body?.results ?? []).map(({ error }, index) => [`Message ${index + 1}: `, error]);
  const problems = answer.ok ? parts.filter(([, error]) => error) : [["", answer.body ?? {}]];
  const explained = problems.flatMap(([where, problem]) => [
    line("answer-code", `${where}${problem.code ?? problem.title ?? "not a problem document"}`),
    ...(problem.detail ? [line("answer-detail", problem.detail)] : []),
  ]);
  const whole = document.createElement("pre");
  whole.dataset.testid = "answer-body";
  const isJson = answer.body !== null;
  whole.textContent = isJson ? JSON.stringify(parseAsSpelled(answer.text), null, 2) : answer.text;
  const folded = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Whole answer";
  folded.append(summary, whole);
  folded.open = problems.length === 0;
  output.dataset.outcome = problems.length ? "problem" : "ok";
  output.dataset.status = answer.status;
  const status = line("answer-status", `${answer.status} ${answer.statusText}`.trim());
  output.replaceChildren(status, ...explained, folded);
}
