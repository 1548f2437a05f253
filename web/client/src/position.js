// Where a subscription is in its topic, and what it was given already. Three things that look alike and are not:
//
// - the cursor is what the next join sends. A join's reply replaces it, ids raise it;
// - the marks are the newest id of each origin that was handed to the application. No reply lowers them: a node that knows less than the one
//   before it may send again what was handed over, and only the marks tell;
// - the keys are digests of the idempotency keys that were handed over. A retry on a node that could not know of the first publish (its node
//   died, or the cluster was split) is a message of its own with another id, and only the key tells. A key that is used again much later is
//   a new message, for nodes as for us: so keys are forgotten by age.

const marksMax = 1024; // origins; a cursor holds 256, so an origin that falls out of here was silent for longer than any node remembers

const keysKept = 1000; // in what `saved` gives

// "origin-seq" -> [origin, seq]. Throws a TypeError for what is no id.
export function splitId(id) {
  const [, origin, digits] = (typeof id === "string" && /^(.+)-([0-9]+)$/s.exec(id)) || [];
  const seq = Number(digits);
  if (!Number.isSafeInteger(seq)) throw new TypeError(`not a message id: ${JSON.stringify(id)}`);
  return [origin, seq];
}

function raise(map, origin, seq) {
  const was = map.get(origin);
  if (was !== undefined && was >= seq) return false;
  map.delete(origin); // the order of the map is that of the last change
  map.set(origin, seq);
  return true;
}

export class Position {
  #cursor = new Map();
  #marks = new Map();
  #keys = new Map(); // key -> when it came (Unix time, ms), oldest first
  #keysMax;
  #keysMs;

  // from: nothing, a list of ids, or what `saved` gave.
  constructor(from = [], { keysMax = 10_000, keysMs = 600_000 } = {}) {
    const { cursor, keys = [] } = Array.isArray(from) ? { cursor: from } : (from ?? { cursor: [] });
    if (!Array.isArray(cursor) || !Array.isArray(keys)) throw new TypeError("a position is a list of ids, or { cursor, keys }");
    this.#keysMax = keysMax;
    this.#keysMs = keysMs;
    this.advance(cursor);
    for (const [key, at] of keys) this.#keep(key, at);
  }

  get cursor() {
    return [...this.#cursor].map(([origin, seq]) => `${origin}-${seq}`);
  }

  get saved() {
    return { cursor: this.cursor, keys: [...this.#keys].slice(-keysKept) };
  }

  // As a join's reply says.
  replace(cursor) {
    this.#cursor.clear();
    for (const id of cursor) raise(this.#cursor, ...splitId(id));
  }

  // Behind something that is not given: a gap, or messages that carry no id of their own.
  advance(cursor) {
    for (const id of cursor) {
      const [origin, seq] = splitId(id);
      raise(this.#cursor, origin, seq);
      this.#mark(origin, seq);
    }
  }

  // A message has come. "new": it is to be handed over; "again": it was; "double": another message with its key was.
  take(id, key, now = Date.now()) {
    const [origin, seq] = splitId(id);
    raise(this.#cursor, origin, seq);
    if (!this.#mark(origin, seq)) return "again";
    if (key === undefined) return "new";
    if (now - this.#keys.get(key) < this.#keysMs) return "double";
    this.#keep(key, now);
    return "new";
  }

  #mark(origin, seq) {
    const risen = raise(this.#marks, origin, seq);
    if (this.#marks.size > marksMax) this.#marks.delete(this.#marks.keys().next().value);
    return risen;
  }

  #keep(key, at) {
    this.#keys.delete(key);
    this.#keys.set(key, at);
    if (this.#keys.size > this.#keysMax) this.#keys.delete(this.#keys.keys().next().value);
  }
}
