// A backend for hooks that breaks every rule of HTTP that it is told to break: a TCP server, since no HTTP server would do that.
import net from 'node:net';
import { once } from 'node:events';

const good = (text) => `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;

export const allow = '{"allow":true}';

// Writes what `piece` gives as long as the other side takes it, `most` bytes at most.
function pour(socket, piece, most) {
  let written = 0;
  const more = () => {
    while (!socket.destroyed && written < most) {
      const bytes = piece();
      written += bytes.length;
      if (!socket.write(bytes)) return void socket.once('drain', more);
    }
  };
  more();
}

// A byte now and then, for ever: always alive, never done.
function trickle(socket, text) {
  let at = 0;
  const timer = setInterval(() => socket.write(text[at++ % text.length]), 20);
  socket.once('close', () => clearInterval(timer));
}

// name -> what is done on a connection that has put a question, and what its client is told: a push and join by reason, a connect by status.
// (Where curl may or may not find out before the time is over both are right.)
export const troubles = {
  'says nothing': { does: () => {}, reason: 'timeout' },
  'trickles its head': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\nX: '), trickle(socket, 'y')), reason: 'timeout' },
  'trickles its body': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{"allow":true'), trickle(socket, ' ')), reason: 'timeout' },
  'trickles chunks': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'), trickle(socket, '1\r\n \r\n')), reason: 'timeout' },
  'says that it goes on for ever': { does: (socket) => trickle(socket, 'HTTP/1.1 100 Continue\r\n\r\n'), reason: 'timeout' },
  'stops before its length': { does: (socket) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n${allow}`), reason: 'timeout' },
  'closes without a word': { does: (socket) => socket.end(), reason: 'unavailable' },
  'closes in its head': { does: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Le'), reason: 'bad_answer' }, // its status is known, and no body came
  'closes before its length': { does: (socket) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n${allow}`), reason: 'unavailable' },
  'closes in a chunk': { does: (socket) => socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n${allow}\r\n5\r\n`), reason: 'unavailable' },
  'closes in its JSON': { does: (socket) => socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"allow":tr'), reason: 'bad_answer' },
  'resets the connection': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\n'), socket.resetAndDestroy()), reason: 'unavailable' },
  'speaks another protocol': { does: (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'), reason: 'unavailable' },
  'speaks TLS': { does: (socket) => socket.end(Buffer.from('150301000202280d0a0d0a', 'hex')), reason: 'unavailable' },
  'answers without a head': { does: (socket) => socket.end(allow), reason: 'unavailable' },
  'has a head without end': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\n'), pour(socket, () => 'X-More: '.padEnd(1000, 'x') + '\r\n', 64 << 20)), reason: 'unavailable' },
  'has a line without end': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\nX: '), pour(socket, () => 'x'.repeat(1000), 64 << 20)), reason: 'unavailable' },
  'has a body without end': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\n\r\n'), pour(socket, () => ' '.repeat(10_000), 64 << 20)), reason: 'bad_answer' },
  'says that gigabytes follow': { does: (socket) => (socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n'), pour(socket, () => ' '.repeat(10_000), 64 << 20)), reason: 'bad_answer' },
  'packs its answer unasked': { does: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00', 'latin1'), reason: 'bad_answer' },
  'answers no UTF-8': { does: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{"allow":false,"reason":"\xff\xfe"}', 'latin1'), reason: 'bad_answer' },
  'sends away by 301': { does: (socket, { elsewhere }) => socket.write(`HTTP/1.1 301 Moved\r\nLocation: ${elsewhere}\r\nContent-Length: 0\r\n\r\n`), reason: 'bad_answer' },
  'sends away by 307': { does: (socket, { elsewhere }) => socket.write(`HTTP/1.1 307 Moved\r\nLocation: ${elsewhere}\r\nContent-Length: ${allow.length}\r\n\r\n${allow}`), reason: 'bad_answer' },
};
export const statuses = { timeout: 504, unavailable: 503, bad_answer: 502 };

export class BrokenBackend {
  asks = []; // bodies, in the order in which they came
  elsewhere = ''; // where it sends away to
  #sockets = new Set();

  // trouble: of a body -> a name of the table, or a text that answers well.
  static async start(t, trouble) {
    const backend = new this();
    backend.trouble = trouble;
    backend.server = net.createServer((socket) => backend.#serve(socket));
    backend.server.listen(0, '127.0.0.1');
    await once(backend.server, 'listening');
    t.after(() => {
      for (const socket of backend.#sockets) socket.destroy();
      return new Promise((resolve) => backend.server.close(resolve));
    });
    return backend;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}/hook`;
  }

  #serve(socket) {
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    let text = '';
    socket.setEncoding('utf8').on('data', (piece) => {
      text += piece;
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: *(\d+)/i.exec(text)?.[1]);
      if (end < 0 || Buffer.byteLength(text.slice(end + 4)) < length) return;
      const body = JSON.parse(text.slice(end + 4));
      text = '';
      this.asks.push(body);
      const name = this.trouble(body);
      if (troubles[name]) troubles[name].does(socket, this);
      else socket.write(good(name));
    });
  }
}
