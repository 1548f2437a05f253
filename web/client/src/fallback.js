// WebSocket or LongPoll: what the next attempt is made by. Nothing here knows of waits.
import { LongPoll } from "phoenix";

const transports = ["auto", "websocket", "longpoll"];

export class Fallback {
  #how;
  #key;
  #fallen = false; // the attempt is the second one at its node
  #remembered = false; // it stays with LongPoll
  proven = false; // an answer has come through a WebSocket

  constructor(urls, { transport }) {
    if (!transports.includes(transport)) throw new TypeError(`the option transport is one of ${transports.join(", ")}: ${transport}`);
    this.#how = transport;
    if (transport === "longpoll" && !canPoll()) throw new TypeError("there is no LongPoll here: phoenix 1.8 needs fetch for it, 1.7 an XMLHttpRequest");
    this.#key = `fanmesh:longpoll:${urls.toSorted().join(" ")}`;
    this.#remembered = transport === "auto" && canPoll() && kept(this.#key);
  }

  get transport() {
    return this.#how === "longpoll" || this.#remembered || this.#fallen ? "longpoll" : "websocket";
  }

  // May LongPoll be tried where this attempt's WebSocket fails?
  get possible() {
    return this.#how === "auto" && this.transport === "websocket" && canPoll();
  }

  begin(fallen) {
    this.#fallen = fallen;
  }

  // The attempt has come to a connection. Returns whether that is the fallback's. Where no WebSocket ever came through none will, as long as
  // the page is there: later attempts, and pages of the same session, don't wait for one to fail.
  opened() {
    if (!this.#fallen) return false;
    if (!this.proven) {
      this.#remembered = true;
      keep(this.#key);
    }
    return true;
  }
}

// phoenix.js's LongPoll has no listeners but those that phoenix.js sets itself, when it has been made.
export function dialLongPoll(target, protocols, closed) {
  const raw = new LongPoll(target, protocols);
  let { onclose } = raw;
  Object.defineProperty(raw, "onclose", {
    get: () => (event) => {
      closed(event);
      onclose.call(raw, event);
    },
    set: (listener) => { onclose = listener; },
  });
  return raw;
}

// phoenix 1.7 asks by an XMLHttpRequest or not at all; 1.8, whose LongPoll takes the subprotocols, by fetch as well.
function canPoll() {
  return Boolean(globalThis.XMLHttpRequest ?? (LongPoll.length > 1 && globalThis.fetch));
}

// A page may be forbidden to keep anything, and a program on Node has no session.
function kept(key) {
  try {
    return globalThis.sessionStorage?.getItem(key) === "true";
  } catch {
    return false;
  }
}

function keep(key) {
  try {
    globalThis.sessionStorage?.setItem(key, "true");
  } catch {
    // then the next page finds out by itself
  }
}
