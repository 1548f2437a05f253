// Streams of events: read line by line from a fetch, so that a test sees all of it.
import { until } from './wait.mjs';

export const sseUrl = (base, topics, params = {}) => {
  const query = [...[topics].flat().map((topic) => ['topic', topic]), ...Object.entries(params)];
  return `${base}/sse?${query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
};
export const sseOf = (node, topics, params) => sseUrl(`http://${node.host}:${node.port}`, topics, params);

export class Stream {
  events = []; // { id, event, data }
  comments = 0;
  ended = false;
  #abort = new AbortController();

  // Ended when the test `t` ends.
  static async open(t, url, headers = {}) {
    const stream = new this();
    t.after(() => stream.close());
    stream.response = await fetch(url, { headers, signal: stream.#abort.signal });
    stream.status = stream.response.status;
    if (stream.status === 200) stream.#read().catch(() => {}).finally(() => (stream.ended = true));
    else stream.error = (await stream.response.json()).error;
    return stream;
  }

  async #read() {
    let text = '';
    for await (const chunk of this.response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) this.#block(text.slice(0, end));
    }
  }

  #block(block) {
    const event = {};
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      if (colon === 0) this.comments++;
      else event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    if (event.retry) this.retry = Number(event.retry);
    if (!event.data) return;
    this.events.push({ ...event, data: JSON.parse(event.data) });
  }

  of(name) {
    return this.events.filter(({ event }) => event === name);
  }
  get ids() {
    return this.of('msg').map(({ data }) => data.id);
  }
  // What a client would come back with.
  get last() {
    return this.events.at(-1)?.id;
  }

  async joined(n = 1) {
    await until('the stream has joined', () => this.of('fm_joined').length === n);
    return this.of('fm_joined').map(({ data }) => data);
  }

  close() {
    this.#abort.abort();
  }
}
