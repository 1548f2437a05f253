#!/usr/bin/env node
// What a connection costs a node over TLS: user-space memory of one that has joined and is idle, and CPU time of its handshake, new and
// resumed; beside a plain one. The clients are this process's.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import net from 'node:net';
import { parseArgs } from 'node:util';
import { makeCertificate } from '../tests/lib/certificate.mjs';
import { sleep, startNode } from './beside.mjs';
import { frame, upgradeRequest } from '../tests/lib/raw.mjs';

const { values: options } = parseArgs({ options: { connections: { type: 'string', default: '1000' } } });
const n = Number(options.connections);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-tls-'));
const { cert, key } = makeCertificate(folder);
const ca = fs.readFileSync(cert);
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));

const resident = (node) => Number(/^RssAnon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${node.pid}/status`, 'utf8'))[1]) * 1024;
const ticks = (node) => {
  const fields = fs.readFileSync(`/proc/${node.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000; // us, at the usual 100 ticks a second
};

async function connect(port, secure, session) {
  const socket = secure ? tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca, session }) : net.connect(port, '127.0.0.1');
  await new Promise((resolve, reject) => socket.once(secure ? 'secureConnect' : 'connect', resolve).once('error', reject));
  socket.on('session', (ticket) => (socket.ticket = ticket));
  let got = '';
  const until = (text) => new Promise((resolve) => (socket.on('data', (bytes) => ((got += bytes), got.includes(text) && resolve()))));
  const upgraded = until('\r\n\r\n');
  socket.write(upgradeRequest());
  await upgraded;
  const joined = until('phx_reply');
  socket.write(frame(1, JSON.stringify(['1', '1', 'room:tls', 'phx_join', {}])));
  await joined;
  return socket;
}

async function measure(name, secure, resume) {
  const { node, port } = await startNode('--idle-ms', '1h', ...(secure ? ['--tls-cert', cert, '--tls-key', key] : []));
  const first = [];
  for (let i = 0; i < 20; i++) first.push(await connect(port, secure)); // what is made once is made
  await sleep(300);
  const [memory, cpu] = [resident(node), ticks(node)];
  const sockets = [];
  for (let i = 0; i < n; i++) sockets.push(await connect(port, secure, resume ? first[0].ticket : undefined));
  await sleep(300);
  console.log(`| ${name} | ${Math.round((resident(node) - memory) / n)} | ${Math.round((ticks(node) - cpu) / n)} |`);
  for (const socket of [...first, ...sockets]) socket.destroy();
  node.kill('SIGKILL');
}

console.log('| connection, joined and idle | bytes of user space | us of CPU to open it |\n|---|---|---|');
await measure('plain', false);
await measure('TLS 1.3, P-256 certificate', true, false);
await measure('TLS 1.3, resumed', true, true);
process.exit(0);
