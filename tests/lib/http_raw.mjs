// HTTP as bytes, for what no HTTP library would send: chunked and half bodies, several requests at once, lies about lengths.
import net from 'node:net';
import { within } from './wait.mjs';

// Splits what came into whole answers; what follows the last one is `rest`. `bodies`: false for answers to HEAD.
export function answersIn(text, bodies = true) {
  const answers = [];
  for (;;) {
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return { answers, rest: text };
    const [first, ...lines] = text.slice(0, end).split('\r\n');
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    const length = bodies ? Number(headers['content-length'] ?? 0) : 0;
    if (text.length < end + 4 + length) return { answers, rest: text };
    const body = text.slice(end + 4, end + 4 + length);
    answers.push({ status: Number(first.split(' ')[1]), headers, body });
    text = text.slice(end + 4 + length);
  }
}

// One connection. Bytes are latin1 text, so that lengths are bytes.
export class Raw {
  static async open(port, host = '127.0.0.1') {
    const raw = new Raw();
    raw.text = '';
    raw.socket = net.connect({ port, host });
    raw.socket.setEncoding('latin1');
    raw.socket.on('data', (data) => (raw.text += data));
    raw.closed = new Promise((resolve) => raw.socket.once('close', resolve));
    raw.socket.on('error', () => {}); // a reset is a way of closing; `closed` follows
    await within(5000, `connect to port ${port}`, new Promise((resolve, reject) => raw.socket.once('connect', resolve).once('error', reject)));
    return raw;
  }

  send(text) {
    this.socket.write(text, 'latin1');
  }

  // The answers so far, once there are `n` of them or the connection is closed.
  async answers(n = 1, limitMs = 5000) {
    const enough = new Promise((resolve) => {
      const look = () => answersIn(this.text).answers.length >= n && resolve();
      this.socket.on('data', look);
      look();
    });
    await within(limitMs, `${n} answers, have: ${JSON.stringify(this.text.slice(0, 500))}`, Promise.race([enough, this.closed]));
    return answersIn(this.text).answers;
  }

  close() {
    this.socket.destroy();
  }
}
