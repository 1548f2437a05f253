// A browser's XMLHttpRequest, which phoenix 1.7 needs for LongPoll and looks for when it is loaded: to be imported before everything else.
import { createRequire } from 'node:module';

globalThis.self = globalThis;
globalThis.XMLHttpRequest = createRequire(new URL('../clients/package.json', import.meta.url))('xhr2');
