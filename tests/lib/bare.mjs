// A bare Debian 12 in a folder, for tests of what is installed. Its base is made by mmdebstrap once and kept in .tools, with the packages that
// were fetched into it. Every command runs in namespaces of its own, so no mount and no process outlives it.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root, workFolder } from './node.mjs';

const store = path.join(root, '.tools/bare');
const base = path.join(store, 'bookworm.tar');
const archives = path.join(store, 'archives');

// Why it can't be had here; undefined where it can.
export function bareImpossible() {
  if (process.getuid() !== 0) return 'a chroot needs root';
  if (spawnSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true']).status !== 0) return 'namespaces are not allowed here';
  if (!fs.existsSync(base) && spawnSync('mmdebstrap', ['--version']).status !== 0) return 'mmdebstrap is missing: run script/bootstrap';
  return undefined;
}

// The machine's own source of Debian packages, so that it works where this machine does.
function mirror() {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    const found = fs.existsSync(file) && fs.readFileSync(file, 'utf8').match(/^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)/m);
    if (found) return found[1];
  }
  return 'http://deb.debian.org/debian';
}

function makeBase() {
  fs.mkdirSync(path.join(archives, 'partial'), { recursive: true });
  if (fs.existsSync(base)) return;
  const made = spawnSync('mmdebstrap', ['--variant=minbase', 'bookworm', `${base}.part`, mirror(), '--format=tar'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`mmdebstrap: ${made.stderr.slice(-2000)}`);
  fs.renameSync(`${base}.part`, base);
}

export class Bare {
  // A fresh one; removed when the test `t` ends.
  static async create(t) {
    makeBase();
    const bare = new this();
    bare.path = fs.mkdtempSync(path.join(workFolder(), 'bare-'));
    t?.after(() => bare.remove());
    const unpacked = spawnSync('tar', ['--extract', '--file', base, '--directory', bare.path, '--exclude=./dev/*'], { encoding: 'utf8' });
    if (unpacked.status !== 0) throw new Error(`tar: ${unpacked.stderr}`);
    fs.copyFileSync('/etc/resolv.conf', bare.at('/etc/resolv.conf'));
    fs.writeFileSync(bare.at('/etc/hosts'), '127.0.0.1 localhost\n');
    return bare;
  }

  at(inside) {
    return path.join(this.path, inside);
  }

  // What runs `program` inside. lonely: with a loopback interface of its own and no other. The store of packages is the one of all.
  command(program, { lonely = false, user, env = {} } = {}) {
    const more = Object.entries(env).map(([name, value]) => `${name}='${value}'`).join(' ');
    const lines = [
      `mount --bind ${archives} "$0/var/cache/apt/archives"`,
      'for f in null zero random urandom; do : >"$0/dev/$f"; mount --bind "/dev/$f" "$0/dev/$f"; done',
      'mount -t proc proc "$0/proc"',
      lonely ? 'ip link set lo up' : ':',
      `exec chroot ${user ? `--userspec=${user}` : ''} "$0" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive ${more} "$@"`,
    ];
    return ['unshare', '--mount', '--pid', '--fork', '--kill-child', ...(lonely ? ['--net'] : []), 'sh', '-ec', lines.join('\n'), this.path, ...program];
  }

  // Runs it to its end; { status, stdout, stderr }.
  run(program, options = {}) {
    const [first, ...rest] = this.command(program, options);
    return spawnSync(first, rest, { encoding: 'utf8', maxBuffer: 64 << 20, ...(options.input ? { input: options.input } : {}) });
  }

  // The same of a shell's words; throws unless it ends well. Gives what it printed.
  sh(script, options) {
    const { status, stdout, stderr } = this.run(['bash', '-euo', 'pipefail', '-c', script], options);
    if (status !== 0) throw new Error(`in the bare system: ${script}\nended with ${status}\n${stdout.slice(-3000)}${stderr.slice(-3000)}`);
    return stdout;
  }

  spawn(program, options) {
    const [first, ...rest] = this.command(program, options);
    return spawn(first, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  // All paths in it, but for what package managers keep for themselves, and what is gone at the next boot.
  files() {
    const found = spawnSync('find', ['.', '-xdev', '-printf', '%P\\n'], { cwd: this.path, encoding: 'utf8', maxBuffer: 64 << 20 });
    const own = /^(var\/lib\/(dpkg|apt)|var\/cache|var\/log|run|dev|proc|tmp)(\/|$)/;
    return found.stdout.split('\n').filter((name) => name && !own.test(name));
  }

  remove() {
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}
