// The options of script/chaos: one table, for reading and for --help.
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { kinds } from './faults.mjs';

const table = {
  minutes: { min: 0.5, max: 1440, value: 2, help: 'how long faults are made' },
  seed: { min: 0, max: 2 ** 32 - 1, help: 'of the schedule: the same one makes the same faults at the same times. Default: a random one, which is printed' },
  nodes: { min: 3, max: 9, value: 5, help: 'in the cluster' },
  clients: { min: 1, max: 10_000, value: 200, help: 'WebSocket clients, spread over nodes and topics' },
  topics: { min: 1, max: 1000, value: 50, help: 'that they join, one each' },
  rate: { min: 1, max: 20_000, value: 1000, help: 'messages published a second, over HTTP, to all nodes in turn' },
  spare: {
    min: 0, max: 9, value: 0,
    help: 'this node is never killed or restarted, so that the memory of one process can be watched all the time; most clients end up there. 0: none',
  },
  payload: { min: 64, max: 16_000, value: 200, help: 'bytes of each' },
  agree: { min: 1, max: 300, value: 10, help: 'seconds after the last heal within which all nodes must hold the same' },
  told: {
    min: 0, max: 100, value: 5,
    help: 'percent of the deliveries, at most, that may be lost and told: bursts beyond the memory of nodes, and kills, cost 1 to 3, missing repair 30; short runs vary more',
  },
};
const presets = ['release', 'asan', 'tsan'];

export const help = `usage: script/chaos [OPTION...]

Runs a cluster, each node in its own network namespace, publishes, makes faults for a while, and checks that nothing was lost in silence.

${Object.entries(table)
  .map(([name, { value, help: text }]) => `  --${`${name} N`.padEnd(14)} ${text}${value === undefined ? '' : ` (${value})`}`)
  .join('\n')}
  --faults A,B     kinds of faults, or none. Default: all, which are
                   ${Object.keys(kinds).join(', ').replace(/(.{60,90}?,) /g, '$1\n                   ')}
  --preset NAME    the build that the nodes are of: release, or asan or tsan, which find more and are slower: give a lower rate (release)
  --expect WHAT    a control: WHAT must come out, else the run fails. loss: something is missing and nobody was told; doubles
  --keep           of a good run keep all files, not only the report, the picture and the logs

Environment: FANMESH_BIN is the nodes' binary, if not that of --preset. FANMESH_MUTATION breaks one thing in it (then it is build/release/tests/fanmesh_mutated).
Report, picture and logs: build/chaos/SEED/. Exit codes: 0 good; 1 a promise was broken; 2 the run could not be made; 3 network namespaces
are not allowed here.
`;

const number = (name, text) => {
  const { min, max } = table[name];
  const value = Number(text);
  if (!(value >= min && value <= max)) throw new Error(`--${name} takes a number from ${min} to ${max}, not ${text}`);
  if (name !== 'minutes' && !Number.isInteger(value)) throw new Error(`--${name} takes a whole number`);
  return value;
};

export function read(args) {
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(Object.keys(table).map((name) => [name, { type: 'string' }])),
      faults: { type: 'string' },
      expect: { type: 'string' },
      preset: { type: 'string', default: 'release' },
      check: { type: 'boolean', default: false }, // for script/chaos: prints the preset, runs nothing
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = { ...values };
  for (const [name, { value }] of Object.entries(table)) options[name] = values[name] === undefined ? value : number(name, values[name]);
  options.seed ??= randomInt(2 ** 32);
  if (options.spare > options.nodes) throw new Error(`--spare: there is no node ${options.spare}, there are ${options.nodes}`);
  const all = Object.keys(kinds);
  options.faults = values.faults === 'none' ? [] : (values.faults?.split(',') ?? all);
  const unknown = options.faults.find((kind) => !all.includes(kind));
  if (unknown) throw new Error(`--faults: there is no ${unknown}; there are ${all.join(', ')}`);
  if (!presets.includes(values.preset)) throw new Error(`--preset takes ${presets.join(', ')}, not ${values.preset}`);
  if (values.preset !== 'release' && process.env.FANMESH_MUTATION) throw new Error('FANMESH_MUTATION needs --preset release');
  if (![undefined, 'loss', 'doubles'].includes(options.expect)) throw new Error('--expect takes loss or doubles');
  return options;
}

// How the same run is made again.
export function command(options) {
  const parts = ['script/chaos', `--minutes ${options.minutes}`, `--seed ${options.seed}`];
  for (const [name, { value }] of Object.entries(table)) if (value !== undefined && options[name] !== value && name !== 'minutes') parts.push(`--${name} ${options[name]}`);
  if (options.faults.length < Object.keys(kinds).length) parts.push(`--faults ${options.faults.join(',') || 'none'}`);
  if (options.expect) parts.push(`--expect ${options.expect}`);
  if (options.preset !== 'release') parts.push(`--preset ${options.preset}`);
  const variables = ['FANMESH_BIN', 'FANMESH_MUTATION'].filter((name) => process.env[name]).map((name) => `${name}=${process.env[name]} `);
  return variables.join('') + parts.join(' ');
}
