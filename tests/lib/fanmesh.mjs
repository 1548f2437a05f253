// The npm package fanmesh as an application gets it: packed, and unpacked beside one of the versions of phoenix that it goes with.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, workFolder } from './node.mjs';
import { WebSocket } from './phoenix.mjs';
import { until } from './wait.mjs';

const source = path.join(root, 'web/client');

export function run(program, args, options) {
  const ran = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (ran.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.error ?? ran.stdout + ran.stderr}`);
  return ran.stdout;
}

// What `npm pack` makes: its description, with the file's path in `file`.
export function pack(folder = workFolder()) {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: source }));
  return { ...packed, file: path.join(folder, packed.filename) };
}

// A folder whose node_modules hold fanmesh and phoenix ("phoenix" or "phoenix-1.7").
export function install(phoenix = 'phoenix', folder = workFolder()) {
  const modules = path.join(folder, 'node_modules');
  fs.mkdirSync(path.join(modules, 'fanmesh'), { recursive: true });
  run('tar', ['-xzf', pack(folder).file, '-C', path.join(modules, 'fanmesh'), '--strip-components=1']);
  fs.cpSync(path.join(root, 'tests/clients/node_modules', phoenix), path.join(modules, 'phoenix'), { recursive: true });
  return folder;
}

export const versions = {};
for (const [name, phoenix] of [['phoenix 1.8', 'phoenix'], ['phoenix 1.7', 'phoenix-1.7']]) {
  versions[name] = await import(pathToFileURL(path.join(install(phoenix), 'node_modules/fanmesh/src/index.js')).href);
}

// A client with short waits, closed when the test `t` ends. client.states: what it said of itself.
export function openMesh(t, urls, { version = 'phoenix 1.8', ...options } = {}) {
  const mesh = new versions[version].Fanmesh(urls, { WebSocket, ordered: true, baseMs: 100, maxMs: 1000, ...options });
  mesh.states = [];
  mesh.errors = [];
  mesh.on('state', (change) => mesh.states.push(change));
  mesh.on('error', (error) => mesh.errors.push(error));
  t.after(() => mesh.close());
  return mesh;
}

// A subscription that keeps everything in the order of its callbacks: sub.log of { joined }, { gap }, { load }, { message }; sub.got are the
// messages.
export async function follow(mesh, topic, options = {}) {
  const log = [];
  const sub = mesh.subscribe(topic, {
    onMessage: (message) => log.push({ message }),
    onGap: (gap) => log.push({ gap }),
    onJoined: (joined) => log.push({ joined }),
    ...options,
  });
  Object.defineProperties(sub, {
    log: { value: log },
    got: { get: () => log.flatMap(({ message }) => message ?? []) },
    gaps: { get: () => log.flatMap(({ gap }) => gap ?? []) },
    joins: { get: () => log.flatMap(({ joined }) => joined ?? []) },
  });
  await until(`${topic} is joined`, () => sub.state === 'joined');
  return sub;
}
