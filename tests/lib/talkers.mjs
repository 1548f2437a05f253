// Servers of the framings of fanmesh-load, small enough to be right, or wrong on purpose: what comes is given to all of its topic.
// faults: { dropEvery, doubleEvery, crossEvery } - each n-th delivery is lost, given twice, or given to another topic's subscribers.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { root } from './node.mjs';

const { WebSocketServer } = createRequire(`${root}/tests/clients/`)('ws');

class Topics {
  #of = new Map();
  #deliveries = 0;
  constructor(faults = {}) {
    this.faults = faults;
  }
  add(topic, send) {
    this.#of.set(topic, (this.#of.get(topic) ?? new Set()).add(send));
    return () => this.#of.get(topic).delete(send);
  }
  publish(topic, text) {
    const due = (every) => every && this.#deliveries % every === 0;
    for (const send of this.#of.get(topic) ?? []) {
      this.#deliveries++;
      if (due(this.faults.dropEvery)) continue;
      if (due(this.faults.crossEvery)) [...this.#of].find(([name]) => name !== topic)[1].forEach((other) => other(text));
      send(text);
      if (due(this.faults.doubleEvery)) send(text);
    }
  }
}

async function listen(t, server, { tls } = {}) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${server.address().port}`;
  return { ws: `${tls ? 'wss' : 'ws'}://${host}`, http: `${tls ? 'https' : 'http'}://${host}` };
}

const make = (tls, handler) => (tls ? https.createServer(tls, handler) : http.createServer(handler));

// Texts: `+TOPIC` joins, `TOPIC=PAYLOAD` publishes; or the path is the topic and every message a payload.
export function startWebSocket(t, { faults, tls } = {}) {
  const topics = new Topics(faults);
  const server = make(tls);
  new WebSocketServer({ server }).on('connection', (socket, { url }) => {
    const path = url.slice(1);
    const send = (text) => socket.send(text);
    const leave = path ? [topics.add(path, send)] : [];
    socket.on('error', () => {});
    socket.on('close', () => leave.forEach((each) => each()));
    socket.on('message', (data) => {
      const text = data.toString();
      const [, topic, payload] = text.match(/^([^={]*)=(.*)$/) ?? [];
      if (text.startsWith('+')) leave.push(topics.add(text.slice(1), send));
      else topics.publish(topic ?? path, payload ?? text);
    });
  });
  return listen(t, server, { tls });
}

// GET /sub/TOPIC listens, POST /pub/TOPIC publishes. sized: the answer to GET is not chunked.
export function startEventSource(t, { faults, chunked = true, tls } = {}) {
  const topics = new Topics(faults);
  let id = 0;
  const server = make(tls, async (request, response) => {
    const [, verb, topic] = request.url.split('/');
    if (verb === 'pub' && request.method === 'POST') {
      let text = '';
      for await (const part of request) text += part;
      topics.publish(topic, text);
      response.writeHead(201, { 'Content-Length': 2 }).end('{}');
    } else if (verb === 'sub') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', ...(chunked ? {} : { 'Transfer-Encoding': 'identity', Connection: 'close' }) });
      response.write(': hi\n\n');
      const leave = topics.add(topic, (text) => {
        // In two writes, so that an event is cut.
        response.write(`id: ${++id}\nda`);
        response.write(`ta: ${text}\n\n`);
      });
      response.on('close', leave);
    } else {
      response.writeHead(404, { 'Content-Length': 0 }).end();
    }
  });
  server.keepAliveTimeout = 60_000;
  return listen(t, server, { tls });
}
