// A link that breaks at any moment: while it is dialled, in the handshake, while two links to one node become one, or long after. Both ends
// notice, and both have each other again after the heal. Which moments is drawn from a seed, which is printed.
// Variables: LINK_ROUNDS (30), LINK_SEED.
import { test } from 'node:test';
import { Random } from '../chaos/random.mjs';
import { untilNodes } from '../lib/cluster.mjs';
import { startMesh } from '../lib/links.mjs';
import { patience, sleep } from '../lib/wait.mjs';

const rounds = Number(process.env.LINK_ROUNDS ?? 30);
const seed = Number(process.env.LINK_SEED ?? Date.now() % 1e9);

const seen = async (node, other) => {
  const { state, linked } = (await node.viewOf(other)) ?? { linked: false };
  return { up: state === 'up' && linked, gone: state !== 'up' && state !== 'suspect' && !linked };
};

const both = (a, b, how) =>
  untilNodes(
    [a, b],
    `${a.name} and ${b.name} see each other ${how}`,
    async () => (await seen(a, b))[how] && (await seen(b, a))[how],
    15_000,
  );

test(`a_link_that_breaks_at_any_moment_is_noticed_by_both_ends_and_comes_back_${rounds}_times`, async (t) => {
  t.diagnostic(`LINK_SEED=${seed}`);
  const random = new Random(seed);
  const { cluster, nodes, links } = await startMesh(t, 3, { options: { down_ms: '1s', heartbeat_ms: '250ms' } });
  for (let round = 0; round < rounds; round++) {
    const first = random.between(0, 2);
    const [a, b] = [nodes[first], nodes[(first + random.between(1, 2)) % 3]];
    const link = links.between(a, b);
    // The first break is of a link that works. What follows breaks what comes up after the one before.
    for (let times = random.between(1, 4); times > 0; times--) {
      if (random.chance(0.7)) link.cut();
      else link.mute(random.chance(0.5) ? a : b);
      if (times === 1 || random.chance(0.3)) await both(a, b, 'gone');
      else await sleep(random.between(0, 300) * patience);
      link.heal();
      if (times > 1) await sleep(random.between(0, random.chance(0.5) ? 150 : 1500) * patience);
    }
    await both(a, b, 'up');
  }
  await cluster.linked();
});
