// phoenix 1.7 over LongPoll. It knows no fetch: under Node it needs a browser's XMLHttpRequest, where it looks for it when it is loaded.
import { createRequire } from 'node:module';

globalThis.self = globalThis;
globalThis.XMLHttpRequest = createRequire(import.meta.url)('xhr2');
const { suite } = await import('../lib/longpoll_suite.mjs');

await suite('phoenix 1.7');
