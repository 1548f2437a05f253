// The nodes: who answers, how many pages each has, and which of them this page is on. Asked of each node itself.
import { ask } from "./api.js";
import { nodes, topic } from "./config.js";
import { log } from "./log.js";

const everyMs = 2000;
const timeoutMs = 2500; // a node that takes longer does not answer
const colours = 6;

const names = new Map(); // origin -> node. An origin is one run of a node; those of earlier runs stay known
const cards = new Map();
const states = new Map(); // node -> what it last was: "ready", "no answer", ...
const template = document.getElementById("node");

export const nodeOfId = (id) => names.get(id.slice(0, id.lastIndexOf("-")));
export const colourOf = (node) => (node ? node.index % colours : "none");
export const isUp = (node) => states.get(node) !== "no answer";

export function showNodes(moveTo) {
  const list = document.getElementById("nodes");
  const select = document.getElementById("publish-on");
  for (const node of nodes) {
    const card = template.content.firstElementChild.cloneNode(true);
    card.classList.add(`node-${colourOf(node)}`);
    card.dataset.node = node.name;
    card.querySelector(".name").textContent = node.name;
    card.querySelector(".address").textContent = new URL(node.url).host;
    card.querySelector("button").addEventListener("click", () => moveTo(node));
    card.querySelector("button").setAttribute("aria-label", `Move here, to ${node.name}`);
    list.append(card);
    cards.set(node, card);
    if (nodes.length > 1) select.append(new Option(`on ${node.name}`, node.name));
    else select.replaceChildren(new Option(`on ${node.name}`, node.name));
  }
}

export function showHere(here) {
  for (const [node, card] of cards) {
    card.classList.toggle("is-here", node === here);
    card.querySelector("button").disabled = node === here;
  }
}

async function look(node) {
  const options = { signal: AbortSignal.timeout(timeoutMs) };
  const [ready, { self, peers }, { topics }] = await Promise.all([
    ask(node, "/readyz", options).then(() => "ready", (error) => error.code ?? Promise.reject(error)),
    ask(node, "/api/cluster", options),
    ask(node, `/api/topics?prefix=${encodeURIComponent(topic)}&limit=1`, options),
  ]);
  names.set(self.incarnation, node);
  for (const peer of peers) {
    const known = nodes.find(({ name }) => name === peer.name);
    if (known && !names.has(peer.incarnation)) names.set(peer.incarnation, known);
  }
  const pages = topics[0]?.topic === topic ? topics[0].subscribers : 0;
  return { state: ready.replaceAll("_", " "), pages };
}

function show(node, { state, pages }) {
  const card = cards.get(node);
  const was = states.get(node);
  states.set(node, state);
  card.dataset.state = state === "ready" ? "ready" : state === "no answer" ? "down" : state === "no API" ? "unknown" : "unready";
  card.querySelector(".state .word").textContent = state;
  card.querySelector(".pages b").textContent = pages ?? "–";
  card.querySelector(".pages span").textContent = pages === 1 ? "page" : "pages";
  if (was === undefined || was === state) return;
  if (state === "ready") log("good", `${node.name} is ready again`);
  else log("warn", state === "no answer" ? `${node.name} does not answer any more` : `${node.name} is ${state}`);
}

// Without dev_api nobody may ask from a page: 401, 403 or 404 are answers, too.
async function lookAt(node) {
  try {
    show(node, await look(node));
  } catch (error) {
    show(node, { state: error.status ? "no API" : "no answer" });
  }
}

// Calls `then` after each round, since ids may have got names.
export function watchNodes(then) {
  let timer;
  const round = async () => {
    clearTimeout(timer);
    await Promise.all(nodes.map(lookAt));
    then();
    clearTimeout(timer);
    timer = setTimeout(round, everyMs);
  };
  round();
  return round; // to ask at once
}
