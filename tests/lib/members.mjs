// A process of its own that shows many members of a topic, each on a connection of its own, and tells its parent when all are in:
//   node members.mjs '{"ports":[...],"topic":"crowd:1","from":0,"to":5000}'
// It goes when its parent does, or says so.
import net from 'node:net';
import { memberKey } from './crowd.mjs';
import { frame, upgradeRequest } from './raw.mjs';

const { ports, topic, from, to } = JSON.parse(process.argv[2]);

function enter(i) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(ports[i % ports.length], '127.0.0.1');
    let text = '';
    let upgraded = false;
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (!upgraded && text.includes('\r\n\r\n')) {
        if (!text.startsWith('HTTP/1.1 101')) return reject(new Error(text));
        upgraded = true;
        const params = { presence: { key: memberKey(i), meta: { mood: 'well', n: i }, watch: false } };
        socket.write(frame(1, JSON.stringify(['1', '1', topic, 'phx_join', params])));
      }
      if (!text.includes('"status":')) return;
      if (!text.includes('"status":"ok"')) return reject(new Error(text));
      socket.removeAllListeners('data');
      socket.resume();
      resolve();
    });
    socket.once('connect', () => socket.write(upgradeRequest()));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`member ${i} was disconnected`)));
  });
}

process.on('disconnect', () => process.exit(0));
let next = from;
await Promise.all(Array.from({ length: 40 }, async () => {
  while (next < to) await enter(next++);
}));
process.send({ shown: to - from });
