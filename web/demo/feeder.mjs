#!/usr/bin/env node
// Feeds the order board as a backend would: it changes an order some times a second and publishes it on each node in turn, over the HTTP API.
//
//   node web/demo/feeder.mjs [--rate 3] [--topic room:orders] http://localhost:4001 http://localhost:4011 ...
//
// The URLs are those of the nodes' HTTP API. FANMESH_API_KEY: their key, if they have one. It needs nothing but Node, and ends on a signal.
import { parseArgs } from "node:util";
import { now } from "./clock.js";
import { Records, firstOf, isRecord, nextOf } from "./records.js";

const { values, positionals: urls } = parseArgs({
  allowPositionals: true,
  options: { rate: { type: "string", default: "3" }, topic: { type: "string", default: "room:orders" } },
});
const rate = Number(values.rate);
if (urls.length === 0 || !(rate > 0 && rate <= 100)) {
  console.error("usage: feeder.mjs [--rate N] [--topic T] API_URL...   (N: changes a second, at most 100)");
  process.exit(2);
}

const topic = values.topic;
const event = "order";
const places = 10;
const timeoutMs = 3000;
const key = process.env.FANMESH_API_KEY;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function call(url, path, body) {
  const response = await fetch(url + path, {
    method: body ? "POST" : "GET",
    headers: { ...(body && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.error?.message ?? `HTTP ${response.status}`), { code: answer.error?.code });
}

// A word when a node stops taking messages, and when it takes them again; not one for each attempt.
const broken = new Set();
function say(url, error) {
  if (Boolean(error) === broken.has(url)) return;
  if (error) broken.add(url);
  else broken.delete(url);
  console.error(error ? `${url} takes nothing (${error.cause?.code ?? error.code ?? error.message}): the others get it` : `${url} takes messages again`);
}

// The feeder keeps nothing: what the orders are is in the topic's history, with what pages have changed meanwhile. Its messages are numbered
// without a hole, so that a page can see that it got them all; a feeder that is started again goes on behind the last number.
const records = new Records();
let feed = { run: Math.random().toString(36).slice(2, 8), n: 0 };
let cursor;

async function catchUp(url) {
  for (;;) {
    const query = new URLSearchParams({ limit: 1000, ...(cursor && { cursor: JSON.stringify(cursor) }) });
    const answer = await call(url, `/api/topics/${encodeURIComponent(topic)}/history?${query}`);
    for (const { payload, id } of answer.messages) {
      if (!isRecord(payload)) continue;
      records.apply(payload, id);
      if (!Number.isSafeInteger(payload.feed?.n)) continue;
      if (feed.n === 0) feed = payload.feed;
      else if (payload.feed.run === feed.run) feed = { run: feed.run, n: Math.max(feed.n, payload.feed.n) };
    }
    cursor = answer.cursor;
    if (answer.messages.length === 0) return;
  }
}

// Mostly the order that was changed longest ago, so that a short history holds them all.
function nextRecord() {
  for (let place = 1; place <= places; place++) if (!records.get(place)) return firstOf(place);
  const all = records.all;
  return nextOf(all[Math.random() < 0.7 ? 0 : Math.floor(Math.random() * all.length)]);
}

// Until a node has taken it, however long that takes: with one key for all attempts that is harmless. `replicated`, so that a node that is
// killed takes nothing with it; if no other confirms in time it is asked of the next, and once all were asked it is good enough.
async function publish(message, start) {
  for (let attempt = 0; ; attempt++) {
    const url = urls[(start + attempt) % urls.length];
    try {
      const { id } = await call(url, "/api/publish", { ...message, ack: urls.length > 1 ? "replicated" : "local" });
      say(url);
      return id;
    } catch (error) {
      if (error.code === "not_replicated" && attempt >= urls.length) return undefined;
      say(url, error);
      if (attempt % urls.length === urls.length - 1) await sleep(500);
    }
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(0));

console.log(`publishing ${rate} changes a second on ${topic}: ${urls.join(" ")}`);
let turn = 0;
for (let due = performance.now(); ; ) {
  const url = urls[turn % urls.length];
  await catchUp(url).catch((error) => say(url, error));
  if (cursor) {
    const record = nextRecord();
    feed = { run: feed.run, n: feed.n + 1 };
    const payload = { ...record, feed, sent: now() };
    const id = await publish({ topic, event, payload, key: `feed-${feed.run}-${feed.n}` }, turn);
    if (id) records.apply(payload, id);
  }
  turn++;
  // Not one after another at once, when it had to wait: the pace is the pace.
  due = Math.max(due + 1000 / rate, performance.now());
  await sleep(due - performance.now());
}
