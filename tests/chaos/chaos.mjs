// script/chaos: makes the network, runs the run (run.mjs) in the clients' namespace, and removes the network, whatever happened.
import { spawn } from 'node:child_process';
import { make, missing, remove, spaces, sweep } from './network.mjs';
import { help, read } from './options.mjs';

let options;
try {
  options = read(process.argv.slice(2));
} catch (error) {
  console.error(`script/chaos: ${error.message}`);
  process.exit(2);
}
if (options.help) {
  console.log(help);
  process.exit(0);
}
if (options.check) {
  console.log(options.preset);
  process.exit(0);
}
const why = missing();
if (why) {
  console.error(`script/chaos can't run here: ${why}`);
  process.exit(3);
}

// Ctrl-C reaches the run as well, which ends what it started; here it must only not prevent the cleaning up.
let child;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child?.kill(signal));
process.on('exit', () => remove(process.pid));

sweep();
make(process.pid, options.nodes);
const run = new URL('run.mjs', import.meta.url).pathname;
child = spawn('ip', ['netns', 'exec', spaces(process.pid).clients, process.execPath, run, String(process.pid), JSON.stringify(options)], {
  stdio: 'inherit',
});
child.on('exit', (code, signal) => process.exit(signal ? 2 : code));
