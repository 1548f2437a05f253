// Which nodes there are: nodes.json beside this page, { "nodes": [{ "name", "url" }] }. Without it the page knows the node that served it.
export const topic = "room:orders";
export const event = "order";

async function load() {
  try {
    const response = await fetch("nodes.json");
    if (response.ok) return (await response.json()).nodes;
  } catch { /* a page without the file */ }
  return [];
}

const own = location.origin;
const isOwn = (url) => new URL(url).port === location.port;

// The page's own node under the address that the browser already uses, so that localhost and 127.0.0.1 are the same to it.
const listed = (await load()).map(({ name, url }, index) => ({ name, index, url: isOwn(url) ? own : url.replace(/\/$/, "") }));

export const nodes = listed.some(({ url }) => url === own) ? listed : [{ name: location.host, url: own, index: listed.length }, ...listed];
export const ownNode = nodes.find(({ url }) => url === own);

export const socketOf = (node) => `${node.url.replace(/^http/, "ws")}/socket`;
export const nodeOfSocket = (socketUrl) => nodes.find((node) => socketOf(node) === socketUrl);
