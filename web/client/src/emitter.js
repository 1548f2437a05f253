// Listeners by name. One that throws must not keep the others, or the connection, from going on.
export class Emitter {
  #listeners = new Map();

  // Returns a function that removes the listener.
  on(name, listener) {
    if (typeof listener !== "function") throw new TypeError(`the listener of "${name}" is not a function`);
    const list = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, list.add(listener));
    return () => list.delete(listener);
  }

  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        if (name === "error") uncaught(error);
        else this.report(error);
      }
    }
  }

  // What an application's callback throws, or a mistake that nobody waits for: to the listeners of "error", or uncaught, as in any event
  // handler.
  report(error) {
    if (this.#listeners.get("error")?.size) this.emit("error", error);
    else uncaught(error);
  }
}

function uncaught(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else queueMicrotask(() => { throw error; });
}
