// libfanmesh as a program's author meets it: installed by `cmake --install` into a folder of its own, found by pkg-config, built against by cc.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { binary, Node, root, workFolder } from './node.mjs';

const run = (command, args, options = {}) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });

export class Installed {
  folder = workFolder();
  prefix = path.join(this.folder, 'installed');

  constructor() {
    run('cmake', ['--install', path.dirname(binary), '--prefix', this.prefix]);
    this.lib = path.dirname(run('find', [this.prefix, '-name', 'libfanmesh.so']).trim());
    this.include = path.join(this.prefix, 'include');
  }

  get headers() {
    return fs.readdirSync(path.join(this.include, 'fanmesh')).map((name) => `fanmesh/${name}`);
  }

  run(command, args, options) {
    return run(command, args, { cwd: this.folder, ...options });
  }

  pkgConfig(...args) {
    const env = { ...process.env, PKG_CONFIG_PATH: path.join(this.lib, 'pkgconfig') };
    return this.run('pkg-config', [...args, 'fanmesh'], { env }).trim().split(/\s+/);
  }

  // Builds one C file against the shared library, or the static one; returns the program.
  build(source, { linked = 'shared' } = {}) {
    const program = path.join(this.folder, `${path.basename(source, '.c')}-${linked}`);
    const libs =
      linked === 'shared'
        ? [...this.pkgConfig('--libs'), `-Wl,-rpath,${this.lib}`]
        : this.pkgConfig('--libs', '--static').map((word) => (word === '-lfanmesh' ? '-l:libfanmesh.a' : word));
    const warnings = ['-std=c11', '-D_DEFAULT_SOURCE', '-g', '-Wall', '-Wextra', '-Wpedantic', '-Werror'];
    this.run('cc', [...warnings, path.resolve(root, source), '-o', program, ...this.pkgConfig('--cflags'), ...libs]);
    return program;
  }
}

// A node inside such a program, which takes its options as NAME=VALUE and has its topics in itself.
export class EmbeddedNode extends Node {
  words = []; // before the options

  command() {
    const options = Object.entries(this.options).filter(([, value]) => value !== undefined && value !== null);
    return [this.program, ...this.words, ...options.map(([name, value]) => `${name}=${value}`)];
  }

  static async of(program, config = {}) {
    const node = await this.create({ name: path.basename(program), ...config });
    node.program = program;
    return node;
  }
}
