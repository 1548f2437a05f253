// A backend for hooks: a real HTTP or HTTPS server that answers as a test says, keeps every request, and checks every signature, and every body
// against docs/hooks.schema.json.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import { checkRequest } from './hook_schema.mjs';
import { freePort } from './ports.mjs';

export const hookSecret = 'the-secret-of-the-hooks-of-this-test';

// As docs/hooks.md says; the secrets are those of the test.
export function signedBy(header, body, secret) {
  const parts = (header ?? '').split(',').map((part) => part.split('='));
  const t = parts.find(([name]) => name === 't')?.[1];
  const mac = crypto.createHmac('sha256', secret).update(`${t}.${body}`).digest('hex');
  return Math.abs(Date.now() / 1000 - Number(t)) < 300 && parts.some(([name, value]) => name === 'v1' && value === mac);
}

export class Backend {
  asks = []; // questions, and
  told = []; // ... notices, in the order in which they came
  batches = []; // of notices: the ids of each request
  sockets = new Set();
  secret = hookSecret;

  // answer: of a question -> what it is answered with: an object (JSON with 200), a text, { status, headers, text }, or undefined: nothing ever.
  // Promises as well. tell: likewise of an array of notices.
  answer = () => ({ allow: true });
  tell = () => ({});

  // tls: { cert, key } files.
  static async start(t, { tls, port } = {}) {
    const backend = new this();
    backend.tls = tls;
    backend.port = port ?? (await freePort());
    await backend.open();
    t?.after(() => backend.close());
    return backend;
  }

  get url() {
    return `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}/hook`;
  }

  async open() {
    const serve = (request, response) => void this.serve(request, response).catch((error) => (this.failure = error));
    const files = this.tls && { cert: fs.readFileSync(this.tls.cert), key: fs.readFileSync(this.tls.key) };
    this.server = files ? https.createServer(files, serve) : http.createServer(serve);
    this.server.keepAliveTimeout = 600_000; // a connection that is kept is not closed in the moment in which the node uses it
    for (const event of ['connection', 'secureConnection']) {
      this.server.on(event, (socket) => {
        this.sockets.add(socket);
        socket.on('error', () => {}).on('close', () => this.sockets.delete(socket));
      });
    }
    this.server.on('tlsClientError', () => {});
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
  }

  // As when its process dies.
  async close() {
    const { server } = this;
    this.server = undefined;
    if (!server) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
    if (this.failure) throw this.failure;
  }

  async serve(request, response) {
    let text = '';
    request.setEncoding('utf8');
    for await (const chunk of request) text += chunk;
    assert.equal(request.method, 'POST');
    assert.equal(request.headers['content-type'], 'application/json');
    if (this.secret) assert.ok(signedBy(request.headers['x-fanmesh-signature'], text, this.secret), 'the signature');
    else assert.equal(request.headers['x-fanmesh-signature'], undefined);
    const body = JSON.parse(text);
    checkRequest(body);
    let answer;
    if (Array.isArray(body)) {
      this.batches.push(body.map(({ id }) => id));
      answer = await this.tell(body);
      if (answer && (answer.status ?? 200) === 200) this.told.push(...body);
    } else {
      this.asks.push(body);
      answer = await this.answer(body);
    }
    if (answer === undefined) return; // for ever
    if (answer === 'break') return void request.socket.destroy();
    const whole = answer.status || answer.text !== undefined ? answer : { text: typeof answer === 'string' ? answer : JSON.stringify(answer) };
    response.writeHead(whole.status ?? 200, { 'content-type': 'application/json', ...whole.headers });
    response.end(whole.text ?? '');
  }
}

// A promise that a test lets go.
export function gate() {
  const it = {};
  it.promise = new Promise((resolve) => (it.open = resolve));
  return it;
}
