// How long a node's threads went without looking at what else there is: the longest turn of each event loop in processor time, measured by a
// library that is preloaded into the node (../load/turns.c).
import fs from 'node:fs';
import path from 'node:path';
import { root } from './node.mjs';

const SLOT = 32;

// The environment of a node whose turns are measured into that file.
export const turnsEnv = (file) => ({ LD_PRELOAD: path.join(root, 'build/release/tests/turns.so'), TURNS_FILE: file });

// { hub: { longest, sum }, 'worker-0': ... } in ms, since the file was last read.
export function takeTurns(file) {
  const turns = {};
  const fd = fs.openSync(file, 'r+');
  const bytes = Buffer.alloc(SLOT * 32);
  const n = fs.readSync(fd, bytes, 0, bytes.length, 0);
  for (let at = 0; at + SLOT <= n; at += SLOT) {
    const name = bytes.toString('latin1', at, at + 16).replace(/\0.*$/s, '');
    if (!name) continue;
    turns[name] = { longest: Number(bytes.readBigUInt64LE(at + 16)) / 1e6, sum: Number(bytes.readBigUInt64LE(at + 24)) / 1e6 };
    fs.writeSync(fd, Buffer.alloc(8), 0, 8, at + 16);
  }
  fs.closeSync(fd);
  return turns;
}
