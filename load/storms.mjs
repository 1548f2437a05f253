#!/usr/bin/env node
// How long a worker keeps a message waiting for those who stay, while very many come over TLS, or leave, at once. A message is published by
// HTTP every few ms to one subscriber of that worker. Measured is the time until it is there, by the clock and in the CPU time that the
// worker spent meanwhile, which means something also where much else runs on the machine.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { makeCertificate } from '../tests/lib/certificate.mjs';
import { deliveries, percentiles, sleep, start, startNode } from './beside.mjs';

const { values: options } = parseArgs({
  options: {
    leave: { type: 'string', default: '15000' }, // connections that end at once
    handshakes: { type: 'string', default: '1500' }, // that come at once
  },
});
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-storms-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
const { cert, key } = makeCertificate(folder);

const nodeOf = (secure) => startNode('--handshake-ms', '60s', ...(secure ? ['--tls-cert', cert, '--tls-key', key] : []));

function load(port, secure, connections) {
  return start('load/fanmesh-load', [
    '--nodes', `${secure ? 'wss' : 'ws'}://127.0.0.1:${port}`, '--tls-insecure', '--connections', connections, '--connect-rate', secure ? '0' : '3000',
    '--messages', '1', '--idle-ms', '600s', '--heartbeat-ms', '0', '--connect-ms', '120s', '--join-timeout-ms', '60s',
  ]);
}

const metric = async (apiPort, name) => {
  const text = await (await fetch(`http://127.0.0.1:${apiPort}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:{[^}]*})? (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
};

async function measure(title, secure, connections, storm) {
  const place = await nodeOf(secure);
  let done = false;
  const work = storm(place, () => (done = true));
  const [times, spent] = await work.then((begin) => (begin(), deliveries(place, secure, () => done)));
  console.log(`| ${title.replace('N', connections)} | ${times.length} | ${percentiles(times)} | ${percentiles(spent)} |`);
  place.node.kill('SIGKILL');
  await place.node.ended;
}

// Until the counter says so; asked beside the measured messages, so seldom.
async function watch(place, name, enough, done) {
  while (!enough(await metric(place.apiPort, name))) await sleep(50);
  done();
}

console.log('| storm | messages | ms, p50 / p95 / p99 / max | CPU of the worker meanwhile, ms |\n|---|---|---|---|');
await measure('N connections leave at once', false, options.leave, async (place, done) => {
  const clients = load(place.port, false, options.leave);
  await watch(place, 'fanmesh_subscriptions', (n) => n >= Number(options.leave), () => {});
  return () => {
    clients.kill('SIGKILL');
    watch(place, 'fanmesh_subscriptions', (n) => n <= 1, done);
  };
});
await measure('N TLS handshakes at once', true, options.handshakes, async (place, done) => () => {
  setTimeout(() => {
    const clients = load(place.port, true, options.handshakes);
    watch(place, 'fanmesh_tls_handshakes_total', (n) => n >= Number(options.handshakes), () => (done(), clients.kill('SIGKILL')));
  }, 500);
});
process.exit(0);
