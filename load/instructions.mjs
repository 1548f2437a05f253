#!/usr/bin/env node
// What the hot path costs in instructions: a real node under callgrind, a fixed script of work, and the instructions of the callbacks that
// did it, divided by how much there was. Instructions repeat within a percent from run to run where times don't, so a change of the hot
// path shows here before it shows anywhere else. The event loop's own turns, ticks and start are left out: their number depends on time.
//
// instructions.json holds the reference. --check compares with it, --update REASON replaces it.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { freePort } from '../tests/lib/ports.mjs';
import { frame, rawSocket } from '../tests/lib/raw.mjs';
import { build, ready, serveArgs, sleep } from './beside.mjs';

const referenceFile = fileURLToPath(new URL('instructions.json', import.meta.url));
const { values: options } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    update: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

const subscribers = 200;
const messages = 100;
const batches = 30;
const batch = 8;
const meshMessages = 8000;
const tolerance = 0.03;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-instructions-'));
let child;
process.on('exit', () => {
  child?.kill('SIGKILL');
  if (options.keep) console.log(`profiles: ${folder}`);
  else fs.rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function fail(sentence) {
  console.error(`bench-instructions: ${sentence}`);
  process.exit(2);
}

// ---- the node ----

// Topics as the profile --dev has them, but plain ones without presence: a client of those is given what it came for and nothing else.
const rule = 'join = anyone\npush = anyone\nhistory_count = 100\nhistory_bytes = 1MiB\nhistory_age = 1h\n';

async function startNode() {
  const settings = path.join(folder, 'fanmesh.ini');
  fs.writeFileSync(settings, `[topic "room:*"]\n${rule}\n[topic "here:*"]\n${rule}presence = anyone\n`);
  const [port, apiPort] = [await freePort(), await freePort()];
  const log = path.join(folder, 'node.log');
  const out = fs.openSync(log, 'a');
  child = spawn(
    'valgrind',
    [
      '--tool=callgrind', `--callgrind-out-file=${folder}/out`, path.join(build, 'fanmesh'),
      ...serveArgs(port, apiPort, [
        '--fanout-slice', '100000', // in one piece, to be found in one function
        '--connections-max', '1000', // libwebsockets' table of descriptors, which it looks through at each close, has as many entries
        '--config', settings,
      ]),
    ],
    { stdio: ['ignore', out, out] },
  );
  child.once('error', (error) => fail(`valgrind can't be run: ${error.message}`));
  child.once('exit', () => fail(`the node ended:\n${fs.readFileSync(log, 'utf8')}`));
  if (await ready(apiPort, child, 60_000)) return { port, api: `http://127.0.0.1:${apiPort}` };
  return fail('the node is not ready after a minute');
}

// What was done since the last dump, as { from, to, calls, instructions } of each pair of functions.
let dumps = 0;
async function profile() {
  await sleep(200); // what a callback leaves for the end of a turn
  const file = `${folder}/out.${++dumps}`;
  const asked = spawnSync('callgrind_control', ['--dump', String(child.pid)], { encoding: 'utf8' });
  for (let i = 0; i < 100 && !(fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes('\ntotals: ')); i++) await sleep(100);
  if (!fs.existsSync(file)) fail(`callgrind wrote no profile: ${asked.stdout}${asked.stderr}`);
  return edges(fs.readFileSync(file, 'utf8'));
}

function edges(text) {
  const names = new Map();
  const name = (token) => {
    const [, id, full] = /^\((\d+)\)(?: (.*))?$/.exec(token) ?? [null, token, token];
    if (full !== undefined) names.set(id, full);
    return names.get(id).replace(/\.(part|constprop|isra)\.\d+/g, ''); // the compiler's own copies of a function
  };
  const all = new Map();
  let from, to, calls;
  for (const line of text.split('\n')) {
    if (line.startsWith('fn=')) from = name(line.slice(3));
    else if (line.startsWith('cfn=')) to = name(line.slice(4));
    else if (line.startsWith('calls=')) calls = Number(line.slice(6).split(' ')[0]);
    else if (calls !== undefined) {
      const key = `${from}\n${to}`;
      const edge = all.get(key) ?? { from, to, calls: 0, instructions: 0 };
      edge.calls += calls;
      edge.instructions += Number(line.split(' ')[1]);
      all.set(key, edge);
      calls = undefined;
    }
  }
  return [...all.values()];
}

// ---- the work ----

// Counts frames: a byte less on either side would be counted in instructions.
class Client {
  waiting = [];
  got = 0;
  rest = Buffer.alloc(0);

  // `frames`: the reply and, where presences are shown, their state.
  static async join(port, topic, frames = 1) {
    const client = new Client();
    client.raw = await rawSocket({ port });
    client.raw.socket.removeAllListeners('data');
    client.raw.socket.on('data', (bytes) => client.take(bytes));
    client.push(['1', '1', topic, 'phx_join', {}]);
    await client.until(frames);
    return client;
  }
  take(bytes) {
    let rest = Buffer.concat([this.rest, bytes]);
    for (let end; (end = frameEnd(rest)) <= rest.length; rest = rest.subarray(end)) this.got++;
    this.rest = rest;
    this.waiting = this.waiting.filter(({ n, resolve }) => this.got < n || void resolve());
  }
  push(message) {
    this.raw.send(frame(1, JSON.stringify(message)));
  }
  until(n) {
    return this.got >= n ? undefined : new Promise((resolve) => this.waiting.push({ n, resolve }));
  }
  close() {
    this.raw.send(frame(8, Buffer.from([3, 232])));
    return this.raw.closed;
  }
}

// Where the first frame of these bytes ends. None here is longer than 64 KB.
function frameEnd(bytes) {
  if (bytes.length < 4) return bytes.length < 2 || bytes[1] === 126 ? Infinity : 2 + bytes[1];
  return bytes[1] === 126 ? 4 + bytes.readUInt16BE(2) : 2 + bytes[1];
}

// One thing after another, so that it does not depend on time what meets in one turn of a loop.
async function work() {
  const node = await startNode();
  const topic = 'room:bench';
  const publisher = await Client.join(node.port, 'room:other');
  await profile();

  const clients = [];
  for (let i = 0; i < subscribers; i++) clients.push(await Client.join(node.port, topic));
  const connecting = await profile();

  const watchers = [];
  for (let i = 0; i < subscribers; i++) watchers.push(await Client.join(node.port, 'here:bench', 2));
  const watching = await profile();
  for (const client of watchers) await client.close();

  const payload = { x: 'x'.repeat(52) };
  publisher.push(['1', '2', 'room:other', 'phx_leave', {}]);
  await publisher.until(2);
  publisher.push(['1', '3', topic, 'phx_join', {}]);
  await publisher.until(3);
  await profile();
  for (let i = 1; i <= messages; i++) {
    publisher.push(['1', String(i), topic, 'shout', payload]);
    await publisher.until(3 + 2 * i);
    await Promise.all(clients.map((client) => client.until(1 + i)));
  }
  const single = await profile();

  const lines = `${JSON.stringify({ topic, event: 'shout', payload })}\n`.repeat(batch);
  for (let i = 1; i <= batches; i++) {
    const headers = { 'content-type': 'application/x-ndjson' };
    const answer = await fetch(`${node.api}/api/publish/batch`, { method: 'POST', headers, body: lines });
    if (!answer.ok) fail(`publishing a batch: ${answer.status} ${await answer.text()}`);
    await answer.text();
    await Promise.all(clients.map((client) => client.until(1 + messages + i * batch)));
  }
  const batched = await profile();

  for (const client of clients) await client.close();
  const closing = await profile();
  return { connecting, watching, single, batched, closing };
}

// Two hubs in one thread with what a message meets in a cluster: the seal, many topics, histories, logs that are full.
function meshWork() {
  const args = ['--simulate', '--messages', String(meshMessages), '--log-bytes', '1MiB', '--topics', '10', '--history', '100'];
  const file = `${folder}/mesh`;
  const ran = spawnSync('valgrind', ['--tool=callgrind', `--callgrind-out-file=${file}`, path.join(build, 'load/mesh-bench'), ...args], { encoding: 'utf8' });
  if (ran.status !== 0) fail(`mesh-bench under callgrind ended with ${ran.status}: ${ran.stdout}${ran.stderr}`);
  return edges(fs.readFileSync(file, 'utf8'));
}

// ---- the figures ----

// Instructions of a function, whoever else called it.
const of = (profiled, name) =>
  profiled.filter(({ to, from }) => to === name && from !== name).reduce((sum, { instructions }) => sum + instructions, 0);

// Of all callbacks of the event loops, but for those that time calls.
const callbacks = (profiled, but = []) =>
  profiled
    .filter(({ from, to }) => from === 'ev_invoke_pending' && !['on_tick', 'on_timer', 'on_drain_step', ...but].includes(to))
    .reduce((sum, { instructions }) => sum + instructions, 0);

function figures({ connecting, watching, single, batched, closing, mesh }) {
  const deliveries = (subscribers + 1) * messages;
  const batchedDeliveries = (subscribers + 1) * batches * batch;
  return {
    'delivery, one message': of(single, 'fm_subs_flush') / deliveries,
    'delivery, one of 8 messages': of(batched, 'fm_subs_flush') / batchedDeliveries,
    'push: the worker, all but deliveries': (callbacks(single, ['on_wake']) - of(single, 'fm_subs_flush')) / messages,
    'push: the hub': of(single, 'on_wake') / messages,
    'published by HTTP, 8 at once: the hub, each': of(batched, 'on_wake') / (batches * batch),
    'connection opened and joined: the worker': callbacks(connecting, ['on_wake']) / subscribers,
    'connection opened and joined: the hub': of(connecting, 'on_wake') / subscribers,
    'the same, told who is there: the worker': callbacks(watching, ['on_wake']) / subscribers,
    'the same, told who is there: the hub': of(watching, 'on_wake') / subscribers,
    'connection closed: the worker': callbacks(closing, ['on_wake']) / subscribers,
    'connection closed: the hub': of(closing, 'fm_hub_handle') / subscribers, // how many leaves meet at one wake-up depends on time,
    'mesh: a message on the node that publishes it': of(mesh, 'fm_mesh_step_publisher') / meshMessages,
    'mesh: a message on another node': of(mesh, 'fm_mesh_step_receiver') / meshMessages,
  };
}

// Instructions are those of these, too.
function machine() {
  const version = (command, ...args) => spawnSync(command, args, { encoding: 'utf8' }).stdout?.split('\n')[0].trim() ?? '';
  const debian = (name) => version('dpkg-query', '--show', '--showformat', '${Package} ${Version}', name);
  return [os.arch(), version('cc', '--version'), ...['libwebsockets17', 'libev4', 'libc6'].map(debian)].join('; ');
}

function compare(now, reference) {
  let within = true;
  console.log(`| instructions of | now | reference | |\n|---|---|---|---|`);
  for (const [name, value] of Object.entries(now)) {
    const before = reference.instructions[name];
    const change = before ? value / before - 1 : NaN;
    const good = Math.abs(change) <= tolerance;
    within &&= good;
    const percent = Number.isNaN(change) ? 'new' : `${change >= 0 ? '+' : ''}${(100 * change).toFixed(1)} %${good ? '' : ' !'}`;
    console.log(`| ${name} | ${value.toFixed(value < 100 ? 1 : 0)} | ${before ?? ''} | ${percent} |`);
  }
  return within;
}

const now = figures({ ...(await work()), mesh: meshWork() });
child.removeAllListeners('exit');
const missing = Object.entries(now).filter(([, value]) => !(value > 0));
if (missing.length) fail(`nothing was counted for: ${missing.map(([name]) => name).join(', ')}. Was a function renamed?`);
const reference = fs.existsSync(referenceFile) ? JSON.parse(fs.readFileSync(referenceFile, 'utf8')) : { instructions: {} };
const within = compare(now, reference);
if (options.update !== undefined) {
  if (!options.update) fail('--update wants the reason in a sentence, which goes into the file');
  const rounded = Object.fromEntries(Object.entries(now).map(([name, value]) => [name, Number(value.toFixed(1))]));
  fs.writeFileSync(referenceFile, `${JSON.stringify({ reason: options.update, machine: machine(), instructions: rounded }, null, 2)}\n`);
  console.log('\nThe reference is replaced.');
} else if (options.check && !within) {
  if (reference.machine !== machine()) console.log(`\nThe reference is of: ${reference.machine}\nThis is:             ${machine()}`);
  console.log(
    `\nNOT within ${100 * tolerance} % of load/instructions.json. Dearer: look for what the change does a delivery, a message or a connection ` +
      '(--keep keeps the profiles for callgrind_annotate --inclusive=yes). Cheaper, or worth its price: commit the reference that ' +
      'script/bench-instructions --update "REASON" writes.',
  );
  process.exit(1);
}
process.exit(0); // with the node and the connections to it
