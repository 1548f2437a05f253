/** Where a subscription is in its topic; JSON. A list of ids alone will do where retries after a crash need not be recognised. */
export interface Position {
  cursor: string[];
  /** Digests of the idempotency keys that were handed over, each with the Unix time in milliseconds. */
  keys: [digest: string, at: number][];
}

export interface Message<Payload = any> {
  topic: string;
  event: string;
  /** An ArrayBuffer where the message was published as bytes. */
  payload: Payload;
  /** `origin-seq`. */
  id: string;
  /** It was missed, or asked for with `last`, and comes out of the topic's history. */
  replayed: boolean;
}

/** Messages that can't be had. `from` and `to`: the first and last seq of `origin` that may be missing; null: not known, or several origins. */
export interface Gap {
  /** `unrecovered`: more was missed while away than the history holds. The others: docs/protocol.md#gap. */
  reason: "unrecovered" | "lost" | "evicted" | "overrun" | "slow" | "deleted" | (string & {});
  origin: string | null;
  from: number | null;
  to: number | null;
  /** With the reason `slow`: how many messages were left out. */
  skipped?: number;
  cursor?: string[];
}

export interface Joined {
  /** False: something was missed that can't be replayed; `onGap` and `load` follow. */
  recovered: boolean;
  /** How many messages follow out of the history. */
  replayed: number;
  /** The first join of this subscription, not one after a break. */
  first: boolean;
  /** Of the node. */
  url: string;
}

export interface LoadRequest {
  /** `first`, or the reason of the gap that makes it necessary. */
  reason: "first" | Gap["reason"];
  /** 1, and more where the attempt before failed. */
  attempt: number;
  topic: string;
}

export interface SubscribeOptions<Payload = any> {
  /** Each message once, those of one origin in order. */
  onMessage?(message: Message<Payload>): void;
  /** Messages are missing here, before the next message. */
  onGap?(gap: Gap): void;
  /**
   * Loads the application's state: after the first join, and after every gap but those with the reason `slow`. Messages wait until its promise
   * is settled. If it fails it is called again, after a while.
   */
  load?(request: LoadRequest): void | Promise<void>;
  /** After every join, before what it replays. */
  onJoined?(joined: Joined): void;
  /** The node won't have the join; the subscription is over. */
  onRefused?(error: FanmeshError): void;
  /** Where to go on: `position` or `cursor` of an earlier subscription. */
  from?: Position | string[] | null;
  /** The first join replays the newest so many messages of the history. */
  last?: number;
  /** More params of the join. A function is asked at every join. */
  params?: Record<string, unknown> | (() => Record<string, unknown>);
  /** Messages that wait for `load` at most; beyond it the history is used. Default 10000. */
  queueMax?: number;
  /** Pushes that wait at most. Default 1000. */
  pushesMax?: number;
  /** Idempotency keys that are remembered, and for how long: a key that comes after that is a new message. Default 10000, 600000. */
  keysMax?: number;
  keysMs?: number;
}

export interface Subscription {
  readonly topic: string;
  readonly state: "joining" | "joined" | "refused" | "left";
  readonly cursor: string[];
  readonly position: Position;
  readonly loading: boolean;
  /** Resolves when the node has accepted it. Rejects with a FanmeshError, whose `sent` says whether it may have been published all the same. */
  push(event: string, payload?: unknown, options?: { timeoutMs?: number }): Promise<{ id: string }>;
  leave(): void;
}

export interface StateChange {
  state: "connecting" | "open" | "reconnecting" | "closed";
  /** The node's; with `reconnecting` that of the next attempt. */
  url: string;
  /** What carries the connection or the attempt. */
  transport: "websocket" | "longpoll";
  /** With `reconnecting`: counts from 1 since a connection last held for a while. */
  attempt?: number;
  /** With `reconnecting`: until the next attempt. */
  delayMs?: number;
  /** With `reconnecting`: the close code, where there was one, and what was wrong. */
  code?: number;
  reason?: string;
}

/** What was published for the connection's user, whose topic is not subscribed. */
export interface UserMessage<Payload = any> {
  topic: string;
  /** `gap`: messages are missing here. */
  event: string;
  /** `{ base64 }` where it was published as bytes. */
  payload: Payload;
}

export interface Counters {
  connects: number;
  moves: number;
  /** Connections by LongPoll where no WebSocket came through. */
  fallbacks: number;
  /** Handed over. */
  messages: number;
  /** Not handed over: had been before, by id. */
  again: number;
  /** Not handed over: another message with the same idempotency key had been. */
  doubles: number;
  gaps: number;
  /** Joins that were answered `recovered: false`. */
  unrecovered: number;
}

export interface FanmeshOptions {
  /** Query parameters of the connection. */
  params?: Record<string, unknown> | (() => Record<string, unknown>);
  /** Sent as a subprotocol, by phoenix 1.8. */
  authToken?: string | (() => string);
  /** Try the URLs in their order, beginning with the first, instead of beginning anywhere. */
  ordered?: boolean;
  /** For hosts without a WebSocket of their own: that of the npm package ws. */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  /** `auto`: LongPoll where no WebSocket comes through. Default `auto`. */
  transport?: "auto" | "websocket" | "longpoll";
  /** `auto`: how long a WebSocket, and the first answer through it, may take before LongPoll is tried at the same node. Default 5000. */
  fallbackMs?: number;
  /** The longest first wait between two attempts. Default 500. */
  baseMs?: number;
  /** The longest wait of all. Default 30000. */
  maxMs?: number;
  connectTimeoutMs?: number;
  heartbeatMs?: number;
  /** Of joins and pushes. Default 10000. */
  timeoutMs?: number;
  /** How long a connection must hold before the waits begin anew. Default 5000. */
  stableMs?: number;
  probeTimeoutMs?: number;
  logger?: (kind: string, message: string, data: unknown) => void;
  random?: () => number;
}

export class Fanmesh {
  /** Connects at once. */
  constructor(urls: string | string[], options?: FanmeshOptions);
  readonly state: StateChange["state"];
  /** The node that it is connected to, or is trying. */
  readonly url: string;
  readonly urls: string[];
  readonly transport: "websocket" | "longpoll";
  readonly subscriptions: Subscription[];
  readonly counters: Counters;
  subscribe<Payload = any>(topic: string, options?: SubscribeOptions<Payload>): Subscription;
  /** Milliseconds to the node and back. */
  ping(timeoutMs?: number): Promise<number>;
  /** Leaves this node for the next one. */
  reconnect(): void;
  close(): Promise<void>;
  /** Returns a function that removes the listener. */
  on(name: "state", listener: (change: StateChange) => void): () => void;
  /** What is published for the connection's user. Live only: who must not miss any subscribes to the user's topic. */
  on(name: "user", listener: (message: UserMessage) => void): () => void;
  /** What callbacks threw, a failed `load`, a refused join without `onRefused`. Without a listener it is an uncaught error. */
  on(name: "error", listener: (error: Error) => void): () => void;
}

export class FanmeshError extends Error {
  readonly name: "FanmeshError";
  /** The node's (docs/protocol.md#reasons-of-error-replies), or timeout, disconnected, left, closed, refused, subscribed, too_many_pushes, no_cursor (the server is not fanmesh). */
  readonly reason: string;
  /** A push that failed: it may have been published all the same. */
  readonly sent: boolean;
  readonly response?: any;
}

/** How long to wait before an attempt: full jitter over a span that doubles with each round through `count` URLs. */
export function backoffMs(attempt: number, options?: { count?: number; baseMs?: number; maxMs?: number; random?: () => number }): number;
