// The stock npm clients, as an application would use them under Node, with promises around their callbacks.
import { createRequire } from 'node:module';
import { Cursor } from './ledger.mjs';
import { within } from './wait.mjs';

const require = createRequire(new URL('../clients/package.json', import.meta.url));
export const WebSocket = require('ws');
export const versions = { 'phoenix 1.8': require('phoenix'), 'phoenix 1.7': require('phoenix-1.7') };

const sockets = new Set();

// A connected Socket. vsn 1 needs the serializer of that version, which the package no longer has: it is JSON of the whole message.
export async function connect(node, { client = versions['phoenix 1.8'], vsn = 2, ...options } = {}) {
  const url = typeof node === 'string' ? node : node.ws;
  const v1 = {
    vsn: '1.0.0',
    encode: (message, callback) => callback(JSON.stringify(message)),
    decode: (text, callback) => callback(JSON.parse(text)),
  };
  const socket = new client.Socket(url, {
    transport: WebSocket,
    timeout: 10_000,
    reconnectAfterMs: () => 50,
    rejoinAfterMs: () => 50,
    ...(vsn === 1 ? v1 : {}),
    ...options,
  });
  sockets.add(socket);
  await within(10_000, `connect to ${url}`, new Promise((resolve) => {
    socket.onOpen(resolve);
    socket.connect();
  }));
  return socket;
}

// What a join or push came to: { status: 'ok' | 'error' | 'timeout', response }.
export function settled(push) {
  return new Promise((resolve) => {
    push
      .receive('ok', (response) => resolve({ status: 'ok', response }))
      .receive('error', (response) => resolve({ status: 'error', response }))
      .receive('timeout', () => resolve({ status: 'timeout' }));
  });
}

// Joins; throws unless the answer is ok. Everything of `events` that arrives is kept in channel.got as { event, payload, id }.
export async function join(socket, topic, params = {}, events = ['msg']) {
  const channel = socket.channel(topic, params);
  listen(channel, events);
  const answer = await settled(channel.join());
  if (answer.status !== 'ok') throw new Error(`join of ${topic}: ${JSON.stringify(answer)}`);
  channel.joinResponse = answer.response;
  return channel;
}

export function listen(channel, events) {
  channel.got = [];
  for (const event of events) channel.on(event, (payload, id) => channel.got.push({ event, payload, id }));
}

// Joins with a cursor that follows everything that arrives, as an application would. channel.replies: what each join was answered. prepare: what
// else it does with its channel before it joins.
export async function follow(socket, topic, cursor = new Cursor(), events = ['msg'], prepare = () => {}) {
  const channel = socket.channel(topic, cursor.params);
  prepare(channel);
  channel.replies = [];
  channel.cursor = cursor;
  listen(channel, [...events, 'gap']);
  for (const event of events) channel.on(event, (_, id) => cursor.advance(id));
  channel.on('gap', (gap) => gap.cursor.forEach((id) => cursor.advance(id)));
  const joining = channel.join();
  joining.receive('ok', (response) => {
    channel.replies.push(response);
    cursor.replace(response.cursor);
  });
  const answer = await settled(joining);
  if (answer.status !== 'ok') throw new Error(`join of ${topic}: ${JSON.stringify(answer)}`);
  return channel;
}

// Of the messages that arrived, in their order.
export const idsOf = (channel) => channel.got.filter(({ event }) => event !== 'gap').map(({ id }) => id);
export const gapsOf = (channel) => channel.got.filter(({ event }) => event === 'gap').map(({ payload }) => payload);

export const push = (channel, event, payload) => settled(channel.push(event, payload));
export const leave = (channel) => settled(channel.leave());

export function disconnect(socket) {
  sockets.delete(socket);
  for (const channel of socket.channels) channel.rejoinTimer.reset(); // a refused join's goes on without the socket, and keeps node running
  return new Promise((resolve) => socket.disconnect(resolve));
}

// Of everything this process connected. For the end of a test file: an open socket keeps node running.
export async function disconnectAll() {
  await Promise.all([...sockets].map(disconnect));
}
