#!/usr/bin/env node
// How long a large fan-out holds up another topic on the same worker: 15,000 subscribers are given two messages a second, and one client of
// another topic pushes to itself all the time and measures how long that takes: by the clock, and by the CPU time that the worker spent
// meanwhile, which is the same where nothing else runs on the machine, and still means something where much does. With fanout_slice at its
// default, and without slices.
import { parseArgs } from 'node:util';
import { frame, rawSocket } from '../tests/lib/raw.mjs';
import { percentiles, sleep, start, startNode, workerClock } from './beside.mjs';

const { values: options } = parseArgs({
  options: {
    connections: { type: 'string', default: '15000' },
    seconds: { type: 'string', default: '15' },
    slices: { type: 'string', default: '10000000,128' },
  },
});
const pause = 2; // ms between two pushes

// Round trips in ms of pushes of one client to itself, until `until` settles; by the clock, and in the worker's CPU time.
async function roundTrips(port, workerMs, until) {
  const raw = await rawSocket({ port });
  raw.socket.removeAllListeners('data');
  let heard;
  raw.socket.on('data', () => heard());
  const said = (message) => new Promise((resolve) => ((heard = resolve), raw.send(frame(1, JSON.stringify(message)))));
  await said(['1', '1', 'room:other', 'phx_join', {}]);
  let over = false;
  until.then(() => (over = true));
  const times = [];
  const spent = [];
  while (!over) {
    const began = performance.now();
    const before = workerMs();
    await said(['1', '2', 'room:other', 'shout', {}]);
    times.push(performance.now() - began);
    spent.push(workerMs() - before);
    await sleep(pause);
  }
  raw.close();
  return [times, spent];
}

async function measure(slice) {
  const { node, port } = await startNode('--fanout-slice', String(slice));
  const rate = 2;
  const load = start(
    'load/fanmesh-load',
    [
      '--json', '--nodes', `ws://127.0.0.1:${port}`, '--connections', options.connections, '--connect-rate', '3000', '--rate', String(rate),
      '--messages', String(rate * Number(options.seconds)), '--warmup', '0', '--heartbeat-ms', '0',
    ],
    'pipe',
  );
  let text = '';
  load.stdout.on('data', (bytes) => (text += bytes));
  await sleep((Number(options.connections) / 3000) * 1000 + 3000);
  // Not to the end: 15,000 clients that leave at once are another matter.
  const [times, spent] = await roundTrips(port, workerClock(node.pid), sleep((Number(options.seconds) - 4) * 1000));
  await load.ended;
  node.kill('SIGKILL');
  await node.ended;
  const { exit, tally } = JSON.parse(text);
  const columns = [times, spent].map(percentiles);
  console.log(`| ${slice} | ${times.length} | ${columns.join(' | ')} | ${exit === 0 ? tally.deliveries : `exit code ${exit}`} |`);
}

console.log(`Round trips, in ms, beside ${options.connections} subscribers of another topic that are given 2 messages a second\n`);
console.log('| fanout_slice | round trips | ms, p50 / p95 / p99 / max | CPU of the worker meanwhile, ms | deliveries |\n|---|---|---|---|---|');
for (const slice of options.slices.split(',')) await measure(slice);
process.exit(0);
