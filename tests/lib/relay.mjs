// A TCP relay on loopback that stands between two parties: a balancer before nodes, a link of the mesh that can be cut or recorded.
import net from 'node:net';
import { freePort } from './ports.mjs';

export class Relay {
  #server;
  #pairs = new Set();
  #cut = false;

  // target: () => port, asked at every connection. tap(chunk, toTarget): sees what passes; may be left out.
  static async open(t, target, tap) {
    const relay = new Relay();
    relay.port = await freePort();
    relay.#server = net.createServer((from) => relay.#join(from, target, tap));
    await new Promise((resolve) => relay.#server.listen(relay.port, '127.0.0.1', resolve));
    t.after(() => relay.close());
    return relay;
  }

  #join(from, target, tap) {
    if (this.#cut) return from.destroy();
    const to = net.connect(target(), '127.0.0.1');
    const pair = { from, to };
    this.#pairs.add(pair);
    from.on('data', (chunk) => tap?.(chunk, true));
    to.on('data', (chunk) => tap?.(chunk, false));
    from.pipe(to);
    to.pipe(from);
    for (const end of [from, to]) {
      end.on('error', () => {});
      end.on('close', () => {
        this.#pairs.delete(pair);
        from.destroy();
        to.destroy();
      });
    }
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  // Ends what is open; until heal() nothing new is let through.
  cut() {
    this.#cut = true;
    this.dropAll();
  }

  heal() {
    this.#cut = false;
  }

  dropAll() {
    for (const { from, to } of this.#pairs) {
      from.destroy();
      to.destroy();
    }
  }

  close() {
    this.dropAll();
    return new Promise((resolve) => this.#server.close(resolve));
  }
}
