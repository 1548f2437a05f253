// Supabase's stock clients, as an application would use them under Node, with promises around their callbacks: realtime-js, and supabase-js, with
// which it comes.
import { createRequire } from 'node:module';
import { WebSocket } from './phoenix.mjs';
import { patience, within } from './wait.mjs';

const require = createRequire(new URL('../clients/package.json', import.meta.url));
const current = require('@supabase/realtime-js');

// When a join is not answered before the next is due, which is by the same option, 2.15 takes its own channel for another of the topic, leaves it,
// and is never back.
const options = { reconnectAfterMs: () => 2000 * patience };

// 2.119 speaks version 2 of the protocol, in binary frames, unless it is told otherwise; 2.15 version 1, in text.
export const clients = {
  'realtime-js 2.119': { library: current, binary: true },
  'realtime-js 2.119 with vsn 1': { library: current, options: { vsn: '1.0.0' } },
  'realtime-js 2.15': { library: require('realtime-js-2.15'), options },
  'supabase-js 2.119': { createClient: require('@supabase/supabase-js').createClient, binary: true },
  'supabase-js 2.57': { createClient: require('supabase-js-2.57').createClient, options },
};

export const realtimeRules = {
  'realtime:*': { join: 'anyone', push: 'anyone', presence: 'anyone', history_count: 10000, history_bytes: '16MiB', history_age: '10m' },
  'realtime:quiet*': { join: 'anyone', push: 'nobody' },
  'realtime:closed*': { join: 'nobody', push: 'nobody' },
  'realtime:bare*': { join: 'anyone', push: 'anyone' },
};

const open = new Set();
const channels = new Set();

// 2.15 takes its handlers away before it closes a connection that is still being made. In a browser nobody hears of that failure then; `ws`
// would end the process with it.
class Transport extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on('error', () => {});
  }
}

// What createClient of supabase-js gives, for the URL that an application has: it finds its realtime server below /realtime/v1.
function supabase(url, createClient, { accessToken, key = 'anon', ...options }) {
  const { host } = new URL(url);
  const client = createClient(`http://${host}`, key, { accessToken, realtime: options, auth: { persistSession: false, autoRefreshToken: false } });
  client.setAuth = (token) => client.realtime.setAuth(token);
  client.disconnect = () => client.realtime.disconnect();
  return client;
}

// A client of this node, or of this URL (that of a socket without its /websocket). It connects when its first channel subscribes.
export function realtime(node, { library, createClient, options } = clients['realtime-js 2.119'], more = {}) {
  const url = typeof node === 'string' ? node : node.ws;
  const all = { transport: Transport, timeout: 10_000, reconnectAfterMs: () => 50, ...options, ...more };
  const client = createClient ? supabase(url, createClient, all) : new library.RealtimeClient(url, { params: { apikey: 'anon' }, ...all });
  open.add(client);
  return client;
}

// Subscribes; throws unless it says SUBSCRIBED. What arrives is kept: channel.got (broadcasts), channel.systems, channel.states. prepare: what else it
// does with the channel before; channel.greet: ... and whenever it has subscribed, the first time and after each reconnect.
export async function subscribe(client, name, config = {}, prepare = () => {}) {
  const channel = client.channel(name, { config });
  channels.add(channel);
  Object.assign(channel, { got: [], systems: [], states: [] });
  channel.on('broadcast', { event: '*' }, (message) => channel.got.push(message));
  channel.on('system', {}, (message) => channel.systems.push(message));
  prepare(channel);
  const state = await within(15_000, `the state of ${name}`, new Promise((resolve) => {
    channel.subscribe((status, error) => {
      channel.states.push(status);
      if (status === 'SUBSCRIBED') channel.greet?.();
      channel.error = error;
      resolve(status);
    });
  }));
  if (state !== 'SUBSCRIBED') throw new Error(`${name}: ${state} ${channel.error?.message}`);
  return channel;
}

export const broadcast = (channel, event, payload, more) => channel.send({ type: 'broadcast', event, payload }, more);
export const idsOf = (channel) => channel.got.map(({ meta }) => meta.id);

// For `after` of a test file, before its nodes are started: hooks run in their order, and those behind one that fails not at all, but a client
// that lost its node keeps the process alive. A test with nodes of its own has it before them, too.
export async function disconnectClients() {
  const ending = [...open];
  open.clear();
  await Promise.allSettled(
    ending.map(async (client) => {
      await client.removeAllChannels();
      await client.disconnect();
    }),
  );
  // A channel of 2.15 whose join was under way when it was removed tries again, and for ever, once that has timed out: the process would not end.
  for (const { rejoinTimer } of channels) if (rejoinTimer) rejoinTimer.callback = () => {};
  channels.clear();
}
