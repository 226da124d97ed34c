// The test page's way to the HTTP API: calls, stream URLs, and answers shown as they came.

const DEFAULT_PREFIX = "/api/v1/sse";
const ANSWER_TIMEOUT_MS = 15_000;

const prefixGiven = document.querySelector('meta[name="sse-prefix"]').content;
// The server writes its prefix there; a page served without that still holds the placeholder.
export const PREFIX = prefixGiven.startsWith("__") ? DEFAULT_PREFIX : prefixGiven;

let token = "";

/** Send this bearer token with every call from now on; empty for none (a cookie goes along anyway). */
export function useToken(value) {
  token = value.trim();
}

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
  if (token) headers.Authorization = `Bearer ${token}`;
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

/** A short-lived ticket for one stream's URL, "" without a token. Throws Error with the problem's detail. */
export async function streamTicket() {
  if (!token) return "";
  const answer = await call("POST", "/ticket");
  if (!answer.ok) throw new Error(answer.body?.detail ?? `No ticket: ${answer.status}`);
  return answer.body.ticket;
}

/** The URL of a stream in one of the three forms. `{name}` stands where a path still lacks its part. */
export function streamUrl(request, ticket = "") {
  const segment = (name, value) => (value ? encodeURIComponent(value) : `{${name}}`);
  const query = new URLSearchParams();
  const add = (name, value) => value && query.append(name, value);
  let path = "/stream";
  if (request.form === "path") {
    path += `/${segment("group", request.groups[0])}/${segment("user_id", request.userId)}`;
  } else if (request.form === "mixed") {
    path += `/${segment("user_id", request.userId)}`;
  } else {
    add("id", request.clientId);
    add("user_id", request.userId);
  }
  if (request.form !== "path") request.groups.forEach((group) => add("group", group));
  add("replay", request.replay);
  add("event_types", request.eventTypes.join(","));
  add("since", request.since);
  add("unread", request.unread ? "1" : "");
  add("last_event_id", request.lastEventId);
  add("ticket", ticket);
  const search = query.toString();
  return `${PREFIX}${path}${search && `?${search}`}`;
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

/** Show an answer: its status, code and detail of each problem (a batch may hold several), then the whole. */
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
  output.dataset.outcome = problems.length ? "problem" : "ok";
  output.dataset.status = answer.status;
  const status = line("answer-status", `${answer.status} ${answer.statusText}`.trim());
  output.replaceChildren(status, ...explained, whole);
}
