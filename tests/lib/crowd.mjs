// Tens of thousands of members of one topic, shown by several processes (members.mjs).
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const memberKey = (i) => `user${String(i).padStart(6, '0')}`;

// Members from..to of the topic at these nodes, one after the other. `shown` settles when all are in; stop() ends them all at once.
export function crowd(nodes, topic, from, to) {
  const what = { ports: nodes.map(({ port }) => port), topic, from, to };
  const child = fork(fileURLToPath(new URL('./members.mjs', import.meta.url)), [JSON.stringify(what)]);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const shown = new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('error', reject);
    ended.then((code) => reject(new Error(`members ${from} to ${to} ended with ${code}`)));
  });
  shown.catch(() => {});
  return { shown, stop: () => (child.kill('SIGKILL'), ended) };
}
