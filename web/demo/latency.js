// How long messages took from the publisher to this page: percentiles, and a plot of the last minute.
import { colourOf } from "./nodes.js";

const spanS = 60;
const skewMs = 3;
const heightPx = 112;
const insetPx = { top: 10, right: 4, bottom: 6, left: 34 };
const scales = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

export const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
export const ms = (value) => (value < 10 ? `${value.toFixed(1)} ms` : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);

const make = (name, attributes = {}, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};

export class Latency {
  #samples = []; // { at (s), ms, node, dot }
  #svg = document.getElementById("plot");
  #grid = this.#svg.appendChild(make("g", { class: "grid" }));
  #dots = this.#svg.appendChild(make("g"));
  #width = 0;
  #top;
  #shift = 0;

  constructor() {
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.#layOut();
    }).observe(this.#svg);
    setInterval(() => this.#tick(), matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 200);
  }

  // tookMs is below zero where the publisher's clock is ahead of this device's.
  add(tookMs, node) {
    this.#samples.push({ at: performance.now() / 1000, ms: tookMs, node, dot: undefined });
  }

  // Another device's clock may differ by more than a message takes. Then only differences mean something: the fastest counts as zero.
  get #skew() {
    const least = Math.min(...this.#samples.map((sample) => sample.ms));
    return least < -skewMs ? least : 0;
  }

  #tick() {
    const now = performance.now() / 1000;
    while (this.#samples.length && this.#samples[0].at < now - spanS) this.#samples.shift().dot?.remove();
    const skew = this.#skew;
    const sorted = this.#samples.map((sample) => Math.max(0, sample.ms - skew)).sort((a, b) => a - b);
    const [p50, p99] = sorted.length ? [percentile(sorted, 0.5), percentile(sorted, 0.99)].map(ms) : ["–", "–"];
    document.getElementById("p50").textContent = p50;
    document.getElementById("p99").textContent = p99;
    this.#svg.setAttribute("aria-label", sorted.length ? `Latency of the last minute: median ${p50}, 99th percentile ${p99}` : "No message yet");
    if (skew) {
      document.getElementById("latency-note").textContent = "The clocks differ: shown is what each took beyond the fastest.";
    }
    const top = scales.find((scale) => scale >= (sorted.at(-1) ?? 0)) ?? scales.at(-1);
    if (top !== this.#top) {
      this.#top = top;
      this.#layOut();
    }
    for (const sample of this.#samples) {
      if (sample.dot) continue;
      sample.dot = make("circle", { r: 2.6, class: `node-${colourOf(sample.node)}` });
      this.#place(sample, skew);
      this.#dots.append(sample.dot);
    }
    this.#shift = now;
    this.#dots.setAttribute("transform", `translate(${this.#width - insetPx.right - now * this.#perS} 0)`);
  }

  get #perS() {
    return Math.max(0, this.#width - insetPx.left - insetPx.right) / spanS;
  }

  #y(value) {
    return heightPx - insetPx.bottom - (Math.min(value, this.#top) / this.#top) * (heightPx - insetPx.top - insetPx.bottom);
  }

  #place(sample, skew = 0) {
    sample.dot.setAttribute("cx", (sample.at * this.#perS).toFixed(1));
    sample.dot.setAttribute("cy", this.#y(Math.max(0, sample.ms - skew)).toFixed(1));
  }

  #layOut() {
    if (!this.#top) return;
    this.#grid.replaceChildren(
      ...[0, this.#top / 2, this.#top].flatMap((value) => [
        make("line", { x1: insetPx.left, x2: this.#width, y1: this.#y(value), y2: this.#y(value) }),
        make("text", { x: insetPx.left - 6, y: this.#y(value) + 3.5, "text-anchor": "end" }, value >= 1000 ? `${value / 1000} s` : `${value}`),
      ]),
    );
    const skew = this.#skew;
    for (const sample of this.#samples) if (sample.dot) this.#place(sample, skew);
  }
}
