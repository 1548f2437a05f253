// Compiled, never run: what an application may write, and what the types must refuse.
import { Fanmesh, FanmeshError, backoffMs } from "fanmesh";
import type { Gap, Joined, Message, Position, StateChange, Subscription, UserMessage } from "fanmesh";

interface Order { id: number; state: "open" | "paid" }

const mesh = new Fanmesh(["wss://a.example/socket", "/socket"], { params: () => ({ token: "x" }), ordered: true, maxMs: 5000 });
const off: () => void = mesh.on("state", ({ state, url, delayMs }: StateChange) => console.log(state.length, url, delayMs ?? 0));
mesh.on("error", (error) => console.log(error.message));
mesh.on("user", ({ topic, event, payload }: UserMessage) => console.log(topic.length, event.length, payload.unread));
off();

const kept: Position = JSON.parse("{}");
const orders: Subscription = mesh.subscribe<Order>("orders:eu", {
  from: kept,
  last: 5,
  params: { region: "eu" },
  load: async ({ reason, attempt }) => { console.log(reason.toUpperCase(), attempt + 1); },
  onMessage: ({ payload, id, replayed }: Message<Order>) => console.log(payload.id + 1, payload.state, id.length, replayed),
  onGap: ({ reason, origin, skipped }: Gap) => console.log(reason, origin?.length, skipped ?? 0),
  onJoined: ({ recovered, url }: Joined) => console.log(recovered, url),
  onRefused: (error) => console.log(error.reason),
});
mesh.subscribe("plain", { from: orders.cursor, onMessage: ({ payload }) => console.log(payload.anything) });

async function say(): Promise<string> {
  try {
    return (await orders.push("note", { text: "hi" }, { timeoutMs: 100 })).id;
  } catch (error) {
    if (error instanceof FanmeshError && error.sent) return error.reason;
    throw error;
  }
}
void say();
const ms: Promise<number> = mesh.ping();
const closed: Promise<void> = mesh.close();
const total: number = mesh.counters.doubles + backoffMs(1, { count: 3 });
console.log(ms, closed, total, orders.loading, orders.position.keys.length);

// @ts-expect-error: a number is no URL
new Fanmesh(7);
// @ts-expect-error: there is no such event
mesh.on("opened", () => {});
// @ts-expect-error: the payload has no such member
mesh.subscribe<Order>("orders:us", { onMessage: ({ payload }) => payload.price });
// @ts-expect-error: an option that there is not
mesh.subscribe("orders:us", { onMesage: () => {} });
// @ts-expect-error: read only
mesh.url = "ws://b/socket";
// @ts-expect-error: a push names its event
orders.push();
// @ts-expect-error: no member of a position
orders.position.ids;
