// The test page's inbox: one user's unread counts, messages and subscriptions.

import { call, listedTypes, parseAsSpelled, showAnswer } from "./demo-api.js";

const PAGE_SIZE = 20;
const PRIORITIES = ["normal", "high", "urgent"]; // by number

const byId = (id) => document.getElementById(id);
const user = () => byId("inbox-user").value;
const listForm = byId("list-form");
const subscriptionForm = byId("subscription-form");
let nextPage = null;

/** Counts come from answers and from the streams' `sse.unread`; only those of the user shown here count. */
export function showUnread(counts) {
  if (counts.user_id !== user()) return;
  const parts = { "": counts.by_priority, "group ": counts.by_group, "type ": counts.by_event_type };
  const items = Object.entries(parts).flatMap(([label, part]) =>
    Object.entries(part ?? {}).map(([name, count]) => {
      const item = document.createElement("li");
      item.textContent = `${label}${name} ${count}`;
      return item;
    }),
  );
  byId("unread-total").textContent = counts.total;
  byId("unread-parts").replaceChildren(...items);
}

/** Call for what the inbox shows: counts and messages tell of a success, so only a problem is shown as it came. */
async function ask(method, path, options) {
  const answer = await call(method, path, options);
  byId("inbox-answer").replaceChildren();
  if (!answer.ok) showAnswer(byId("inbox-answer"), answer);
  return answer;
}

async function refreshCounts() {
  const answer = await ask("GET", "/messages/unread", { query: { user_id: user() } });
  if (answer.ok) showUnread(answer.body);
}

/** @returns {Promise<boolean>} whether the server took it */
async function markRead(selection) {
  const user_id = user();
  const answer = await ask("POST", "/messages/read", { body: JSON.stringify({ user_id, ...selection }) });
  if (answer.ok) showUnread({ user_id, ...answer.body.unread });
  return answer.ok;
}

function messageItem(message, data) {
  const item = byId("message-template").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`[data-testid="message-${name}"]`);
  const { receiver_type, receiver_id, priority, created_at } = message;
  const receiver = receiver_type === "broadcast" ? "everyone" : `${receiver_type} ${receiver_id}`;
  item.dataset.eventId = message.event_id;
  part("seq").textContent = `#${message.seq}`;
  part("type").textContent = message.event_type;
  part("about").textContent = `to ${receiver} · ${PRIORITIES[priority]}`;
  part("time").textContent = new Date(created_at).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
  part("time").dateTime = created_at;
  part("data").textContent = JSON.stringify(data);
  part("read").addEventListener("click", async () => {
    if (await markRead({ event_ids: [message.event_id] })) showStatus(item, "read");
  });
  showStatus(item, message.status);
  return item;
}

function showStatus(item, status) {
  const part = (name) => item.querySelector(`[data-testid="message-${name}"]`);
  item.dataset.status = status;
  part("status").textContent = status;
  part("read").hidden = status === "read";
}

async function listMessages(after) {
  const list = listForm.elements.list.value;
  const query = { user_id: user(), limit: PAGE_SIZE };
  if (after) query.after = after;
  if (list && list !== "undelivered") query.status = list;
  const answer = await ask("GET", list === "undelivered" ? "/messages/pending" : "/messages", { query });
  if (!answer.ok) return;
  const asSpelled = parseAsSpelled(answer.text).messages;
  const items = answer.body.messages.map((message, index) => messageItem(message, asSpelled[index].data));
  if (!after) byId("messages").replaceChildren();
  byId("messages").append(...items);
  nextPage = answer.body.next;
  showListState();
}

function showListState() {
  const shown = byId("messages").childElementCount;
  byId("more-messages").hidden = !nextPage;
  const more = nextPage ? ", there are more" : "";
  byId("list-state").textContent = shown ? `${shown} shown${more}` : "No such message.";
}

function forgetUser() {
  byId("unread-total").textContent = "–";
  byId("unread-parts").replaceChildren();
  byId("messages").replaceChildren();
  byId("list-state").textContent = "";
  byId("more-messages").hidden = true;
}

byId("inbox-user").addEventListener("input", forgetUser);
byId("inbox-form").addEventListener("submit", (event) => {
  event.preventDefault();
  refreshCounts();
});
byId("read-all").addEventListener("click", async () => {
  if (!(await markRead({ all: true }))) return;
  for (const item of byId("messages").children) showStatus(item, "read");
});

listForm.addEventListener("submit", (event) => {
  event.preventDefault();
  listMessages();
});
byId("more-messages").addEventListener("click", () => listMessages(nextPage));

async function askSubscriptions(method, path, options) {
  showAnswer(byId("subscription-answer"), await call(method, path, options));
}

subscriptionForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { group, eventTypes } = subscriptionForm.elements;
  const subscription = { user_id: user(), group: group.value };
  const action = event.submitter.value;
  if (action === "subscribe") {
    subscription.event_types = eventTypes.value ? listedTypes(eventTypes.value) : null;
  }
  askSubscriptions("POST", `/${action}`, { body: JSON.stringify(subscription) });
});
byId("list-subscriptions").addEventListener("click", () =>
  askSubscriptions("GET", "/subscriptions", { query: { user_id: user() } }),
);
