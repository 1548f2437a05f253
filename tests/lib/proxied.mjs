// Connections as a proxy makes them: from an address of its own (every 127.x.y.z is this machine's), with a PROXY protocol header in front.
import net from 'node:net';
import tls from 'node:tls';
import { within } from './wait.mjs';

export const v1 = (from, port = 56324) => Buffer.from(`PROXY ${from.includes(':') ? 'TCP6' : 'TCP4'} ${from} ${from} ${port} 443\r\n`);

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

// Version 2 with any command, family and body.
export function v2Raw(command, family, body) {
  const head = Buffer.from([0x20 | command, family, body.length >> 8, body.length & 255]);
  return Buffer.concat([signature, head, body]);
}

export function v2(from, port = 56324, more = Buffer.alloc(0)) {
  const address = Buffer.from(from.split('.').map(Number));
  return v2Raw(1, 0x11, Buffer.concat([address, address, Buffer.from([port >> 8, port & 255, 1, 187]), more]));
}

// What this machine sends from the address `from`, and what comes back. `ended`: all that came, when the other side ended it.
export async function connect(port, from) {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: from });
  collect(socket);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
}

function collect(socket) {
  socket.text = '';
  socket.on('data', (bytes) => (socket.text += bytes.toString('latin1')));
  socket.on('error', () => {});
  socket.ended = new Promise((resolve) => socket.once('close', () => resolve(socket.text)));
}

// TLS over a connection on which a header may have been sent already.
export async function secure(raw, options) {
  raw.removeAllListeners('data');
  const socket = tls.connect({ socket: raw, servername: 'localhost', ...options });
  collect(socket);
  await within(10_000, 'the handshake', new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject)));
  return socket;
}

// Each byte in a packet of its own, as far as that can be had.
export async function drip(socket, bytes) {
  for (const byte of bytes) {
    await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
}
