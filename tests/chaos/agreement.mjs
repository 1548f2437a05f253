// Whether the nodes hold the same: positions of all origins, and the messages of all histories.
import { createHash } from 'node:crypto';

const idOf = (text) => {
  const dash = text.lastIndexOf('-');
  return [text.slice(0, dash), Number(text.slice(dash + 1))];
};

// What each node has: [Map(origin -> seq)], or undefined where one doesn't answer. missing: [Map(origin -> how much it knows to lack)].
export async function positions(nodes) {
  const states = await Promise.all(nodes.map((node) => node.cluster().catch(() => undefined)));
  if (states.some((state) => !state?.origins)) return undefined;
  return {
    vectors: states.map(({ origins }) => new Map(origins.map(({ origin, seq }) => [origin, seq]))),
    missing: states.map(({ origins }) => new Map(origins.filter(({ missing }) => missing > 0).map(({ origin, missing }) => [origin, missing]))),
    linked: states.every(({ peers }) => peers.filter(({ linked, state }) => linked && state === 'up').length === nodes.length - 1),
  };
}

// The most that any node has of each origin.
export function most(vectors) {
  const all = new Map();
  for (const vector of vectors) for (const [origin, seq] of vector) all.set(origin, Math.max(all.get(origin) ?? 0, seq));
  return all;
}

// An origin of which nothing was ever seen is nothing to differ in.
export const reached = ({ vectors }, target) => vectors.every((vector) => [...target].every(([origin, seq]) => (vector.get(origin) ?? 0) >= seq));
// What a node that was killed had announced and nobody got is lacking for ever: gone, a Set of such origins, says whose.
export const equal = (now, gone) => now.missing.every((lacks) => [...lacks.keys()].every((origin) => gone.has(origin))) && reached(now, most(now.vectors));

// The origins in which the nodes differ, or of which one knows to lack something, with what each node has and lacks.
export function disagreements({ vectors, missing }) {
  const all = [...most(vectors)].map(([origin, seq]) => ({ origin, has: vectors.map((vector) => vector.get(origin) ?? 0), lacks: missing.map((map) => map.get(origin) ?? 0), seq }));
  return all.filter(({ has, lacks, seq }) => has.some((n) => n !== seq) || lacks.some((n) => n > 0));
}

async function history(node, topic) {
  const path = `/api/topics/${encodeURIComponent(topic)}/history?limit=1000`;
  const messages = new Map();
  let floor = [];
  let cursor;
  for (;;) {
    const target = cursor ? `${path}&cursor=${encodeURIComponent(JSON.stringify(cursor))}` : path;
    const { status, body } = await node.request('GET', target, { limitMs: 20_000 });
    if (status !== 200) throw new Error(`${node.name}: history of ${topic}: ${status}`);
    floor = body.floor;
    for (const { id, key, payload, payload_base64: bytes } of body.messages) messages.set(id, { key, text: bytes ?? JSON.stringify(payload) });
    if (body.messages.length === 0) return { messages, floor };
    cursor = body.cursor;
  }
}

async function topicsOf(node) {
  const names = [];
  let after = '';
  do {
    const { body } = await node.request('GET', `/api/topics?limit=1000${after}`, { limitMs: 10_000 });
    names.push(...body.topics.map(({ topic }) => topic));
    after = body.next ? `&after=${encodeURIComponent(body.next)}` : undefined;
  } while (after);
  return names;
}

// What of a history must be the same everywhere: what lies above the floor. Of two copies with one idempotency key, which may exist after a split
// or a crash, a node keeps the first that it sees: there the key stands for the id. Line -> { id, key }.
function lines({ messages }, floors) {
  const all = new Map();
  for (const [id, { key, text }] of messages) {
    const [origin, seq] = idOf(id);
    if (seq > (floors.get(origin) ?? 0)) all.set(`${key === undefined ? id : `key ${key}`} ${text}`, { id, key });
  }
  return all;
}

const PROBES_MAX = 200; // in one topic, of one node

// A node may lack a copy because it had another one first, which had to go since, or lies below a floor. Then it knows the key, and answers a retry
// with the id of that other one. (If it does not, the retry is published: the run has failed anyway.)
async function hadAnother(node, topic, { id, key }) {
  if (key === undefined) return false;
  const { status, body } = await node.tryPublish({ topic, event: 'again', key });
  return status === 200 && body.duplicate === true && body.id !== id;
}

// Adds to the lines of each node those that it lacks for that reason. Returns how many.
async function addOthers(nodes, topic, all) {
  const union = new Map(all.flatMap((list) => [...list]));
  let added = 0;
  for (const [i, list] of all.entries()) {
    const lacks = [...union].filter(([line]) => !list.has(line));
    for (const [line, copy] of lacks.slice(0, PROBES_MAX)) {
      if (!(await hadAnother(nodes[i], topic, copy))) continue;
      list.set(line, copy);
      added++;
    }
  }
  return added;
}

const sorted = (list) => [...list.keys()].sort();
const hashOf = (list) => createHash('sha256').update(list.join('\n')).digest('hex');

function difference(topic, all) {
  const union = new Set(all.flat());
  const lacks = all.map((list) => new Set(list)).map((has) => [...union].filter((line) => !has.has(line)));
  return { topic, lacks: lacks.map((list) => ({ n: list.length, some: list.slice(0, 5).map((line) => line.slice(0, 100)) })) };
}

// Compares, for each topic, a hash of all messages above the highest floor that any node has of their origin.
export async function compareHistories(nodes) {
  const topics = [...new Set((await Promise.all(nodes.map(topicsOf))).flat())].sort();
  const result = { topics: topics.length, messages: 0, below: 0, second_copies: 0, different: [] };
  for (const topic of topics) {
    const held = await Promise.all(nodes.map((node) => history(node, topic)));
    const floors = most(held.map(({ floor }) => new Map(floor.map(idOf))));
    const all = held.map((one) => lines(one, floors));
    for (const [i, { messages }] of held.entries()) {
      result.messages += all[i].size;
      result.below += messages.size - all[i].size;
    }
    const differ = () => new Set(all.map((list) => hashOf(sorted(list)))).size > 1;
    if (!differ()) continue;
    result.second_copies += await addOthers(nodes, topic, all);
    if (differ()) result.different.push(difference(topic, all.map(sorted)));
  }
  return result;
}
