// A proxy before one node, like those of companies and hotels: what is HTTP passes, and what becomes of WebSockets is set by `mode`: they
// `pass`, are `refuse`d, `dangle` without an answer, or are `swallow`ed: accepted, and nothing comes through.
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import crypto from 'node:crypto';

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export class Blocking {
  asked = 0; // WebSockets that somebody wanted
  #open = new Set();

  // Ended when the test `t` ends.
  static async start(t, node, mode) {
    const proxy = Object.assign(new this(), { node, mode });
    const server = http.createServer((request, response) => proxy.#pass(request, response));
    server.on('upgrade', (request, socket, head) => proxy.#upgrade(request, socket, head));
    server.on('connection', (socket) => proxy.#keep(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy.port = server.address().port;
    proxy.url = `ws://127.0.0.1:${proxy.port}/socket`;
    t.after(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  // Breaks all connections that it has.
  cut() {
    for (const socket of this.#open) socket.destroy();
  }

  #keep(socket) {
    this.#open.add(socket);
    socket.on('error', () => {}).on('close', () => this.#open.delete(socket));
    return socket;
  }

  #pass(request, response) {
    const { method, url: path, headers } = request;
    const onwards = http.request({ host: '127.0.0.1', port: this.node.port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onwards.on('error', () => response.destroy());
    response.on('close', () => onwards.destroy());
    request.pipe(onwards);
  }

  #upgrade(request, socket, head) {
    this.asked++;
    if (this.mode === 'refuse') {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    } else if (this.mode === 'swallow') {
      const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + guid).digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      socket.resume();
    } else if (this.mode === 'pass') {
      const onwards = this.#keep(net.connect(this.node.port, '127.0.0.1'));
      const lines = request.rawHeaders.map((text, i) => text + (i % 2 ? '\r\n' : ': ')).join('');
      onwards.write(`GET ${request.url} HTTP/1.1\r\n${lines}\r\n`);
      onwards.write(head);
      onwards.pipe(socket).pipe(onwards);
      for (const [one, other] of [[socket, onwards], [onwards, socket]]) one.on('close', () => other.destroy());
    }
  }
}
