// A WebSocket server that speaks Phoenix Channels as a test tells it to: for what a real node does only when something is wrong with it.
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import { root } from './node.mjs';

const { WebSocketServer } = createRequire(`${root}/tests/clients/`)('ws');

// on: { open(socket), heartbeat(socket, frame), join(socket, frame), push(socket, frame) }; a frame is { joinRef, ref, topic, event, payload }.
// Heartbeats and leaves are answered unless told otherwise. scripted.joins: the frames of all joins. What is sent by `socket.say` is
// [joinRef, ref, topic, event, payload].
export async function scriptedNode(t, on = {}) {
  const server = http.createServer();
  const scripted = { on, joins: [], sockets: new Set() };
  new WebSocketServer({ server }).on('connection', (socket) => {
    scripted.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => scripted.sockets.delete(socket));
    socket.say = (...frame) => socket.send(JSON.stringify(frame));
    socket.reply = ({ joinRef, ref, topic }, status, response) => socket.say(joinRef, ref, topic, 'phx_reply', { status, response });
    socket.on('message', (data) => {
      const [joinRef, ref, topic, event, payload] = JSON.parse(data);
      const frame = { joinRef, ref, topic, event, payload };
      if (event === 'phx_join') scripted.joins.push(frame);
      if (event === 'heartbeat') (scripted.on.heartbeat ?? ((s, f) => s.reply(f, 'ok', {})))(socket, frame);
      else if (event === 'phx_leave') socket.reply(frame, 'ok', {});
      else scripted.on[event === 'phx_join' ? 'join' : 'push']?.(socket, frame);
    });
    scripted.on.open?.(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scripted.url = `ws://127.0.0.1:${server.address().port}/socket`;
  t.after(() => {
    for (const socket of scripted.sockets) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  return scripted;
}

// An `on.join` that accepts, with this cursor, and then says these frames' [ref, event, payload].
export const accept = (cursor = [], { recovered = true, replay = [] } = {}) => (socket, frame) => {
  socket.reply(frame, 'ok', { cursor, recovered, replayed: replay.length });
  for (const [ref, event, payload] of replay) socket.say(frame.joinRef, ref, frame.topic, event, payload);
};
