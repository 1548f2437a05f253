// One thread of a node that stands still while the others go on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { mutated } from './node.mjs';

const freezer = path.join(path.dirname(mutated), 'freeze');

// Stops one thread of a node, until the function that it returns is called. Undefined where the system does not let it.
export async function freeze(node, thread) {
  const child = spawn(freezer, [String(node.pid), thread], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const said = await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), exited]);
  if (said === 3) return undefined;
  assert.equal(String(said), 'frozen\n');
  return async () => {
    child.stdin.end();
    assert.equal(await exited, 0);
  };
}
