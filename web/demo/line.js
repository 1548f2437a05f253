// The page's connection: the npm package fanmesh, and how to break it on purpose.
import { Fanmesh } from "fanmesh";
import { nodeOfSocket, nodes, ownNode, socketOf, topic } from "./config.js";

// So that "drop" can end the connection behind the client's back, as a broken network would.
let raw;
class Watched extends WebSocket {
  constructor(...args) {
    super(...args);
    raw = this;
  }
}

export class Line {
  #handlers;
  #mesh;
  #orders;
  #kept; // where the last connection was in the topic
  node = ownNode; // where it is, or is trying to get to

  // onState({ state, node, ... }) and those of a subscription.
  constructor({ onState, ...handlers }) {
    this.onState = onState;
    this.#handlers = handlers;
    this.#open(ownNode);
  }

  get state() {
    return this.#mesh?.state ?? "closed";
  }

  // The client goes to the next node by itself.
  drop() {
    raw?.close(4001, "dropped on purpose");
  }

  move() {
    this.#mesh?.reconnect();
  }

  // To one node in particular, from where we are in the topic. The others are still there if it does not answer.
  moveTo(node) {
    this.#close();
    this.#open(node, this.#kept);
  }

  goOffline() {
    this.#close();
    this.onState({ state: "closed", node: this.node });
  }

  comeBack() {
    this.#open(this.node, this.#kept);
  }

  #close() {
    const mesh = this.#mesh;
    if (mesh) this.#kept = this.#orders.position;
    this.#mesh = this.#orders = undefined; // what it says while it closes is no news
    mesh?.close();
  }

  #open(first, from) {
    const urls = [first, ...nodes.filter((node) => node !== first)].map(socketOf);
    const mesh = new Fanmesh(urls, { ordered: true, baseMs: 300, maxMs: 5000, WebSocket: Watched });
    this.#mesh = mesh;
    const show = (change) => {
      if (this.#mesh !== mesh) return;
      this.node = nodeOfSocket(change.url);
      this.onState({ ...change, node: this.node });
    };
    mesh.on("state", show);
    show({ state: mesh.state, url: mesh.url });
    this.#orders = mesh.subscribe(topic, { ...this.#handlers, from });
  }
}
