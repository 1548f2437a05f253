// A channel on a WebSocket of the npm package ws, for what phoenix.js does not show: extensions, pings, bytes, close codes.
import { createRequire } from 'node:module';
import { until } from './wait.mjs';

const WebSocket = createRequire(new URL('../clients/', import.meta.url))('ws');

// Joined to the topic, and appended to `opened`, to be ended by the caller. `got` are the payloads of its broadcasts, `say` pushes; options are
// those of ws.
export async function wsChannel(opened, url, topic, options) {
  const socket = new WebSocket(url, options);
  opened.push(socket);
  socket.got = [];
  socket.replies = 0;
  socket.on('message', (data) => {
    const [, , , event, payload] = JSON.parse(data);
    if (event === 'phx_reply') socket.replies++;
    else socket.got.push(payload);
  });
  socket.say = (event, payload) => socket.send(JSON.stringify(['1', '1', topic, event, payload]));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.say('phx_join', {});
  await until('it has joined', () => socket.replies === 1);
  return socket;
}
