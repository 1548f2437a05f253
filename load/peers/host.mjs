// The processes of one measurement: servers on core 0, fanmesh-load on core 1. They are fresh for each, so that none inherits the memory of
// another's; nothing that is started here outlives the program.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../tests/lib/ports.mjs';
import { until } from '../../tests/lib/wait.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const built = (program) => path.join(root, 'build/release', program);

const unpacked = path.join(root, '.tools/peers/root');
const programs = ['usr/sbin', 'usr/bin'].map((folder) => path.join(unpacked, folder)).concat(process.env.PATH.split(':'), '/usr/sbin');
const libraries = ['usr/lib', `usr/lib/${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch]}-linux-gnu`].map((folder) => path.join(unpacked, folder));

// Where a program of Debian or of npm is; one that isn't there is an Error, for which its peer is left out.
export function find(name, where = programs) {
  const found = where.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
  if (!found) throw new Error(`there is no ${name}`);
  return found;
}
export const library = (name) => find(name, [...libraries, '/usr/lib']);
export const npm = (name) => find(name, [path.join(root, 'load/peers/node_modules')]);
export const npmVersion = (name) => JSON.parse(fs.readFileSync(npm(`${name}/package.json`), 'utf8')).version;

const environment = { ...process.env, LD_LIBRARY_PATH: [...libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'), NODE_ENV: 'production' };
for (const name of Object.keys(environment)) if (name.startsWith('FANMESH_')) delete environment[name];

// What a program says of its version, by the first match of `pattern` in it.
export function versionOf(command, pattern) {
  const [program, ...args] = command;
  const { stdout, stderr, error } = spawnSync(program, args, { env: environment, encoding: 'utf8' });
  const match = `${stdout}${stderr}`.match(pattern);
  if (!match) throw new Error(`${program} does not start: ${error?.message ?? stderr.trim()}`);
  return match[1];
}

export const pinned = os.cpus().length > 1 && spawnSync('taskset', ['-c', '0,1', 'true']).status === 0;

const alive = new Set();
const folders = new Set();
const kill = (pid) => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
};
process.on('exit', () => {
  for (const child of alive) familyOf(child.pid).forEach(kill);
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

function start(core, command, stdio) {
  const [program, ...args] = pinned && core !== undefined ? ['taskset', '-c', String(core), ...command] : command;
  const child = spawn(program, args, { stdio, env: environment });
  child.ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  alive.add(child);
  child.ended.then(() => alive.delete(child));
  return child;
}

// A process and its descendants: nginx has workers.
function familyOf(pid) {
  const parents = new Map();
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]));
    } catch {
      // It ended meanwhile.
    }
  }
  const family = [pid];
  for (const one of family) for (const [child, parent] of parents) if (parent === one) family.push(child);
  return family;
}

const answers = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

// What a peer has for its servers of one measurement: a folder and free ports.
export class Place {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-compare-'));

  constructor() {
    folders.add(this.folder);
  }

  remove() {
    fs.rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }

  async ports(n) {
    const ports = [];
    while (ports.length < n) ports.push(await freePort());
    return ports;
  }

  // A file of the peer's folder with values for its @words@; returns where it is.
  fill(peer, file, values, name = file) {
    const text = fs.readFileSync(path.join(root, 'load/peers', peer, file), 'utf8');
    const target = path.join(this.folder, name);
    fs.writeFileSync(target, text.replace(/@(\w+)@/g, (_, word) => values[word]));
    return target;
  }
}

// Servers that run. launch: { processes: [{ command, port }], ready? }; see peers.mjs.
export class Servers {
  static async start(make) {
    const place = new Place();
    const servers = Object.assign(new Servers(), { place });
    try {
      servers.launch = await make(place);
      servers.log = fs.openSync(path.join(place.folder, 'servers.log'), 'a');
      servers.children = [];
      for (const { command, port } of servers.launch.processes) {
        const child = start(0, command, ['ignore', servers.log, servers.log]);
        servers.children.push(child);
        await until(`${path.basename(command[0])} listens on port ${port}`, () => servers.ended() || answers(port));
      }
      if (servers.launch.ready) await until('the servers are linked', () => servers.ended() || servers.launch.ready(), 15_000, 50);
      if (servers.ended()) throw new Error('a server ended');
      return servers;
    } catch (error) {
      const said = servers.said();
      await servers.stop();
      throw new Error(`${error.message}${said ? `; its log: ${said}` : ''}`);
    }
  }

  ended() {
    return this.children.some((child) => !alive.has(child));
  }

  said() {
    const file = path.join(this.place.folder, 'servers.log');
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n') : '';
  }

  get pids() {
    return this.children.flatMap(({ pid }) => familyOf(pid));
  }

  async stop() {
    const children = this.children ?? [];
    children.flatMap(({ pid }) => (pid ? familyOf(pid) : [])).forEach(kill);
    await Promise.all(children.map(({ ended }) => ended));
    if (this.log) fs.closeSync(this.log);
    this.place.remove();
  }
}

// Runs a program beside the servers: { code, out, errors }. core: undefined for all of them.
export async function output(core, command, limitMs) {
  const child = start(core, command, ['ignore', 'pipe', 'pipe']);
  let out = '';
  let errors = '';
  child.stdout.on('data', (bytes) => (out += bytes));
  child.stderr.on('data', (bytes) => (errors += bytes));
  const timer = setTimeout(() => kill(child.pid), limitMs);
  const code = await child.ended;
  clearTimeout(timer);
  if (code === 'SIGKILL') throw new Error(`not done within ${limitMs / 1000} s`);
  if (!out) throw new Error(errors.trim().replace(/^[\w-]+: /, '') || `${path.basename(command[0])} ended with ${code}`);
  return { code, out, errors };
}

// Runs fanmesh-load: its JSON; an Error that says why there is none, or what was lost.
export async function load(options, limitMs) {
  const args = Object.entries(options).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, String(value)]));
  const { code, out, errors } = await output(1, [built('load/fanmesh-load'), '--json', ...args], limitMs);
  const result = JSON.parse(out);
  const wrong = Object.entries(result.tally).filter(([name, n]) => n > 0 && /missing|doubled$|disordered|strange|malformed|declared/.test(name));
  if (code !== 0) throw new Error(wrong.map(([name, n]) => `${n} ${name}`).join(', ') || errors.trim() || `fanmesh-load ended with ${code}`);
  return result;
}
