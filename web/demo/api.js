// The HTTP API of any node, from the page: the nodes run with dev_api.
import { event, nodes, topic } from "./config.js";

const timeoutMs = 10_000;

export async function ask(node, path, options = {}) {
  const response = await fetch(node.url + path, { signal: AbortSignal.timeout(timeoutMs), cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.error?.message ?? `HTTP ${response.status}`), { status: response.status, code: body.error?.code });
  return body;
}

// Everything that the topic's history holds, oldest first.
export async function history(node) {
  const messages = [];
  for (let cursor; ; ) {
    const query = new URLSearchParams({ limit: 1000, ...(cursor && { cursor: JSON.stringify(cursor) }) });
    const answer = await ask(node, `/api/topics/${encodeURIComponent(topic)}/history?${query}`);
    if (answer.messages.length === 0) return messages;
    messages.push(...answer.messages);
    cursor = answer.cursor;
  }
}

// Publishes on the first of these nodes that takes it. One key for all attempts: a node that has the message already says so instead of
// publishing it again.
export async function publish(record, candidates) {
  const key = `page-${record.order}-${record.rev}-${Math.random().toString(36).slice(2)}`;
  const message = { topic, event, payload: record, key, ack: nodes.length > 1 ? "replicated" : "local" };
  let failure;
  for (const node of candidates) {
    try {
      const answer = await ask(node, "/api/publish", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(message) });
      return { node, ...answer };
    } catch (error) {
      failure = new Error(`${node.name}: ${error.name === "TimeoutError" || error.name === "TypeError" ? "no answer" : error.message}`);
    }
  }
  throw failure;
}
