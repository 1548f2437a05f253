// TCP without a client library: for input that no library would send.
import crypto from 'node:crypto';
import net from 'node:net';
import { within } from './wait.mjs';

export class Raw {
  static async open(port) {
    const raw = new Raw();
    raw.chunks = [];
    raw.length = 0;
    raw.socket = net.connect(port, '127.0.0.1');
    raw.socket.on('data', (chunk) => {
      raw.chunks.push(chunk);
      raw.length += chunk.length;
    });
    raw.socket.on('error', () => {});
    raw.closed = new Promise((resolve) => raw.socket.once('close', resolve));
    await new Promise((resolve, reject) => raw.socket.once('connect', resolve).once('error', reject));
    return raw;
  }

  send(data) {
    this.socket.write(data);
    return this;
  }

  // All that arrived, in one piece.
  get received() {
    if (this.chunks.length !== 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0];
  }
  set received(rest) {
    this.chunks = [rest];
  }

  get text() {
    return this.received.toString('latin1');
  }

  // Until `pattern` is in what arrived; throws if the other side closes first.
  async expect(pattern, limitMs = 15_000) {
    const found = () => this.text.match(pattern);
    await within(limitMs, `${pattern} in ${JSON.stringify(this.text.slice(0, 300))}`, new Promise((resolve, reject) => {
      const look = () => found() && resolve();
      this.socket.on('data', look);
      this.socket.once('close', () => (found() ? resolve() : reject(new Error(`closed before ${pattern}: ${JSON.stringify(this.text)}`))));
      look();
    }));
    return found();
  }

  // Until the other side closes; gives everything that arrived.
  async end(limitMs = 15_000) {
    await within(limitMs, 'the other side closes', this.closed);
    return this.text;
  }

  close() {
    this.socket.destroy();
  }
}

export const upgradeRequest = (path = '/socket/websocket?vsn=2.0.0', headers = {}) => {
  const all = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
};

// A client's frame, masked; the first byte and the length field as given, for frames that break the rules.
export function frame(opcode, payload, { fin = true, rsv = 0, length } = {}) {
  const data = Buffer.from(payload);
  const n = length ?? data.length;
  const head = n < 126 ? Buffer.from([0, n]) : n < 65536 ? Buffer.from([0, 126, n >> 8, n & 255]) : Buffer.alloc(10);
  if (n >= 65536) {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(n), 2);
  }
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] |= 0x80;
  const mask = crypto.randomBytes(4);
  return Buffer.concat([head, mask, data.map((byte, i) => byte ^ mask[i % 4])]);
}

// An open WebSocket without a library.
export async function rawSocket(node, path) {
  const raw = await Raw.open(node.port);
  raw.send(upgradeRequest(path));
  await raw.expect(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  raw.received = raw.received.subarray(raw.received.indexOf('\r\n\r\n') + 4);
  return raw;
}

// The code of the CLOSE frame at the end of what a server sent, null if there is none.
export function closeCode(raw) {
  const { received } = raw;
  for (let at = 0; at + 2 <= received.length; ) {
    const opcode = received[at] & 15;
    let n = received[at + 1] & 127;
    let head = 2;
    if (n === 126) {
      n = received.readUInt16BE(at + 2);
      head = 4;
    } else if (n === 127) {
      n = Number(received.readBigUInt64BE(at + 2));
      head = 10;
    }
    if (opcode === 8) return n >= 2 ? received.readUInt16BE(at + head) : 1005;
    at += head + n;
  }
  return null;
}
