// The test page's inbox: one user's unread counts, messages and subscriptions.

import { call, listedTypes, parseAsSpelled, showAnswer } from "./demo-api.js";

const PAGE_SIZE = 20;

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

async function ask(method, path, options) {
  const answer = await call(method, path, options);
  showAnswer(byId("inbox-answer"), answer);
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
  const { receiver_type, receiver_id, priority, status, created_at } = message;
  const receiver = receiver_type === "broadcast" ? "everyone" : `${receiver_type} ${receiver_id}`;
  item.dataset.eventId = message.event_id;
  item.dataset.status = status;
  part("seq").textContent = `#${message.seq}`;
  part("type").textContent = message.event_type;
  part("about").textContent = `to ${receiver} · priority ${priority} · ${status}`;
  part("time").textContent = created_at;
  part("data").textContent = JSON.stringify(data);
  part("read").hidden = status === "read";
  part("read").addEventListener("click", async () => {
    part("read").hidden = await markRead({ event_ids: [message.event_id] });
  });
  return item;
}

async function listMessages(after) {
  const list = listForm.elements.list.value;
  const query = { user_id: user(), limit: PAGE_SIZE };
  if (after) query.after = after;
  if (list && list !== "undelivered") query.status = list;
  const answer = await call("GET", list === "undelivered" ? "/messages/pending" : "/messages", { query });
  if (!answer.ok) return showAnswer(byId("inbox-answer"), answer);
  byId("inbox-answer").replaceChildren();
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
byId("read-all").addEventListener("click", () => markRead({ all: true }));

listForm.addEventListener("submit", (event) => {
  event.preventDefault();
  listMessages();
});
byId("more-messages").addEventListener("click", () => listMessages(nextPage));

subscriptionForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { group, eventTypes } = subscriptionForm.elements;
  const subscription = { user_id: user(), group: group.value };
  const action = event.submitter.value;
  if (action === "subscribe") {
    subscription.event_types = eventTypes.value ? listedTypes(eventTypes.value) : null;
  }
  ask("POST", `/${action}`, { body: JSON.stringify(subscription) });
});
byId("list-subscriptions").addEventListener("click", () =>
  ask("GET", "/subscriptions", { query: { user_id: user() } }),
);
