// One topic. What comes for it is handed to the application in order, each message once, and what is missing is said.
//
// Everything goes through one queue, and is accounted for (position.js) when it leaves it. The queue holds while the application loads its
// state, and at a binary message, which has no room for its id, until the event with that id has come. A connection that breaks empties it:
// what was not handed over is not in the cursor, so the next node gives it again.
import { FanmeshError } from "./error.js";
import { Position } from "./position.js";
import { backoffMs } from "./urls.js";

const elsewhere = new Set(["not_ready", "draining"]); // what another node will do
const later = new Set(["overloaded", "too_many", "out_of_memory", "left", "replaced"]); // what phoenix.js asks for again by itself
const reserved = /^(phx_|chan_reply_|presence_|fm_|system$)/;

// LongPoll has no place for bytes: they come as { base64 }. Only bytes come without their id, so nobody's own object is taken for them.
function bytesOf(payload) {
  return payload instanceof ArrayBuffer ? payload : Uint8Array.from(atob(payload.base64), (c) => c.charCodeAt(0)).buffer;
}

export class Subscription {
  #options;
  #env;
  #position;
  #channel = null;
  #state = "joining";
  #joins = 0;
  #timeouts = 0; // of joins, one after another
  #fresh; // no position yet: what comes before the first reply belongs to somebody else
  #queue = [];
  #unplaced = false; // the queue ends with a binary message whose id is still to come
  #loading = false;
  #reload = null; // why it has to be loaded once more
  #overflowed = false;
  #loadTimer;
  #pushes = new Set();

  constructor(topic, options, env) {
    if (typeof topic !== "string" || topic === "") throw new TypeError("a topic is a text");
    this.topic = topic;
    this.#options = { queueMax: 10_000, pushesMax: 1000, ...options };
    this.#env = env;
    this.#position = new Position(options.from, options);
    this.#fresh = this.#position.cursor.length === 0;
  }

  get state() { return this.#state; }
  // The newest ids that were handed over, one for each origin: a list for `from`, or for the HTTP API's history.
  get cursor() { return this.#position.cursor; }
  // The same with the idempotency keys, so that a page that is loaded again knows doubles too. JSON.
  get position() { return this.#position.saved; }
  // True while the application's `load` runs: messages wait.
  get loading() { return this.#loading; }

  // Resolves with { id } when the node has accepted it. Waits for the connection, up to the time limit.
  push(event, payload = {}, { timeoutMs = this.#env.timeoutMs } = {}) {
    return new Promise((resolve, reject) => {
      // phoenix.js would send {} instead, without a word.
      if (!payload) return reject(new TypeError(`a payload can't be ${JSON.stringify(payload)}: put it into an object`));
      if (ArrayBuffer.isView(payload)) payload = payload.buffer.slice(payload.byteOffset, payload.byteOffset + payload.byteLength);
      if (this.#ended) return reject(new FanmeshError(`${this.topic} is ${this.#state}`, { reason: this.#state }));
      if (this.#pushes.size >= this.#options.pushesMax) {
        return reject(new FanmeshError(`${this.#pushes.size} pushes wait already`, { reason: "too_many_pushes" }));
      }
      const push = { event, payload, timeoutMs, sent: false };
      const settle = (how) => (value) => {
        if (!this.#pushes.delete(push)) return;
        clearTimeout(push.timer);
        how(value);
      };
      push.resolve = settle(resolve);
      push.reject = settle(reject);
      push.timer = setTimeout(() => push.reject(new FanmeshError(`no answer to ${event} within ${timeoutMs} ms`, { reason: "timeout", sent: push.sent })), timeoutMs);
      this.#pushes.add(push);
      if (this.#state === "joined") this.#send(push);
    });
  }

  leave() {
    this.end(new FanmeshError(`${this.topic} was left`, { reason: "left" }));
  }

  // ---- for the mesh ----

  connected() {
    // phoenix.js joins again by itself what it knows to be broken; 1.7 doesn't where the last connection never said that it was closed.
    if (!this.#ended && this.#channel?.state !== "errored") this.#rejoin();
  }

  disconnected() {
    if (this.#ended) return;
    this.#state = "joining";
    this.#timeouts = 0;
    this.#drop();
    for (const push of [...this.#pushes]) {
      if (push.sent) push.reject(new FanmeshError("the connection broke before the answer; it may have been published", { reason: "disconnected", sent: true }));
    }
  }

  end(error, state = "left") {
    if (this.#ended) return;
    this.#state = state;
    this.#drop();
    clearTimeout(this.#loadTimer);
    const channel = this.#channel;
    this.#channel = null;
    channel?.leave();
    for (const push of [...this.#pushes]) push.reject(new FanmeshError(error.message, { reason: error.reason, sent: push.sent }));
    this.#env.gone();
  }

  // ---- joining ----

  get #ended() { return this.#state === "left" || this.#state === "refused"; }

  #params() {
    const { params, last } = this.#options;
    const cursor = this.#position.cursor;
    const more = typeof params === "function" ? params() : params;
    return { ...more, cursor, keys: true, ...(last !== undefined && cursor.length === 0 ? { last } : {}) };
  }

  #join() {
    const channel = this.#env.socket.channel(this.topic, () => this.#params());
    this.#channel = channel;
    channel.onMessage = (event, payload, ref, joinRef) => {
      if (this.#channel === channel) this.#received(event, payload, ref, joinRef);
      return payload;
    };
    // A node ends channels only where another join of the topic takes their place, which nobody makes here: should it happen, join again.
    channel.onClose(() => this.#channel === channel && setTimeout(() => this.#channel === channel && this.#rejoin(), 1000));
    channel.join()
      .receive("ok", (response) => this.#channel === channel && this.#joined(response))
      .receive("error", (response) => this.#channel === channel && this.#refused(response))
      .receive("timeout", () => this.#channel === channel && this.#timedOut());
  }

  #rejoin() {
    const channel = this.#channel;
    this.#channel = null;
    channel?.leave();
    this.#drop();
    this.#state = "joining";
    if (this.#env.mesh.state === "open") this.#join();
  }

  #joined({ cursor, recovered, replayed }) {
    if (!Array.isArray(cursor)) return this.#refused({ reason: "no_cursor" }); // a server that is not fanmesh
    const first = this.#joins++ === 0;
    const fresh = this.#fresh;
    this.#state = "joined";
    this.#timeouts = 0;
    this.#fresh = false;
    this.#drop();
    this.#position.replace(cursor);
    this.#call("onJoined", { recovered, replayed, first, url: this.#env.mesh.url });
    if (this.#ended) return;
    if (!recovered) {
      this.#env.mesh.counters.unrecovered++;
      this.#tellGap({ reason: "unrecovered", origin: null, from: null, to: null });
      this.#load("unrecovered");
    } else if (fresh) {
      this.#load("first");
    }
    for (const push of [...this.#pushes]) if (!push.sent) this.#send(push);
  }

  #refused(response) {
    const reason = response?.reason;
    if (elsewhere.has(reason)) this.#env.move(`the node is ${reason}`);
    else if (!later.has(reason)) {
      const error = new FanmeshError(`the join of ${this.topic} was refused: ${reason}`, { reason, response });
      this.end(error, "refused");
      if (this.#options.onRefused) this.#call("onRefused", error);
      else this.#env.mesh.report(error);
    }
  }

  // A node that takes connections and answers nothing is as good as dead.
  #timedOut() {
    if (++this.#timeouts >= 2) this.#env.move("the node does not answer");
  }

  #send(push) {
    push.sent = true;
    this.#channel.push(push.event, push.payload, push.timeoutMs)
      .receive("ok", push.resolve)
      .receive("error", (response) => {
        const reason = response?.reason;
        if (elsewhere.has(reason)) {
          push.sent = false; // it was not taken: the next node gets it
          this.#env.move(`the node is ${reason}`);
        } else {
          push.reject(new FanmeshError(`${push.event} was refused: ${reason}`, { reason, response }));
        }
      });
  }

  // ---- what comes ----

  #received(event, payload, ref, joinRef) {
    if (this.#ended || this.#fresh || this.#overflowed) return;
    if (event === "gap") this.#queue.push({ gap: payload });
    else if (event === "fm_id") this.#placed(ref);
    else if (reserved.test(event)) return;
    else this.#queue.push(this.#message(event, payload, ref, joinRef));
    if (this.#queue.length > this.#options.queueMax) this.#overflow();
    else this.#handOver();
  }

  #message(event, payload, ref, joinRef) {
    const [id, key] = ref ? ref.split(" ") : []; // "id", or "id digest-of-the-key"
    this.#unplaced = id === undefined;
    return { message: { topic: this.topic, event, payload, id, replayed: Boolean(joinRef) }, key };
  }

  // The id of the binary message before it, and nothing comes between the two.
  #placed(ref) {
    const last = this.#queue.at(-1);
    if (!this.#unplaced || !last) return;
    [last.message.id, last.key] = ref.split(" ");
    last.message.payload = bytesOf(last.message.payload);
    this.#unplaced = false;
  }

  // The queue is left to the node: when the application is done it joins anew, with what it has.
  #overflow() {
    this.#drop();
    this.#overflowed = true;
  }

  #drop() {
    this.#queue = [];
    this.#unplaced = false;
  }

  #handOver() {
    while (this.#queue.length > 0 && !this.#loading && !this.#unplaced && !this.#ended) {
      const { message, key, gap } = this.#queue.shift();
      if (gap) this.#gap(gap);
      else this.#give(message, key);
    }
  }

  #give(message, key) {
    const { counters } = this.#env.mesh;
    const what = this.#position.take(message.id, key);
    if (what === "again") counters.again++;
    else if (what === "double") counters.doubles++;
    else {
      counters.messages++;
      this.#call("onMessage", message);
    }
  }

  #gap(gap) {
    this.#position.advance(gap.cursor ?? []);
    this.#tellGap(gap);
    // What a slow client is not given was left out by the topic's own rule.
    if (gap.reason !== "slow") this.#load(gap.reason);
  }

  #tellGap(gap) {
    this.#env.mesh.counters.gaps++;
    this.#call("onGap", gap);
  }

  // ---- loading the application's state ----

  #load(reason) {
    if (!this.#options.load || this.#ended) return;
    if (this.#loading) this.#reload = reason;
    else this.#runLoad(reason, 1);
  }

  async #runLoad(reason, attempt) {
    this.#loading = true;
    this.#reload = null;
    try {
      await this.#options.load({ reason, attempt, topic: this.topic });
    } catch (error) {
      if (this.#ended) return;
      this.#env.mesh.report(error);
      const delayMs = backoffMs(attempt, { baseMs: 1000, maxMs: 30_000, random: this.#env.random });
      this.#loadTimer = setTimeout(() => this.#runLoad(this.#reload ?? reason, attempt + 1), delayMs);
      return;
    }
    if (this.#ended) return;
    if (this.#reload) return this.#runLoad(this.#reload, 1);
    this.#loading = false;
    if (this.#overflowed) {
      this.#overflowed = false;
      this.#rejoin();
    } else {
      this.#handOver();
    }
  }

  #call(name, value) {
    try {
      this.#options[name]?.(value);
    } catch (error) {
      this.#env.mesh.report(error);
    }
  }
}
