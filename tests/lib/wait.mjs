// Waiting for things to become true, always with a limit and a sentence for the case that they don't.

// Nodes built with sanitizers are slower: the limits here grow by this.
export const patience = /tsan/.test(process.env.FANMESH_BIN) ? 5 : /asan/.test(process.env.FANMESH_BIN) ? 3 : 1;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Calls `check` (which may be async) until it gives something truthy, and returns that. What it throws counts as "not yet".
export async function until(what, check, limitMs = 20_000, everyMs = 20) {
  limitMs *= patience;
  const end = Date.now() + limitMs;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`waited ${limitMs} ms in vain: ${what}${last ? ` (${last.message})` : ''}`);
    }
    await sleep(everyMs);
  }
}

// A promise with a limit of its own.
export function within(limitMs, what, promise) {
  let timer;
  limitMs *= patience;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${limitMs} ms: ${what}`)), limitMs);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}
