// Which failures are run again, by what node's own test runner says of them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';

const script = path.resolve(import.meta.dirname, '../../script/again.mjs');

// What script/again.mjs says of a file whose tests throw these messages: null, or its two outputs.
function judged(t, folder, ...messages) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-again-'));
  t.after(() => fs.rmSync(home, { recursive: true }));
  const file = path.join(home, 'tests', folder, 'x.test.mjs');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `import test from 'node:test';
    test('good', () => {});
    ${JSON.stringify(messages)}.forEach((message, i) => test('bad_' + i, () => { throw new Error(message); }));`);
  // A runner within a runner would report to it instead of printing.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_TEST_CONTEXT'));
  const { stdout } = spawnSync(process.execPath, ['--test', '--test-reporter=tap', file], { env, encoding: 'utf8' });
  const { status, stdout: files, stderr } = spawnSync(process.execPath, [script], { input: stdout, encoding: 'utf8' });
  assert.ok(status === 0 || files === '', 'a file is named where none may be run again');
  return status === 0 ? { files: files.trim().split('\n').map((name) => path.relative(home, name)), said: stderr } : null;
}

test('a_few_wrong_results_are_run_again_and_named_with_what_they_said', (t) => {
  assert.deepEqual(judged(t, 'system', '1 !== 2\nand more', 'waited 20000 ms in vain: x'), {
    files: ['tests/system/x.test.mjs'],
    said: '# again bad_0: 1 !== 2\n# again bad_1: waited 20000 ms in vain: x\n',
  });
});

test('nothing_is_run_again_where_nothing_or_much_failed', (t) => {
  assert.equal(judged(t, 'system'), null);
  assert.equal(judged(t, 'system', '1', '2', '3', '4'), null);
});

test('a_node_that_died_and_a_sanitizer_that_spoke_get_no_second_chance', (t) => {
  for (const message of [
    'node1 crashed by SIGSEGV\nits log', 'node1 ended with 1 after TERM', 'node1 did not end within 20000 ms after TERM',
    '1 !== 2\nERROR: AddressSanitizer: heap-use-after-free', 'a\nWARNING: ThreadSanitizer: data race', 'x.c:1:2: runtime error: overflow',
  ]) assert.equal(judged(t, 'system', 'waited 5 ms in vain: x', message), null, message);
});

test('of_large_loads_only_waits_are_run_again', (t) => {
  assert.equal(judged(t, 'load', '1 missing'), null);
  assert.ok(judged(t, 'load', 'waited 5 ms in vain: x'));
});
