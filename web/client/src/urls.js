// Which node to try next, and when. Nothing here knows of sockets or clocks.

// Absolute WebSocket URLs of what the application gave: ws(s)://, http(s)://, or a path on the page's own host.
export function resolveUrl(url, base = globalThis.location?.href) {
  let parsed;
  try {
    parsed = new URL(url, base);
  } catch {
    throw new TypeError(`not a URL${base ? "" : " (a path needs a page that it belongs to)"}: ${url}`);
  }
  const protocol = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[parsed.protocol];
  if (!protocol) throw new TypeError(`a node's URL begins with ws://, wss://, http:// or https://: ${url}`);
  if (parsed.search || parsed.hash) throw new TypeError(`a node's URL ends with its path, parameters go into the option params: ${url}`);
  return `${protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, "")}`;
}

export class Urls {
  #list;
  #at = 0;

  // Clients that all begin with the first would all meet there: without `ordered` each begins anywhere.
  constructor(urls, { ordered = false, random = Math.random } = {}) {
    const list = [...new Set((Array.isArray(urls) ? urls : [urls]).map((url) => resolveUrl(url)))];
    if (list.length === 0) throw new TypeError("at least one URL of a node is needed");
    for (let i = list.length - 1; i > 0 && !ordered; i--) {
      const j = Math.floor(random() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
    this.#list = list;
  }

  get all() {
    return [...this.#list];
  }
  get count() {
    return this.#list.length;
  }
  get current() {
    return this.#list[this.#at];
  }

  // The one tried longest ago.
  next() {
    this.#at = (this.#at + 1) % this.#list.length;
    return this.current;
  }
}

// Exponential backoff with full jitter: anywhere between nothing and a span that doubles with each round through all URLs, so that the
// clients of a node that died come to the others spread over `baseMs`, and a cluster that is down is asked ever more rarely.
export function backoffMs(attempt, { count = 1, baseMs = 500, maxMs = 30_000, random = Math.random } = {}) {
  const round = Math.floor((attempt - 1) / count);
  return Math.round(random() * Math.min(maxMs, baseMs * 2 ** Math.min(round, 30)));
}
