// The table: one row a place, changed where it stands. Nothing moves when something changes.
import { Records, statuses } from "./records.js";
import { colourOf, nodeOfId } from "./nodes.js";
import { ms } from "./latency.js";

const flashMs = 1100;

const body = document.getElementById("rows");
const template = document.getElementById("row");
const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Board {
  records = new Records();
  #rows = new Map(); // place -> row

  // change(record) is called for the row's button.
  constructor(change) {
    this.change = change;
  }

  // tookMs: from the publisher to here; undefined for what is loaded or replayed.
  apply(record, id, tookMs) {
    if (!["new", "changed"].includes(this.records.apply(record, id))) return;
    this.#fill(this.#rows.get(record.place) ?? this.#add(record.place), record, id, tookMs);
    document.getElementById("empty").hidden = true;
  }

  // What is there to be loaded is loaded: no row holds a place any more.
  loaded() {
    for (const ghost of body.querySelectorAll(".ghost")) ghost.remove();
    document.getElementById("empty").hidden = this.records.count > 0;
  }

  // Ids whose node had no name yet.
  rename() {
    for (const row of this.#rows.values()) if (!row.dataset.node) this.#source(row);
  }

  #add(place) {
    body.querySelector(".ghost")?.remove(); // the page comes with rows that hold the place of the first orders
    const row = template.content.firstElementChild.cloneNode(true);
    row.dataset.place = place;
    row.querySelector("button").addEventListener("click", () => this.change(this.records.get(place)));
    const after = [...body.children].find((other) => other.className === "ghost" || Number(other.dataset.place) > place);
    body.insertBefore(row, after ?? null);
    this.#rows.set(place, row);
    return row;
  }

  #fill(row, record, id, tookMs) {
    const set = (selector, text) => (row.querySelector(selector).textContent = text);
    const step = statuses.indexOf(record.status);
    set(".order", record.order);
    set(".customer", record.customer);
    set(".item", `${record.quantity} × ${record.item}`);
    set(".total", money.format(record.total / 100));
    set(".status .word", record.status);
    set(".source code", id);
    set(".source .ms", tookMs === undefined ? "" : ms(Math.max(0, tookMs)));
    row.querySelector(".status").dataset.step = step;
    row.querySelector("button").setAttribute("aria-label", `Next step for ${record.order}`);
    row.dataset.id = id;
    row.dataset.rev = record.rev;
    this.#source(row);
    if (tookMs !== undefined) this.#flash(row);
  }

  #source(row) {
    const node = nodeOfId(row.dataset.id);
    row.querySelector(".source .node").textContent = node?.name ?? "";
    row.dataset.node = node?.name ?? "";
    row.classList.remove(...[...row.classList].filter((name) => name.startsWith("node-")));
    row.classList.add(`node-${colourOf(node)}`);
  }

  // Who wants less motion gets a mark at the edge that is there and then is not.
  #flash(row) {
    clearTimeout(row.flash);
    row.classList.add("fresh");
    row.flash = setTimeout(() => row.classList.remove("fresh"), flashMs);
    if (still.matches) return;
    const colour = "color-mix(in srgb, var(--node) 18%, transparent)";
    row.animate([{ backgroundColor: colour }, { backgroundColor: colour, offset: 0.15 }, { backgroundColor: "transparent" }], { duration: flashMs, easing: "ease-out" });
  }
}
