// A backend that does not give up, and whether its subscribers got everything.
import assert from 'node:assert/strict';
import { clean, compare } from './ledger.mjs';
import { sleep, until } from './wait.mjs';

// Publishes one message after another, numbered, each with a key, to whichever node takes it; what fails is tried again at the next node
// with its key, and every third one is, though it did not fail. Ends with stop(), which returns how many there were.
export function publishing(nodes, topic) {
  let n = 0;
  let stopped = false;
  const publish = async (message, at) => {
    for (let tries = 0; ; tries++) {
      const node = nodes[(at + tries) % nodes.length];
      const answer = node.running ? await node.request('POST', '/api/publish', {
        body: message, headers: { 'content-type': 'application/json' }, limitMs: 3000,
      }).catch(() => undefined) : undefined;
      if (answer?.status === 200) return;
      if (tries > 300) throw new Error(`nobody takes ${JSON.stringify(message)}: ${answer?.text}`);
      await sleep(20);
    }
  };
  const running = (async () => {
    while (!stopped) {
      const message = { topic, event: 'msg', payload: { n }, key: `${topic} ${n}`, ack: 'replicated', timeout_ms: 2000 };
      await publish(message, n);
      if (n % 3 === 0) await publish(message, n + 1);
      n++;
    }
  })();
  return {
    get n() { return n; },
    stop: async () => {
      stopped = true;
      await running;
      return n;
    },
  };
}

// got(): { id, n } of the messages so far. Waits until all n have come; then each was given once, and those of each origin in order.
export async function checkComplete(got, n, who) {
  const all = await until(`${who} has all ${n}`, async () => {
    const list = await got();
    return new Set(list.map((message) => message.n)).size >= n && list;
  }, 20_000);
  assert.deepEqual(all.map((message) => message.n).toSorted((a, b) => a - b), Array.from({ length: n }, (_, i) => i), who);
  const ids = all.map(({ id }) => id);
  assert.deepEqual(compare(ids, ids), clean, who);
}
