// One point: fresh nodes, what they do while nothing happens, then each run of fanmesh-load; or a run of mesh-bench.
import fs from 'node:fs';
import { sleep } from '../../tests/lib/wait.mjs';
import { metricsOf, nodes } from '../peers/fanmesh/peer.mjs';
import floor from '../peers/floor/peer.mjs';
import { built, load, output, Servers } from '../peers/host.mjs';

// CPU time of a process, or of its threads of one name, in s, to the nanosecond: what /proc/PID/stat says comes in hundredths of a second.
// Threads that ended are not in it; a node's don't.
function cpuOf(pid, thread) {
  const tasks = `/proc/${pid}/task`;
  const wanted = fs.readdirSync(tasks).filter((id) => !thread || fs.readFileSync(`${tasks}/${id}/comm`, 'utf8') === `${thread}\n`);
  return wanted.reduce((sum, id) => sum + Number(fs.readFileSync(`${tasks}/${id}/schedstat`, 'utf8').split(' ')[0]), 0) / 1e9;
}

const residentOf = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]) * 1024;

// What each node has spent and received so far.
async function stateOf(servers) {
  const metrics = await Promise.all(servers.launch.apis.map(metricsOf));
  return metrics.map((metric, i) => ({
    t: performance.now() / 1000,
    cpu: cpuOf(servers.children[i].pid),
    hub: cpuOf(servers.children[i].pid, 'hub'),
    envelopes: metric.fanmesh_mesh_envelopes_in_total ?? 0,
    bytes: metric.fanmesh_mesh_bytes_in_total ?? 0,
  }));
}

const spent = (before, after) => after.map((node, i) => Object.fromEntries(Object.keys(node).map((key) => [key, node[key] - before[i][key]])));
const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;

async function idleOf(servers, scale) {
  await sleep(scale.restMs);
  const before = await stateOf(servers);
  await sleep(scale.idleMs);
  const each = spent(before, await stateOf(servers));
  return {
    each: each.map(({ t, cpu, hub, envelopes, bytes }) => ({ cpu: cpu / t, hub: hub / t, envelopes: envelopes / t, bytes: bytes / t })),
    cpu: each.reduce((sum, { t, cpu }) => sum + cpu / t, 0), // of all of them, in cores
    envelopes: mean(each.map(({ t, envelopes }) => envelopes / t)),
    bytes: mean(each.map(({ t, bytes }) => bytes / t)),
    rss: mean(servers.children.map(({ pid }) => residentOf(pid))),
  };
}

// What a message cost the first node and one without clients, above what they do anyway.
function sharesOf(each, idle, messages) {
  const above = (i, key) => Math.max(0, each[i][key] - idle.each[i][key] * each[i].t) / messages;
  return {
    first: above(0, 'cpu') * 1e6,
    ...(each.length > 2 ? { bystander: above(1, 'cpu') * 1e6, hub: above(1, 'hub') * 1e6, envelopes: above(1, 'envelopes') } : {}),
  };
}

async function nodePoint(point, scale) {
  const found = {};
  for (const [name, options] of Object.entries(point.runs)) {
    const servers = await Servers.start(name === 'floor' ? floor.one : nodes(point.nodes, point.more));
    try {
      if (point.idle) found.idle = await idleOf(servers, scale);
      const before = point.idle && (await stateOf(servers));
      const run = await load({ ...options, ...servers.launch.load, pid: servers.children.map(({ pid }) => pid).join(',') }, scale.limitMs);
      if (!run.cost || !run.measured) throw new Error('nothing was delivered in the measured time: this machine is too busy, or a node ended');
      if (point.idle) found.shares = sharesOf(spent(before, await stateOf(servers)), found.idle, options.messages + options.warmup);
      found[name] = { ...run, seats: point.seats };
    } catch (error) {
      const said = servers.said();
      throw new Error(`${name}: ${error.message}${said ? `; the server's log: ${said}` : ''}`);
    } finally {
      await servers.stop();
    }
  }
  return found;
}

async function benchPoint(point, scale) {
  const options = Object.entries(point.bench).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { code, out } = await output(undefined, [built('load/mesh-bench'), '--json', ...options], scale.limitMs);
  const bench = JSON.parse(out);
  if (code !== 0 || !bench.good) throw new Error('mesh-bench: something was lost, doubled or out of order');
  return { bench };
}

export const measure = (point, scale) => (point.bench ? benchPoint(point, scale) : nodePoint(point, scale));
