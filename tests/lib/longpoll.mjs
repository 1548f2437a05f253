// LongPoll: a client of our own that shows every answer, and the stock ones.
import { connect, versions } from './phoenix.mjs';
import { within } from './wait.mjs';

// One session, by hand. Every request goes to the next of `bases`, or to the one that is named.
export class Poller {
  turn = 0;
  ref = 0;
  messages = [];

  constructor(bases, { params = '', vsn = '2.0.0', headers = {} } = {}) {
    Object.assign(this, { bases, query: `?${params}&vsn=${vsn}`, headers });
  }

  static to(nodes, options) {
    return new this([nodes].flat().map((node) => `http://${node.host}:${node.port}/socket/longpoll`), options);
  }

  // Returns { http, headers, status, token, messages, error }.
  async request(method, { token = this.token, body, headers = {}, signal } = {}) {
    const url = this.bases[this.turn++ % this.bases.length] + this.query + (token ? `&token=${encodeURIComponent(token)}` : '');
    const response = await fetch(url, { method, body, signal, headers: { ...this.headers, ...headers } });
    const text = await response.text();
    return { http: response.status, headers: response.headers, text, ...(text.startsWith('{') ? JSON.parse(text) : {}) };
  }

  async open() {
    const answer = await this.request('GET', { token: null });
    if (answer.status !== 410 || !answer.token) throw new Error(`no session: ${answer.http} ${answer.text}`);
    this.token = answer.token;
    return this;
  }

  async poll(options) {
    const answer = await this.request('GET', options);
    if (answer.token) this.token = answer.token;
    for (const message of answer.messages ?? []) this.messages.push(JSON.parse(message));
    return answer;
  }

  push(...frames) {
    return this.request('POST', { body: frames.map((frame) => JSON.stringify(frame)).join('\n'), headers: { 'content-type': 'application/x-ndjson' } });
  }

  // Polls until a message is what `is` says; returns it.
  message(is, limitMs = 60_000) {
    const over = new AbortController();
    const polling = async () => {
      for (;;) {
        const found = this.messages.find(is);
        if (found) return found;
        const answer = await this.poll({ signal: over.signal });
        if (answer.status !== 200 && answer.status !== 204) throw new Error(`poll: ${answer.text}`);
      }
    };
    return within(limitMs, `a message over LongPoll that is as ${is}`, polling()).finally(() => over.abort());
  }

  // Returns the response of the reply.
  async join(topic, params = {}) {
    const ref = String(++this.ref);
    const answer = await this.push([ref, ref, topic, 'phx_join', params]);
    if (answer.status !== 200) throw new Error(`push: ${answer.text}`);
    const [, , , , { status, response }] = await this.message(([, its, , event]) => its === ref && event === 'phx_reply');
    if (status !== 'ok') throw new Error(`join: ${JSON.stringify(response)}`);
    return response;
  }

  got(event = 'msg') {
    return this.messages.filter((message) => message[3] === event);
  }
}

// As phoenix.mjs's connect. In version 1 of the protocol phoenix.js speaks LongPoll only where it fell back to it.
export function connectLongPoll(node, version, { vsn = 2, ...options } = {}) {
  const client = versions[version];
  class Blocked {
    constructor() {
      setTimeout(() => this.onerror?.('blocked'), 0);
    }
    close() {}
  }
  const how = vsn === 1 ? { transport: Blocked, longPollFallbackMs: 1000 } : { transport: client.LongPoll };
  return connect(node, { client, vsn, ...how, ...options });
}
