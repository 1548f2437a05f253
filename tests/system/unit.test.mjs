// The systemd unit, read by systemd's own tools, and held against what it says of the node.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { binary, Node, root, workFolder } from '../lib/node.mjs';

const unit = fs.readFileSync(path.join(root, 'deploy/fanmesh.service'), 'utf8');
const skip = spawnSync('systemd-analyze', ['--version']).status !== 0 && 'systemd-analyze is not installed';

// The unit as it is, but for the program, which the package puts elsewhere, and its user, who comes with the package.
function here() {
  const file = path.join(workFolder(), 'fanmesh.service');
  fs.writeFileSync(file, unit.replace('/usr/bin/fanmesh', binary));
  return file;
}

test('systemd_understands_every_line_of_the_unit', { skip }, () => {
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', here()], { encoding: 'utf8' });
  assert.equal(stderr.replace(/^.*unavailable.*\n/gm, ''), '');
  assert.equal(status, 0);
});

test('systemd_rates_its_exposure_below_2', { skip }, () => {
  const { stdout, stderr } = spawnSync('systemd-analyze', ['security', '--offline=yes', '--threshold=20', here()], { encoding: 'utf8' });
  const level = stdout.match(/exposure level for fanmesh\.service: (\d+\.\d+)/);
  assert.ok(level && Number(level[1]) < 2, stdout.slice(-500) + stderr);
});

test('its_time_to_stop_is_longer_than_a_node_needs_to_ask_for_more', () => {
  assert.match(unit, /^Type=notify$/m);
  assert.ok(Number(unit.match(/^TimeoutStopSec=(\d+)s$/m)[1]) >= 14, 'drain_ms and leave_ms at their defaults, and a second');
});

// A real mount of the kind that ProcSubset=pid and ProtectProc=invisible make, and no capabilities.
test('a_node_starts_and_counts_with_what_the_unit_leaves_it_of_proc_and_of_rights', async (t) => {
  const mount = 'mount -t proc -o hidepid=invisible,subset=pid proc /proc';
  const can = spawnSync('unshare', ['--mount', 'sh', '-c', mount], { encoding: 'utf8' });
  if (can.status !== 0) return t.skip(`such a /proc can't be mounted here: ${can.stderr}`);
  const node = await Node.create({ options: { workers: 0 } });
  const rights = 'setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all';
  node.under = ['unshare', '--mount', 'sh', '-c', `${mount} && exec ${rights} "$0" "$@"`];
  t.after(() => node.stop());
  await node.start();
  assert.ok((await node.metric('process_open_fds')) > 5);
  assert.ok((await node.metric('process_resident_memory_bytes')) > 1e6);
  assert.equal(await node.metric('fanmesh_probe_ok'), os.availableParallelism() + 1); // its workers, and the listener
});
