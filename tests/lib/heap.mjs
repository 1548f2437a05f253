// What a node's process has on its heap, counted by a library that is preloaded into it (heap_count.c).
import fs from 'node:fs';
import path from 'node:path';
import { binary, root } from './node.mjs';

const library = path.join(root, 'build/release/tests/heap_count.so');
// A sanitizer's runtime counts the heap itself and can't have another before it.
const countable = !fs.existsSync(binary) || !fs.readFileSync(binary).includes('__asan_init') && !fs.readFileSync(binary).includes('__tsan_init');

// The libraries to preload and the environment of a node whose heap is counted into that file.
export const heapLibraries = countable ? [library] : [];
export const heapEnv = (file) => ({ HEAP_COUNT_FILE: file });

// { bytes, pieces } in use; undefined while there is nothing.
export function readHeap(file) {
  let counts;
  try {
    counts = new BigInt64Array(new Uint8Array(fs.readFileSync(file)).buffer);
  } catch {
    return undefined;
  }
  if (counts.length === 0) return undefined;
  let [bytes, pieces] = [0n, 0n];
  for (let at = 0; at < counts.length; at += 8) [bytes, pieces] = [bytes + counts[at], pieces + counts[at + 1]];
  return { bytes: Number(bytes), pieces: Number(pieces) };
}

// Resident bytes of a process; undefined when it is gone.
export function resident(pid) {
  try {
    return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]) * 1024;
  } catch {
    return undefined;
  }
}
