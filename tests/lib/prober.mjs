// A process of its own with a client that pushes to itself on a topic of its own until its parent tells it to say how long that took:
//   node prober.mjs PORT
// Round trips in ms, ascending.
import { frame, rawSocket } from './raw.mjs';
import { sleep } from './wait.mjs';

const raw = await rawSocket({ port: Number(process.argv[2]) });
raw.socket.removeAllListeners('data');
let heard;
raw.socket.on('data', () => heard?.());
const say = (message) => new Promise((resolve) => ((heard = resolve), raw.send(frame(1, JSON.stringify(message)))));
await say(['1', '1', 'room:probe', 'phx_join', {}]);
let times = [];
process.on('message', () => {
  process.send(times.sort((a, b) => a - b));
  times = [];
});
process.on('disconnect', () => process.exit(0));
process.send('ready');
for (;;) {
  const began = performance.now();
  await say(['1', '2', 'room:probe', 'msg', {}]); // the reply, or the broadcast: both come from the hub
  times.push(performance.now() - began);
  await sleep(3);
}
