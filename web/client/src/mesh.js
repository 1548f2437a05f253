// The connection to whichever node answers: which URL, by what, when, and what the application is told about it. What phoenix.js does well
// stays with it (frames, refs, heartbeats, rejoins, LongPoll); when and where to connect is decided here, by two of its public options:
// `transport`, which is asked for every new WebSocket, and `reconnectAfterMs`, by which it says that it has given a connection up.
//
// Where a WebSocket can't be opened the node may be dead, or something on the way takes none. LongPoll at the same node tells: where it is
// answered, it stays. Whatever carries a connection, its channels go on from their cursors, so a change loses nothing.
import { Socket } from "phoenix";
import { Emitter } from "./emitter.js";
import { FanmeshError } from "./error.js";
import { Fallback, dialLongPoll } from "./fallback.js";
import { Subscription } from "./subscription.js";
import { Urls, backoffMs } from "./urls.js";

const never = 2 ** 31 - 1;
const nodeLeaves = 1012; // the close code of a node that shuts down
const moves = 4000; // ours, for a node that serves nobody at the moment
const placeholder = "ws://node"; // phoenix.js puts path and parameters behind it, and #dial the real URL before these

const defaults = {
  baseMs: 500,
  maxMs: 30_000,
  connectTimeoutMs: 10_000,
  transport: "auto",
  fallbackMs: 5000,
  heartbeatMs: 15_000,
  timeoutMs: 10_000,
  stableMs: 5000,
  probeTimeoutMs: 5000,
  random: Math.random,
};

export class Fanmesh extends Emitter {
  #options;
  #urls;
  #socket;
  #subscriptions = new Map(); // by topic
  #raw = null; // the WebSocket or LongPoll that counts; events of any other are old
  #fallback;
  #state = "connecting";
  #attempts = 0; // since a connection last proved stable
  #openedAt = 0;
  #retry; // timers
  #deadline;
  #cleanups = [];

  counters = { connects: 0, moves: 0, fallbacks: 0, messages: 0, again: 0, doubles: 0, gaps: 0, unrecovered: 0 };

  constructor(urls, options = {}) {
    super();
    this.#options = { ...defaults, ...options };
    this.#urls = new Urls(urls, this.#options);
    const { params, authToken, heartbeatMs, timeoutMs, logger } = this.#options;
    this.#options.WebSocket ??= globalThis.WebSocket;
    this.#fallback = new Fallback(this.#urls.all, this.#options);
    if (!this.#options.WebSocket && this.#options.transport !== "longpoll") throw new TypeError("there is no WebSocket here: give one in the option WebSocket (that of the npm package ws, say)");
    const mesh = this;
    this.#socket = new Socket(placeholder, {
      transport: function dial(url, protocols) { return mesh.#dial(url, protocols); },
      params,
      ...(authToken === undefined ? {} : { authToken }),
      ...(logger === undefined ? {} : { logger }),
      timeout: timeoutMs,
      heartbeatIntervalMs: heartbeatMs,
      reconnectAfterMs: () => {
        this.#lost({ reason: "the node does not answer" });
        return never;
      },
      rejoinAfterMs: (tries) => 250 + backoffMs(tries, { baseMs: 1000, maxMs: 10_000, random: this.#options.random }),
    });
    this.#socket.onOpen(() => this.#opened());
    // What is the connection's and no channel's: docs/protocol.md#to-a-user. A subscription that knows where it is gets it by its next join.
    this.#socket.onMessage(({ join_ref, topic, event, payload }) => {
      if (join_ref === "fm_user" && !this.#subscriptions.get(topic)?.cursor.length) this.emit("user", { topic, event, payload });
    });
    this.#watchPage();
    this.#connect();
  }

  get state() { return this.#state; }
  // Of the node that it is connected to, or is trying.
  get url() { return this.#urls.current; }
  get urls() { return this.#urls.all; }
  // "websocket" or "longpoll": what it is connected by, or is trying.
  get transport() { return this.#fallback.transport; }
  get subscriptions() { return [...this.#subscriptions.values()]; }

  subscribe(topic, options = {}) {
    if (this.#state === "closed") throw new FanmeshError("this Fanmesh was closed", { reason: "closed" });
    if (this.#subscriptions.has(topic)) throw new FanmeshError(`${topic} is subscribed to already`, { reason: "subscribed" });
    const subscription = new Subscription(topic, options, {
      mesh: this,
      socket: this.#socket,
      timeoutMs: this.#options.timeoutMs,
      random: this.#options.random,
      move: (reason) => this.#move(reason),
      gone: () => this.#subscriptions.delete(topic),
    });
    this.#subscriptions.set(topic, subscription);
    if (this.#state === "open") subscription.connected();
    return subscription;
  }

  // The time to the node and back in milliseconds.
  ping(timeoutMs = this.#options.probeTimeoutMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new FanmeshError("the node does not answer", { reason: "timeout" })), timeoutMs);
      const asked = this.#socket.ping((ms) => {
        clearTimeout(timer);
        resolve(ms);
      });
      if (asked) return;
      clearTimeout(timer);
      reject(new FanmeshError("not connected", { reason: "disconnected" }));
    });
  }

  // Leaves this node for the next one, at once. What was missed meanwhile is replayed there.
  reconnect() {
    if (this.#state === "closed") throw new FanmeshError("this Fanmesh was closed", { reason: "closed" });
    if (this.#raw) this.#move("asked to", 0);
    else this.#connect();
  }

  close() {
    if (this.#state === "closed") return Promise.resolve();
    for (const subscription of this.subscriptions) subscription.end(new FanmeshError("this Fanmesh was closed", { reason: "closed" }));
    this.#raw = null;
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    for (const cleanup of this.#cleanups) cleanup();
    this.#setState("closed");
    return new Promise((resolve) => this.#socket.disconnect(resolve));
  }

  #setState(state, details = {}) {
    this.#state = state;
    this.emit("state", { state, url: this.url, transport: this.transport, ...details });
  }

  // fallen: by LongPoll, since no WebSocket comes through to this node.
  #connect(fallen = false) {
    clearTimeout(this.#retry);
    this.#fallback.begin(fallen);
    this.#setState("connecting");
    if (this.#state !== "connecting") return; // a listener has closed it
    // Drops what phoenix.js still holds of the connection before.
    this.#socket.disconnect(() => {
      if (this.#state !== "connecting") return;
      try {
        this.#socket.connect();
      } catch (error) {
        this.#lost({ reason: error.message }); // a browser that won't connect there: ws:// from a page with https://
      }
    });
  }

  // What phoenix.js takes for the constructor of a WebSocket.
  #dial(url, protocols) {
    clearTimeout(this.#retry);
    // phoenix.js connects by itself when a page comes back out of the browser's cache.
    if (this.#state !== "connecting") this.#setState("connecting");
    const target = this.url + url.slice(placeholder.length);
    const closed = ({ code, reason }) => {
      if (this.#raw === raw) this.#lost({ code, reason: String(reason ?? "") });
    };
    const raw = this.transport === "longpoll" ? dialLongPoll(target, protocols, closed) : this.#dialWebSocket(target, protocols, closed);
    this.#raw = raw;
    clearTimeout(this.#deadline);
    const limitMs = this.#mayFall ? Math.min(this.#options.fallbackMs, this.#options.connectTimeoutMs) : this.#options.connectTimeoutMs;
    this.#deadline = setTimeout(() => {
      if (this.#raw !== raw) return;
      this.#lost({ reason: `no connection within ${limitMs} ms` });
      raw.close();
    }, limitMs);
    return raw;
  }

  #dialWebSocket(target, protocols, closed) {
    const { WebSocket } = this.#options;
    const raw = protocols ? new WebSocket(target, protocols) : new WebSocket(target);
    raw.addEventListener("close", closed);
    // Node 22's own WebSocket says no more than this where nobody listens. Elsewhere the close event comes with it, and knows the code.
    raw.addEventListener("error", () => setTimeout(() => {
      if (this.#raw === raw && raw.readyState !== 1) this.#lost({ reason: "the connection failed" });
    }));
    return raw;
  }

  // Where WebSockets have come through before it is more likely the node that is dead: the others are tried first.
  get #mayFall() {
    return this.#fallback.possible && (!this.#fallback.proven || this.#attempts >= this.#urls.count);
  }

  #opened() {
    clearTimeout(this.#deadline);
    this.#openedAt = performance.now();
    this.counters.connects++;
    if (this.#fallback.opened()) this.counters.fallbacks++;
    this.#setState("open");
    for (const subscription of this.subscriptions) subscription.connected();
    if (this.#state === "open") this.#prove();
  }

  // Some proxies take a WebSocket and let nothing through it.
  #prove() {
    const raw = this.#raw;
    if (!this.#fallback.possible || this.#fallback.proven) return;
    this.ping(this.#options.fallbackMs).then(() => {
      if (this.#raw === raw) this.#fallback.proven = true;
    }, (error) => {
      if (this.#raw !== raw || error.reason !== "timeout") return;
      this.#lost({ reason: "nothing comes through the WebSocket" }, 0, true);
      raw.close(moves, "nothing comes through");
    });
  }

  // Once for each connection, whoever notices first: its close event, a time limit, or phoenix.js for want of a heartbeat's answer.
  #lost({ code, reason }, delay, blocked = false) {
    if (this.#state === "closed" || this.#state === "reconnecting") return;
    const wasOpen = this.#state === "open";
    this.#raw = null;
    clearTimeout(this.#deadline);
    if ((blocked || !wasOpen) && this.#mayFall) {
      if (wasOpen) for (const subscription of this.subscriptions) subscription.disconnected();
      return this.#connect(true);
    }
    if (wasOpen && performance.now() - this.#openedAt >= this.#options.stableMs) this.#attempts = 0;
    this.#attempts++;
    const { baseMs, maxMs, random } = this.#options;
    const count = this.#urls.count;
    // A node that leaves sends its clients away one after another: no need to spread them once more.
    const invited = code === nodeLeaves && this.#attempts <= count;
    const delayMs = delay ?? (invited ? 0 : backoffMs(this.#attempts, { count, baseMs, maxMs, random }));
    this.#urls.next();
    if (wasOpen) this.counters.moves++;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), delayMs);
    this.#fallback.begin(false); // that attempt
    this.#setState("reconnecting", { code, reason, delayMs, attempt: this.#attempts });
    if (wasOpen) for (const subscription of this.subscriptions) subscription.disconnected();
  }

  #move(reason, delay) {
    const raw = this.#raw;
    if (!raw) return;
    this.#lost({ reason }, delay);
    raw.close(moves, "moving to another node");
  }

  // Where the page's network came back, or the page itself did (a laptop that slept), an open connection may be dead without knowing: it is
  // asked. And a wait for the next attempt is over.
  #watchPage() {
    const wake = () => {
      if (this.#state === "reconnecting") this.#connect();
      else if (this.#state === "open") this.#probe();
    };
    const shown = () => globalThis.document.visibilityState === "visible" && wake();
    for (const [target, name, listener] of [[globalThis.window, "online", wake], [globalThis.document, "visibilitychange", shown]]) {
      if (!target?.addEventListener) continue;
      target.addEventListener(name, listener);
      this.#cleanups.push(() => target.removeEventListener(name, listener));
    }
  }

  #probe() {
    const raw = this.#raw;
    this.ping().catch((error) => {
      if (this.#raw === raw && error.reason === "timeout") this.#move("the node does not answer", 0);
    });
  }
}
