// The Debian package in a bare Debian 12: installed by apt, run, upgraded, removed, purged.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { Bare, bareImpossible } from '../lib/bare.mjs';
import { root, workFolder } from '../lib/node.mjs';

const skip = bareImpossible();
const rooms = '\n[topic "room:*"]\njoin = anyone\npush = anyone\nhistory_count = 10\n';
const install = 'apt-get -q -y install --no-install-recommends';
let bare, before, key;

after(() => bare?.remove());

function built() {
  const made = spawnSync('script/package', { cwd: root, encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  return path.join(root, made.stdout.trim());
}

// The same package under a higher version, as a next release would be.
function newer(deb) {
  const folder = path.join(workFolder(), 'deb');
  const to = path.join(workFolder(), 'fanmesh_newer.deb');
  for (const [program, ...args] of [
    ['dpkg-deb', '-R', deb, folder],
    ['sed', '-i', 's/^Version: .*/Version: 9.9.9/', path.join(folder, 'DEBIAN/control')],
    ['dpkg-deb', '--root-owner-group', '-b', folder, to],
  ]) {
    const done = spawnSync(program, args, { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
  }
  return to;
}

const modes = (...files) => bare.sh(`stat -c '%n %a %U:%G' ${files.join(' ')}`).trim().split('\n');
const users = () => bare.sh('cat /etc/passwd /etc/group');

test('it_installs_by_apt_with_everything_that_it_needs', { skip }, async () => {
  const deb = built();
  bare = await Bare.create();
  bare.sh('apt-get -q update');
  before = { files: bare.files(), users: users() };
  fs.copyFileSync(deb, bare.at('/srv/fanmesh.deb'));
  fs.copyFileSync(newer(deb), bare.at('/srv/newer.deb'));
  bare.sh(`${install} /srv/fanmesh.deb`);
  assert.equal(bare.sh("dpkg-query -W -f '${db:Status-Abbrev}' fanmesh").trim(), 'ii');
  assert.match(bare.sh('fanmesh version'), /^fanmesh \d+\.\d+\.\d+/);
  const lacking = bare.sh('ldd /usr/bin/fanmesh').split('\n').filter((line) => line.includes('not found'));
  assert.deepEqual(lacking, []);
  assert.equal(bare.sh('dpkg --verify fanmesh'), '');
});

test('no_secret_in_it_can_be_read_by_every_user', { skip }, () => {
  assert.deepEqual(modes('/etc/fanmesh', '/etc/fanmesh/fanmesh.ini', '/etc/fanmesh/api.key'), [
    '/etc/fanmesh 750 root:fanmesh',
    '/etc/fanmesh/fanmesh.ini 640 root:fanmesh',
    '/etc/fanmesh/api.key 640 root:fanmesh',
  ]);
  key = fs.readFileSync(bare.at('/etc/fanmesh/api.key'), 'utf8');
  assert.match(key, /^[0-9a-f]{64}\n$/);
  assert.notEqual(bare.run(['cat', '/etc/fanmesh/api.key'], { user: 'nobody:nogroup' }).status, 0);
  assert.match(users(), /^fanmesh:x:\d+:\d+:[^:]*:\/nonexistent:\/usr\/sbin\/nologin$/m);
});

test('without_systemd_nothing_is_started_and_the_unit_is_enabled_for_the_next_boot', { skip }, () => {
  const running = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/root`) === bare.path;
    } catch {
      return false;
    }
  });
  assert.deepEqual(running, []);
  assert.equal(fs.readlinkSync(bare.at('/etc/systemd/system/multi-user.target.wants/fanmesh.service')), '/lib/systemd/system/fanmesh.service');
});

test('its_settings_are_right_as_they_come_and_every_line_that_is_commented_out_shows_a_default_or_is_taken', { skip }, () => {
  const check = (file) => bare.sh(`fanmesh check-config --config ${file}`);
  const asItComes = check('/etc/fanmesh/fanmesh.ini');
  const text = fs.readFileSync(bare.at('/etc/fanmesh/fanmesh.ini'), 'utf8');
  const commented = [...text.matchAll(/^; (\w+ = .*|\[topic .*)$/gm)].map(([, line]) => line);
  assert.ok(commented.length > 12, text);
  // Examples of what has no default: the certificate is not there to be read.
  const examples = /^(tls_cert|tls_key|origins|secret_file|mesh_listen|mesh_ask_listen|join) /;
  const defaults = commented.filter((line) => !examples.test(line));
  fs.writeFileSync(bare.at('/srv/all.ini'), text.split('; ---- topics')[0] + defaults.join('\n') + '\n');
  const without = (config) => config.replace(/\n\[topic[^]*$/, '').replace(/ +; .*$/gm, '').replace(/^# config = .*$/m, '').trim();
  assert.equal(without(check('/srv/all.ini')), without(asItComes));
  fs.writeFileSync(bare.at('/srv/mesh.secret'), 'a secret of sixteen bytes and more\n', { mode: 0o600 });
  const cluster = [...text.split('; ---- topics')[0].matchAll(/^; (\w+ = .*)$/gm)].map(([, line]) => line).filter((line) => /^(origins|secret_file|mesh_listen|mesh_ask_listen|join) /.test(line)).join('\n');
  fs.writeFileSync(bare.at('/srv/cluster.ini'), `api_key_file = /etc/fanmesh/api.key\n${cluster.replace('/etc/fanmesh/mesh', '/srv/mesh')}\n`);
  assert.match(check('/srv/cluster.ini'), /join/);
});

test('a_node_runs_from_it_as_the_services_user_and_takes_and_gives_messages', { skip }, () => {
  fs.appendFileSync(bare.at('/etc/fanmesh/fanmesh.ini'), rooms);
  const script = `
    setpriv --reuid=fanmesh --regid=fanmesh --init-groups --inh-caps=-all --no-new-privs \
      fanmesh serve --config /etc/fanmesh/fanmesh.ini >/tmp/node.log 2>&1 & node=$!
    for i in $(seq 200); do fanmesh status --api-key-file /etc/fanmesh/api.key >/tmp/status 2>&1 && break; sleep 0.1; done
    for i in $(seq 200); do fanmesh status --check --api-key-file /etc/fanmesh/api.key >/tmp/status 2>&1 && break; sleep 0.1; done
    fanmesh publish --api-key-file /etc/fanmesh/api.key room:1 msg '{"text":"from the package"}'
    fanmesh subscribe --last 1 --count 1 room:1
    ! fanmesh publish room:1 msg 1 2>&1
    stat -c 'runs as %U' /proc/$node
    kill -TERM $node
    wait $node
    cat /tmp/node.log`;
  const printed = bare.sh(script, { lonely: true });
  const [id] = printed.split('\n');
  assert.match(id, /^\w+-1$/);
  assert.match(printed, new RegExp(`{"id":"${id}","event":"msg","payload":{"text":"from the package"}}`));
  assert.match(printed, /unauthorized/);
  assert.match(printed, /runs as fanmesh/);
  assert.match(printed, /event=stopped why="asked to"/);
});

test('an_upgrade_keeps_changed_settings_and_the_key', { skip }, () => {
  bare.sh(`${install} /srv/newer.deb`);
  assert.equal(bare.sh("dpkg-query -W -f '${Version}' fanmesh"), '9.9.9');
  assert.ok(fs.readFileSync(bare.at('/etc/fanmesh/fanmesh.ini'), 'utf8').endsWith(rooms));
  assert.equal(fs.readFileSync(bare.at('/etc/fanmesh/api.key'), 'utf8'), key);
  for (let i = 0; i < 2; i++) bare.sh('/var/lib/dpkg/info/fanmesh.postinst configure 9.9.9');
  assert.equal(fs.readFileSync(bare.at('/etc/fanmesh/api.key'), 'utf8'), key);
  assert.deepEqual(modes('/etc/fanmesh/fanmesh.ini', '/etc/fanmesh/api.key'), ['/etc/fanmesh/fanmesh.ini 640 root:fanmesh', '/etc/fanmesh/api.key 640 root:fanmesh']);
});

test('removing_it_keeps_settings_and_key_and_it_can_be_installed_again', { skip }, () => {
  bare.sh('apt-get -q -y remove fanmesh');
  assert.ok(!fs.existsSync(bare.at('/usr/bin/fanmesh')) && !fs.existsSync(bare.at('/lib/systemd/system/fanmesh.service')));
  assert.ok(fs.readFileSync(bare.at('/etc/fanmesh/fanmesh.ini'), 'utf8').endsWith(rooms));
  assert.equal(fs.readFileSync(bare.at('/etc/fanmesh/api.key'), 'utf8'), key);
  bare.sh(`${install} /srv/fanmesh.deb`);
  assert.ok(fs.readFileSync(bare.at('/etc/fanmesh/fanmesh.ini'), 'utf8').endsWith(rooms));
});

test('purging_it_leaves_nothing_behind', { skip }, () => {
  fs.writeFileSync(bare.at('/etc/fanmesh/mesh.secret'), 'one that the administrator made\n', { mode: 0o600 });
  bare.sh('apt-get -q -y purge fanmesh && apt-get -q -y autoremove --purge');
  bare.sh('rm /srv/*.deb /srv/*.ini /srv/mesh.secret');
  const had = new Set(before.files);
  // adduser's own copies of what it changed, as after any package with a user.
  const left = bare.files().filter((name) => !had.has(name) && !/^etc\/(passwd|group|shadow|gshadow|subuid|subgid)-$/.test(name));
  console.log(`left behind: ${left.length ? left.join(' ') : 'nothing'}`);
  assert.deepEqual(left, []);
  assert.equal(users(), before.users);
});
