// Network namespaces for a run: one for each node, one for the clients and the runner, one that holds two bridges. Nothing of the machine's
// own network is touched, and no packet leaves it.
//
//   mesh network     10.77.1.i   node i's interface `mesh`; faults happen here
//   client network   10.77.2.i   node i's interface `cli`; clients and API; never cut
//
// Names hold the runner's process id, so that what a run that was killed left behind is recognised by the next.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

const PREFIX = 'fmchaos';
export const meshIp = (i) => `10.77.1.${i}`;
export const clientIp = (i) => `10.77.2.${i}`;
const clientsIp = '10.77.2.250';

export const spaces = (pid) => ({
  bridges: `${PREFIX}-${pid}-bridges`,
  clients: `${PREFIX}-${pid}-clients`,
  node: (i) => `${PREFIX}-${pid}-node${i}`,
});

function ip(...args) {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  if (error) throw new Error(`ip: ${error.message}`);
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`);
}

const all = () => {
  const { status, stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').map((line) => line.split(' ')[0]).filter((name) => name.startsWith(`${PREFIX}-`)) : [];
};

// Why no run is possible here, in a sentence; undefined if it is.
export function missing() {
  if (process.getuid() !== 0) return 'it makes network namespaces, which needs root: run it as root';
  if (spawnSync('ip', ['-V']).error) return 'the program `ip` is not there: install iproute2 (script/bootstrap does)';
  const name = `${PREFIX}-${process.pid}-try`;
  try {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'two');
    ip('-n', name, 'link', 'add', 'three', 'type', 'bridge');
    ip('-n', name, 'route', 'add', 'blackhole', '10.77.1.1/32');
    ip('netns', 'exec', name, 'true');
  } catch (error) {
    return `network namespaces are not allowed here (in a container they need the capabilities NET_ADMIN and SYS_ADMIN): ${error.message}`;
  } finally {
    spawnSync('ip', ['netns', 'del', name]);
  }
  return undefined;
}

// Small socket buffers: what a link can't take must fill the mesh's own queues, not megabytes of the kernel's.
const sysctls = [
  ['tcp_wmem', '4096 16384 65536'],
  ['tcp_rmem', '4096 32768 65536'],
];

function join(pid, space, port, bridge, device, address) {
  const { bridges } = spaces(pid);
  ip('-n', bridges, 'link', 'add', port, 'type', 'veth', 'peer', 'name', device, 'netns', space);
  ip('-n', bridges, 'link', 'set', port, 'master', bridge, 'up');
  ip('-n', space, 'address', 'add', `${address}/24`, 'dev', device);
  ip('-n', space, 'link', 'set', device, 'up');
}

export function make(pid, n) {
  const { bridges, clients, node } = spaces(pid);
  for (const space of [bridges, clients, ...Array.from({ length: n }, (_, i) => node(i + 1))]) {
    ip('netns', 'add', space);
    ip('-n', space, 'link', 'set', 'lo', 'up');
  }
  for (const bridge of ['mesh', 'cli']) {
    ip('-n', bridges, 'link', 'add', bridge, 'type', 'bridge');
    ip('-n', bridges, 'link', 'set', bridge, 'up');
  }
  join(pid, clients, 'cli250', 'cli', 'cli', clientsIp);
  for (let i = 1; i <= n; i++) {
    join(pid, node(i), `mesh${i}`, 'mesh', 'mesh', meshIp(i));
    join(pid, node(i), `cli${i}`, 'cli', 'cli', clientIp(i));
    for (const [name, value] of sysctls) ip('netns', 'exec', node(i), 'sh', '-c', `echo ${value} >/proc/sys/net/ipv4/${name}`);
  }
}

// Ends what still runs in the namespaces of that run, and removes them.
export function remove(pid) {
  for (const space of all().filter((name) => name.startsWith(`${PREFIX}-${pid}-`))) {
    const { stdout } = spawnSync('ip', ['netns', 'pids', space], { encoding: 'utf8' });
    for (const left of stdout.split('\n').filter(Boolean)) spawnSync('kill', ['-KILL', left]);
    spawnSync('ip', ['netns', 'del', space]);
  }
}

// What runs left behind that could not clean up.
export function sweep() {
  const pids = new Set(all().map((name) => name.split('-')[1]));
  for (const pid of pids) if (!fs.existsSync(`/proc/${pid}`)) remove(pid);
}

// Who can't reach whom at this moment. Faults overlap: what two of them cut is whole again when both are over.
export class Cuts {
  #pid;
  #n;
  #oneWay = new Map(); // "from>to" -> how many faults hold it
  #down = new Map(); // "node side" -> how many

  constructor(pid, n) {
    this.#pid = pid;
    this.#n = n;
  }

  // Packets of node `from` to node `to` are dropped, not those that come back.
  oneWay(from, to, on) {
    this.#hold(this.#oneWay, `${from}>${to}`, on, () =>
      ip('-n', spaces(this.#pid).node(from), 'route', on ? 'add' : 'del', 'blackhole', `${meshIp(to)}/32`),
    );
  }

  both(a, b, on) {
    this.oneWay(a, b, on);
    this.oneWay(b, a, on);
  }

  // side 'cable': the bridge's end of the node's link is down, so the node sees silence; 'interface': the node's own end.
  link(node, side, on) {
    const { bridges, node: space } = spaces(this.#pid);
    const where = side === 'cable' ? [bridges, `mesh${node}`] : [space(node), 'mesh'];
    this.#hold(this.#down, `${node} ${side}`, on, () => ip('-n', where[0], 'link', 'set', where[1], on ? 'down' : 'up'));
  }

  #hold(map, what, on, change) {
    const before = map.get(what) ?? 0;
    const after = before + (on ? 1 : -1);
    map.set(what, after);
    if (before === 0 || after === 0) change();
  }

  get whole() {
    return [...this.#oneWay.values(), ...this.#down.values()].every((held) => held === 0);
  }
}
