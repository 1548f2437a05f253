// fanmesh-load as the run's clients, publishers and judge.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { apiKey, root } from '../lib/node.mjs';
import { sleep } from '../lib/wait.mjs';

const program = path.join(root, 'build/release/load/fanmesh-load');

const keyed = (expect) => (expect === 'doubles' ? 100 : 25);

export class Load {
  killed = new Set(); // origins
  #out = '';
  #errors = '';

  constructor(nodes, folder, { clients, topics, rate, payload, idleMs, minutes, expect }) {
    this.goneFile = path.join(folder, 'gone');
    this.seriesFile = path.join(folder, 'series.jsonl');
    fs.writeFileSync(this.goneFile, '');
    const list = (urls) => nodes.map(urls).join(',');
    const options = {
      nodes: list((node) => `ws://${node.host}:${node.port}`),
      api: list((node) => node.api),
      connections: clients,
      topics,
      rate,
      payload,
      messages: 0,
      'duration-ms': (minutes * 60 + 600) * 1000, // the run ends it before
      'settle-ms': 8000,
      'idle-ms': idleMs,
      'heartbeat-ms': 5000,
      'gone-file': this.goneFile,
      series: this.seriesFile,
      ack: 'mixed',
      'replicated-percent': 25,
      'keyed-percent': keyed(expect),
      'heartbeat-timeout-ms': 12_000,
      'api-timeout-ms': 3000,
    };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.command = `fanmesh-load ${args.join(' ')}`;
    this.child = spawn(program, ['--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, FANMESH_API_KEY: apiKey } });
    this.end = () => this.child.kill('SIGKILL');
    process.on('exit', this.end);
    this.child.stdout.on('data', (bytes) => (this.#out += bytes));
    this.child.stderr.on('data', (bytes) => (this.#errors += bytes));
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve(signal ?? code)));
  }

  get running() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  gone(origin) {
    this.killed.add(origin);
    fs.appendFileSync(this.goneFile, `${origin}\n`);
  }

  // No more is published; what is owed may still arrive, then it judges.
  stopPublishing() {
    this.child.kill('SIGTERM');
  }

  async verdict(limitMs) {
    const code = await Promise.race([this.ended, sleep(limitMs)]);
    process.off('exit', this.end);
    if (code === undefined) {
      this.end();
      return { code: 'no end', errors: `it did not end within ${limitMs / 1000} s` };
    }
    let result = null;
    try {
      result = JSON.parse(this.#out);
    } catch {
      // Its errors say why there is no result.
    }
    return { code, result, errors: this.#errors.trim() };
  }

  series() {
    if (!fs.existsSync(this.seriesFile)) return [];
    return fs
      .readFileSync(this.seriesFile, 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line));
  }
}
