// The orders: what a record is and which of two is the newer. The page and the feeder share this file.
//
// A message is the whole state of one place on the board: { place, rev, order, customer, item, quantity, total, status, sent, ... }. Messages
// of different nodes come in no particular order, so a record says its own version: the larger `rev` wins, and between two that were made at
// the same time the larger id, so that all pages end with the same.

const placesMax = 500; // whoever may push could name any number of places

export const statuses = ["placed", "paid", "packed", "shipped", "delivered"];

const customers = ["Nordwind Ltd", "Alba & Sons", "Kestrel Labs", "Café Lumen", "Ostara", "Papier & Co", "Harbour 9", "Quill Studio", "Terra Verde", "Blue Anvil"];
// Name, price in cents.
const items = [
  ["Oak desk", 48900], ["Task lamp", 7900], ["Espresso beans", 1450], ["Notebook, dotted", 890], ["Wool blanket", 6400],
  ["Bike pump", 2750], ["Enamel mug", 1200], ["Linen apron", 3900], ["Field jacket", 15900], ["Chef’s knife", 8400],
];

const pick = (list) => list[Math.floor(Math.random() * list.length)];

export const isRecord = (record) =>
  record !== null && typeof record === "object" && Number.isSafeInteger(record.place) && Number.isSafeInteger(record.rev) && statuses.includes(record.status);

export class Records {
  #places = new Map(); // place -> { record, id }

  // "new": a place that was empty; "changed"; "old": what is here is newer; "full": there are no more places.
  apply(record, id) {
    const held = this.#places.get(record.place);
    if (held && (record.rev < held.record.rev || (record.rev === held.record.rev && id <= held.id))) return "old";
    if (!held && this.#places.size >= placesMax) return "full";
    this.#places.delete(record.place); // the map is in the order of the last change
    this.#places.set(record.place, { record, id });
    return held ? "changed" : "new";
  }

  get(place) {
    return this.#places.get(place)?.record;
  }
  get count() {
    return this.#places.size;
  }
  // Changed longest ago first.
  get all() {
    return [...this.#places.values()].map(({ record }) => record);
  }
}

export function firstOf(place, rev = 1) {
  const [item, price] = pick(items);
  const quantity = 1 + Math.floor(Math.random() * 9);
  const order = `F-${1000 + Math.floor(Math.random() * 9000)}`;
  return { place, rev, order, customer: pick(customers), item, quantity, total: quantity * price, status: statuses[0] };
}

// One step on; a new order takes the place of one that is delivered.
export function nextOf(record) {
  const step = statuses.indexOf(record.status);
  if (step === statuses.length - 1) return firstOf(record.place, record.rev + 1);
  const { place, rev, order, customer, item, quantity, total } = record;
  return { place, rev: rev + 1, order, customer, item, quantity, total, status: statuses[step + 1] };
}
