#!/usr/bin/env node
// How long a backend of hooks that hangs, trickles, never ends or is gone keeps a message waiting on a topic that asks nobody: on the same worker
// clients push all the time to topics about which the backend is asked. A message is published by HTTP every few ms to one subscriber of another
// topic; measured is the time until it is there, by the clock and in the CPU time that the worker spent meanwhile.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { BrokenBackend, allow } from '../tests/lib/broken_backend.mjs';
import { frame, rawSocket } from '../tests/lib/raw.mjs';
import { deliveries, percentiles, sleep, startNode } from './beside.mjs';

const { values: options } = parseArgs({
  options: {
    clients: { type: 'string', default: '200' }, // that push, each the next one when it has its answer
    seconds: { type: 'string', default: '8' },
    troubles: { type: 'string', default: 'none,says nothing,trickles its body,has a body without end,closes before its length,is gone' },
    breaker: { type: 'boolean', default: false }, // with the breaker's defaults; else it never opens
  },
});
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-hooks-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));

// Pushes until `over()`; counts what was answered how.
async function pusher(port, n, tally, over) {
  const raw = await rawSocket({ port });
  raw.socket.removeAllListeners('data');
  let heard;
  raw.socket.on('data', (bytes) => heard(bytes.toString('latin1')));
  const said = (message) => new Promise((resolve) => ((heard = resolve), raw.send(frame(1, JSON.stringify(message)))));
  await said(['1', '1', `pushes:${n}`, 'phx_join', {}]);
  while (!over()) {
    const answer = await said(['1', '2', `pushes:${n}`, 'msg', {}]);
    const reason = /"reason":"(\w+)"/.exec(answer)?.[1] ?? 'ok';
    tally[reason] = (tally[reason] ?? 0) + 1;
    if (reason === 'unavailable') await sleep(20);
  }
  raw.close();
}

async function measure(trouble) {
  const ends = [];
  const backend = await BrokenBackend.start({ after: (end) => ends.push(end) }, () => (trouble === 'none' ? allow : trouble));
  const config = path.join(folder, 'hooks.ini');
  fs.writeFileSync(config, '[topic "pushes:*"]\njoin = anyone\npush = hook\npush_to = others\n');
  const { url } = backend;
  if (trouble === 'is gone') for (const end of ends.splice(0)) await end();
  const place = await startNode('--config', config, '--hook-url', url, '--hook-timeout-ms', '1000', ...(options.breaker ? [] : ['--hook-open-after', '0']));
  const tally = {};
  let over = false;
  const pushers = Array.from({ length: Number(options.clients) }, (_, n) => pusher(place.port, n, tally, () => over));
  await sleep(1000);
  setTimeout(() => (over = true), Number(options.seconds) * 1000);
  const [times, spent] = await deliveries(place, false, () => over);
  place.node.kill('SIGKILL');
  await place.node.ended;
  for (const end of ends) await end();
  void pushers;
  const answers = Object.entries(tally).map(([reason, n]) => `${n} ${reason}`).join(', ');
  console.log(`| ${trouble} | ${times.length} | ${percentiles(times)} | ${percentiles(spent)} | ${answers || 'none'} |`);
}

console.log(`Messages of another topic, beside ${options.clients} clients that push where a backend decides\n`);
console.log('| the backend | messages | ms, p50 / p95 / p99 / max | CPU of the worker meanwhile, ms | pushes |\n|---|---|---|---|---|');
for (const trouble of options.troubles.split(',')) await measure(trouble);
process.exit(0);
