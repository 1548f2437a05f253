// The stock phoenix Presence on a channel, with what it was told and what came of it.
import { settled } from './phoenix.mjs';

// A channel that is joined with these params (a function: evaluated at every join) and a Presence on it.
//   who.list()   key -> metas, without the refs      who.events   ['join' or 'leave', key, how many metas of the key are there then]
//   who.states, who.diffs   the raw payloads
export function watch(client, socket, topic, params = {}) {
  const channel = socket.channel(topic, params);
  const presence = new client.Presence(channel);
  const who = { channel, presence, events: [], states: [], diffs: [], synced: 0 };
  channel.on('presence_state', (payload) => who.states.push(payload));
  channel.on('presence_diff', (payload) => who.diffs.push(payload));
  presence.onJoin((key, current, joined) => who.events.push(['join', key, (current?.metas.length ?? 0) + joined.metas.length]));
  presence.onLeave((key, current) => who.events.push(['leave', key, current.metas.length]));
  presence.onSync(() => who.synced++);
  who.list = () => listOf(presence.state);
  who.keys = () => Object.keys(presence.state).sort();
  who.gone = (key) => who.events.some(([what, of, left]) => what === 'leave' && of === key && left === 0);
  return who;
}

// The same, joined; throws unless the answer is ok.
export async function attend(client, socket, topic, params) {
  const who = watch(client, socket, topic, params);
  const answer = await settled(who.channel.join());
  if (answer.status !== 'ok') throw new Error(`join of ${topic}: ${JSON.stringify(answer)}`);
  who.response = answer.response;
  return who;
}

// Keys and metas in an order that does not depend on the node, refs left out.
export function listOf(state) {
  const bare = ({ phx_ref, phx_ref_prev, ...meta }) => meta; // eslint-disable-line no-unused-vars
  const sorted = (metas) => metas.map((meta) => JSON.stringify(bare(meta))).sort().map((text) => JSON.parse(text));
  return Object.fromEntries(Object.keys(state).sort().map((key) => [key, sorted(state[key].metas)]));
}

// What a node says over HTTP, all pages of it.
export async function membersOf(node, topic, limit = 1000) {
  const members = {};
  for (let after = ''; after !== undefined; ) {
    const { status, body, text } = await node.request(
      'GET',
      `/api/topics/${encodeURIComponent(topic)}/presence?limit=${limit}&after=${encodeURIComponent(after)}`,
    );
    if (status !== 200) throw new Error(`${status} ${text}`);
    Object.assign(members, body.members);
    after = body.next;
  }
  return listOf(members);
}
