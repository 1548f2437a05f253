// One fanmesh node as a real process: started, asked, killed and restarted by tests; always ended by its process id.
//
// Variables: FANMESH_BIN (default build/release/fanmesh), FANMESH_KEEP_LOGS=1 keeps the folder of a run.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './ports.mjs';
import { patience, until, within } from './wait.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const binary = path.resolve(root, process.env.FANMESH_BIN ?? 'build/release/fanmesh');
// The same with switches that break it (broker/mutation.h).
export const mutated = path.resolve(root, 'build/release/tests/fanmesh_mutated');
export { patience };

const alive = new Set();
const folders = new Set();
let failed = false;

process.on('exit', (code) => {
  for (const child of alive) child.kill('SIGKILL');
  const keep = failed || code !== 0 || process.env.FANMESH_KEEP_LOGS;
  for (const folder of folders) {
    if (keep) console.error(`logs of this run: ${folder}`);
    else fs.rmSync(folder, { recursive: true, force: true });
  }
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

export function workFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-test-'));
  folders.add(folder);
  return folder;
}

// What tests use unless they say otherwise: short limits, and a topic pattern for each kind of rule.
export const testRules = {
  'room:*': { join: 'anyone', push: 'anyone', push_to: 'all', history_count: 20000, history_bytes: '16MiB', history_age: '10m' },
  'others:*': { join: 'anyone', push: 'anyone', push_to: 'others', history_count: 100, history_bytes: '1MiB', history_age: '10m' },
  'quiet:*': { join: 'anyone', push: 'nobody', history_count: 100, history_bytes: '1MiB', history_age: '10m' },
  'closed:*': { join: 'nobody', push: 'nobody' },
  'bare:*': { join: 'anyone', push: 'anyone', push_to: 'all' },
};

export const apiKey = 'test-key-0123456789';
export const meshSecret = 'a secret that only this test cluster has';

function settingsText(options, rules) {
  let text = Object.entries(options)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');
  for (const [pattern, rule] of Object.entries(rules)) {
    text += `\n[topic "${pattern}"]\n`;
    for (const [key, value] of Object.entries(rule)) text += `${key} = ${value}\n`;
  }
  return text;
}

export class Node {
  under = []; // the command that a node is run by, such as [ip, netns, exec, ...]
  env = {}; // more of its environment
  host = '127.0.0.1'; // of its clients and its API

  // options: settings that differ from the defaults below (null removes one); rules: as in testRules; join: another Node; mutation: what is
  // broken in it on purpose.
  static async create({ name = 'node', folder = workFolder(), options = {}, rules = testRules, join, secret = meshSecret, args = [], mutation } = {}) {
    const node = new this();
    node.mutation = mutation;
    node.name = name;
    node.folder = folder;
    node.rules = rules;
    node.args = args;
    node.starts = 0;
    [node.port, node.apiPort, node.meshPort, node.askPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
    node.secretFile = path.join(folder, `${name}.secret`);
    fs.writeFileSync(node.secretFile, `${secret}\n`, { mode: 0o600 });
    node.keyFile = path.join(folder, `${name}.key`);
    fs.writeFileSync(node.keyFile, `${apiKey}\n`, { mode: 0o600 });
    node.options = {
      name,
      listen: `127.0.0.1:${node.port}`,
      api_listen: `127.0.0.1:${node.apiPort}`,
      api_key_file: node.keyFile,
      mesh_listen: `127.0.0.1:${node.meshPort}`,
      mesh_ask_listen: `127.0.0.1:${node.askPort}`,
      secret_file: secret === null ? undefined : node.secretFile,
      join: join ? join.meshAddress : undefined,
      workers: 2,
      drain_ms: 200,
      ...options,
    };
    return node;
  }

  // Where others reach it.
  get meshAddress() {
    return this.options.mesh_advertise ?? `127.0.0.1:${this.meshPort}`;
  }
  get ws() {
    return `ws://${this.host}:${this.port}/socket`;
  }
  get api() {
    return `http://${this.host}:${this.apiPort}`;
  }
  get logFile() {
    return path.join(this.folder, `${this.name}.log`);
  }
  get log() {
    return fs.existsSync(this.logFile) ? fs.readFileSync(this.logFile, 'utf8') : '';
  }
  get pid() {
    return this.child?.pid;
  }
  get running() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  // Its settings file, from what options and rules are now. In one step: a node that still reads for an earlier HUP would take half a file.
  writeSettings() {
    const file = path.join(this.folder, `${this.name}.ini`);
    fs.writeFileSync(`${file}.new`, settingsText(this.options, this.rules));
    fs.renameSync(`${file}.new`, file);
    return file;
  }

  // HUP, after its settings were written anew. Returns the lines of the log that say what came of it.
  async reload() {
    const before = this.log.length;
    const ended = /event=(reloaded|reload_failed) .*\n/;
    this.writeSettings();
    this.child.kill('SIGHUP');
    await until(`${this.name} has reloaded`, () => ended.test(this.log.slice(before))).catch((error) => this.fail(error.message));
    return this.log.slice(before);
  }

  // What is run, with the settings file.
  command(file) {
    return [this.mutation ? mutated : binary, 'serve', '--config', file];
  }

  // Starts the process; does not wait until it is ready.
  spawn() {
    if (this.running) throw new Error(`${this.name} runs already`);
    const file = this.writeSettings();
    const out = fs.openSync(this.logFile, 'a');
    this.starts++;
    // A node warns of FANMESH_* variables that are no options; those of the tests are none.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FANMESH_')));
    if (this.mutation) env.FANMESH_MUTATION = this.mutation;
    const [program, ...args] = [...this.under, ...this.command(file), ...this.args];
    const child = spawn(program, args, { cwd: this.folder, env: { ...env, ...this.env }, stdio: ['ignore', out, out] });
    fs.closeSync(out);
    this.child = child;
    alive.add(child);
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: null, error }));
      child.once('exit', (code, signal) => {
        alive.delete(child);
        resolve({ code, signal });
      });
    });
    return this;
  }

  async start(limitMs = 30_000) {
    this.spawn();
    await this.ready(limitMs);
    return this;
  }

  async ready(limitMs = 30_000) {
    await until(
      `${this.name} is ready`,
      async () => {
        if (!this.running) return 'ended';
        return (await fetch(`${this.api}/readyz`)).status === 200;
      },
      limitMs,
    ).catch((error) => this.fail(error.message));
    if (!this.running) this.fail(`${this.name} ended before it was ready`);
  }

  fail(why) {
    failed = true;
    throw new Error(`${why}\n${this.log.split('\n').slice(-25).join('\n')}`);
  }

  // TERM, and what a good end is: within the limit, exit code 0, nothing from a sanitizer in the log.
  async stop(limitMs = 20_000) {
    if (!this.running) return this.checkEnd();
    this.child.kill('SIGTERM');
    // within() drops its timer: one left behind would keep the test's process alive for the whole limit.
    const end = await within(limitMs, 'the end', this.exited).catch(() => undefined);
    if (!end) {
      await this.kill();
      this.fail(`${this.name} did not end within ${limitMs} ms after TERM`);
    }
    this.checkLog();
    if (end.code !== 0) this.fail(`${this.name} ended with ${end.signal ?? end.code} after TERM`);
  }

  // As when the machine dies: nothing is flushed, nobody is told.
  async kill() {
    if (!this.running) return;
    this.child.kill('SIGKILL');
    await this.exited;
  }

  // As when the machine stands still: connections stay, nothing is read or said.
  freeze() {
    this.child.kill('SIGSTOP');
  }
  thaw() {
    this.child.kill('SIGCONT');
  }

  async restart(limitMs) {
    await this.stop();
    return this.start(limitMs);
  }

  // A node that a test killed, or that ended by itself as the test wanted, did not crash.
  async checkEnd() {
    const end = await this.exited;
    if (!end) return; // never started
    this.checkLog();
    if (/^SIG(SEGV|BUS|ABRT|ILL|FPE|SYS|TRAP)$/.test(end.signal)) this.fail(`${this.name} crashed by ${end.signal}`);
  }

  checkLog() {
    const bad = this.log.match(/^.*(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed).*$/m);
    if (bad) this.fail(`${this.name}: ${bad[0]}`);
  }

  // The internal listener. Returns { status, headers, body (parsed if JSON), text }.
  async request(method, target, { body, headers = {}, key = apiKey, limitMs } = {}) {
    const response = await fetch(this.api + target, {
      method,
      signal: limitMs ? AbortSignal.timeout(limitMs) : undefined,
      headers: { ...(key ? { authorization: `Bearer ${key}` } : {}), ...headers },
      body: body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    });
    const text = await response.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {
      parsed = undefined;
    }
    return { status: response.status, headers: response.headers, body: parsed, text };
  }

  // Publishes one message { topic, event, payload, ... }, whatever the answer.
  tryPublish(message) {
    return this.request('POST', '/api/publish', { body: message, headers: { 'content-type': 'application/json' } });
  }

  // The same; returns its id. Throws unless it was accepted. For others to confirm it there is more time than by default: they may be slow.
  async publish(message) {
    const answer = await this.tryPublish(message.ack === 'replicated' ? { timeout_ms: 20_000, ...message } : message);
    if (answer.status !== 200) throw new Error(`publish on ${this.name}: ${answer.status} ${answer.text}`);
    return answer.body.id;
  }

  // Many at once, accepted together; returns their ids.
  async publishAll(messages) {
    const answer = await this.request('POST', '/api/publish/batch', { body: messages, headers: { 'content-type': 'application/json' } });
    if (answer.status !== 200) throw new Error(`publish on ${this.name}: ${answer.status} ${answer.text}`);
    return answer.body.results.map(({ id }) => id);
  }

  // What it knows of the others: { self, peers, origins }.
  async clusterView() {
    return (await this.request('GET', '/api/cluster')).body;
  }

  // What it says of one other node, undefined if nothing.
  async viewOf(other) {
    return (await this.clusterView()).peers.find(({ name }) => name === other.name);
  }

  // Ids of a topic's history, oldest first.
  async history(topic) {
    const { body } = await this.request('GET', `/api/topics/${encodeURIComponent(topic)}/history?limit=1000`);
    return body.messages.map(({ id }) => id);
  }

  // How often the log has an event, as of another node if that is named.
  logged(event, other) {
    const lines = this.log.split('\n').filter((line) => line.includes(` event=${event} `));
    return lines.filter((line) => !other || line.includes(` node="${other.name}" `)).length;
  }

  // Is the event in the log, and in a burst that began at a moment (Date.now()) no more often than once in ten seconds?
  loggedSeldom(event, began) {
    const n = this.logged(event);
    return n >= 1 && n <= 1 + (Date.now() - began) / 10_000;
  }

  // A number of /metrics, summed over its labels.
  async metric(name) {
    const { text } = await this.request('GET', '/metrics');
    let sum;
    for (const line of text.split('\n')) {
      const match = line.match(/^([a-zA-Z_:]+)(?:\{[^}]*\})? ([-+.\deE]+)/);
      if (match && match[1] === name) sum = (sum ?? 0) + Number(match[2]);
    }
    return sum;
  }

  // Until a counter is at n, behind whose effects it may be; throws if it is beyond that.
  async counts(name, n) {
    const found = await until(`${name} is ${n}`, async () => {
      const now = await this.metric(name);
      return now >= n && { now };
    });
    assert.equal(found.now, n, name);
  }
}
