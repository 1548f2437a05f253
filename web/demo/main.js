// Puts the parts of the page together.
import { history, publish } from "./api.js";
import { Board } from "./board.js";
import { now } from "./clock.js";
import { nodes } from "./config.js";
import { Latency, ms } from "./latency.js";
import { Ledger } from "./ledger.js";
import { Line } from "./line.js";
import { code, log } from "./log.js";
import { colourOf, isUp, nodeOfId, showHere, showNodes, watchNodes } from "./nodes.js";
import { firstOf, isRecord, nextOf } from "./records.js";

const $ = (id) => document.getElementById(id);
const latency = new Latency();
const ledger = new Ledger();
const awaited = new Map(); // id of what this page published -> what to do when it comes
const seen = []; // the newest ids that came, for an answer that is slower than the message

// ---- the connection ----

let was; // the state before
let lostAt;

// The page is on a node when it has joined there: a connection alone gives it nothing.
function onState(change) {
  if (change.state !== "open") showState(change);
}

function showState({ state, node, code: closeCode, reason }) {
  document.body.dataset.state = state;
  document.body.dataset.node = node.name;
  $("link").className = `link node-${colourOf(node)}`;
  $("link-text").textContent = {
    connecting: `Connecting to ${node.name} …`,
    open: `On ${node.name}`,
    reconnecting: `Connection lost, trying ${node.name} …`,
    closed: "Offline",
  }[state];
  $("link-address").textContent = state === "closed" ? "" : new URL(node.url).host;
  showHere(state === "open" ? node : undefined);
  $("drop").disabled = state !== "open";
  $("move").disabled = state !== "open" || nodes.length === 1;
  $("offline").textContent = state === "closed" ? "Come back" : "Stay offline";
  $("board-hint").textContent =
    state === "open" || was === undefined
      ? "changed on one node, shown by all"
      : `not connected, as of ${new Date(lostAt ?? Date.now()).toLocaleTimeString([], { hour12: false })}`;
  if (was === "open" && state !== "open") {
    lostAt = Date.now();
    if (state === "closed") log("plain", "Offline, as you wished. The others go on.");
    else if (state === "connecting" || reason === "asked to") log("plain", `Moving to ${node.name}`);
    else log("warn", `Connection lost${reason ? `: ${reason}` : ""}${closeCode ? ` (${closeCode})` : ""}`);
    lookNow();
  }
  was = state;
}

function onJoined({ recovered, replayed, first }) {
  showState({ state: "open", node: line.node });
  const away = lostAt ? ` after ${ms(Date.now() - lostAt)}` : "";
  lostAt = undefined;
  if (first && !away) log("plain", `Connected to ${line.node.name}`);
  else if (recovered) log("good", `Recovered on ${line.node.name}${away}: ${replayed ? `${replayed} missed, all replayed` : "nothing was missed"}`);
  lookNow();
}

function onGap({ reason, origin, from, to, skipped }) {
  ledger.gap(performance.now());
  if (reason === "unrecovered") return log("bad", "Gap: away for longer than the history reaches. The board is loaded anew.");
  const node = origin && nodeOfId(`${origin}-0`);
  const range = origin ? ` of ${node?.name ?? origin}, ${from} to ${to ?? "an unknown end"}` : "";
  return log("bad", `Gap (${reason}): messages${range} can’t be had${skipped ? `, ${skipped} left out` : ""}.`);
}

function onMessage({ payload, id, replayed }) {
  if (!isRecord(payload)) return;
  const took = replayed || typeof payload.sent !== "number" ? undefined : now() - payload.sent;
  board.apply(payload, id, took);
  if (took !== undefined) latency.add(took, nodeOfId(id));
  if (Number.isSafeInteger(payload.feed?.n)) ledger.note(payload.feed.run, payload.feed.n, performance.now());
  seen.push(id);
  if (seen.length > 100) seen.shift();
  awaited.get(id)?.();
  showTally();
}

// The board as it is, from whichever node answers first of all that are tried.
async function load() {
  const candidates = [line.node, ...nodes.filter((node) => node !== line.node && isUp(node))];
  for (const node of candidates) {
    try {
      for (const { payload, id } of await history(node)) if (isRecord(payload)) board.apply(payload, id);
      break;
    } catch { /* the next; without any the board fills as the orders change */ }
  }
  board.loaded();
}

// ---- what this page publishes ----

function candidates() {
  const chosen = nodes.find(({ name }) => name === $("publish-on").value);
  if (chosen) return [chosen];
  const others = nodes.filter((node) => node !== line.node && isUp(node));
  others.sort(() => Math.random() - 0.5);
  return [...others, line.node];
}

async function send(record) {
  const started = performance.now();
  try {
    const { node, id } = await publish({ ...record, sent: now() }, candidates());
    const more = log("plain", `${record.order} is ${record.status}: published on ${node.name} as `, code(id));
    const arrived = () => {
      awaited.delete(id);
      more(`, here on ${line.node.name} within ${ms(performance.now() - started)}`);
    };
    if (seen.includes(id)) arrived();
    else awaited.set(id, arrived);
  } catch (error) {
    log("bad", `${record.order} was not published. ${error.message}`);
  }
}

function changeOne() {
  const [oldest] = board.records.all;
  return send(oldest ? nextOf(oldest) : firstOf(1));
}

function showTally() {
  const counts = ledger.count(performance.now());
  for (const [name, value] of Object.entries(counts)) {
    $(name).textContent = value.toLocaleString("en");
    $(name).parentElement.dataset.some = value > 0;
  }
}

// ---- all together ----

const board = new Board((record) => send(nextOf(record)));
showNodes((node) => line.moveTo(node));
const lookNow = watchNodes(() => board.rename());
const line = new Line({ onState, onJoined, onGap, onMessage, load });

$("publish").addEventListener("click", changeOne);
$("drop").addEventListener("click", () => line.drop());
$("move").addEventListener("click", () => line.move());
$("offline").addEventListener("click", () => (line.state === "closed" ? line.comeBack() : line.goOffline()));
setInterval(showTally, 1000);
