// A cursor over a chart: moved by the pointer or the arrow keys, it shows the amounts of a moment and says them.

import { written, zero } from "./chart_scale.mjs";
import { make, marker, sample } from "./chart_shapes.mjs";
import { momentOf, stacked } from "./chart_table.mjs";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const GAP = 12;

/** Over a plot; `shown` gives the chart, its series and where its things are, as they were drawn last. */
export class Cursor {
  constructor(plot, shown) {
    this.plot = plot;
    this.shown = shown;
    this.number = null;
    this.keys = box("chart-keys", { tabindex: "0", role: "application", "aria-roledescription": "chart" });
    this.tip = box("chart-tip", { "aria-hidden": "true" });
    this.said = box("visually-hidden", { "aria-live": "polite" });
    this.tip.hidden = true;
    plot.append(this.keys, this.tip, this.said);
    this.listen();
  }

  listen() {
    this.keys.addEventListener("pointermove", (event) => this.point(event));
    this.keys.addEventListener("pointerdown", (event) => this.point(event));
    this.keys.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    this.keys.addEventListener("blur", () => this.leave());
    this.keys.addEventListener("keydown", (event) => this.press(event));
  }

  point(event) {
    const { chart, place } = this.shown();
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    this.number = within(Math.floor(((x - place.left) * chart.count) / place.width), chart.count);
    this.redraw();
  }

  press(event) {
    if (event.key === "Escape") return this.leave();
    const step = STEPS[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const { chart } = this.shown();
    const last = chart.count - 1;
    this.number = this.number === null ? (step === -Infinity ? 0 : last) : within(this.number + step, chart.count);
    this.redraw();
    this.said.textContent = this.texts().join(", ");
  }

  leave() {
    this.number = null;
    this.redraw();
  }

  /** Draws the cursor where it is, over a chart that may be another one by now. */
  redraw() {
    this.plot.querySelector(".chart-cursor")?.remove();
    const { chart, series, place } = this.shown();
    this.keys.setAttribute("aria-label", `${chart.title}. The arrow keys read it.`);
    this.tip.hidden = this.number === null;
    if (this.number === null) return;
    this.number = within(this.number, chart.count);
    this.plot.querySelector("svg").append(this.drawn(chart, series, place));
    this.tip.replaceChildren(...this.lines());
    this.put(place);
  }

  drawn(chart, series, place) {
    const x = place.x(this.number);
    const line = make("path", { d: `M${x} ${place.top}V${place.top + place.height}` });
    const tops = chart.kind === "line" ? series.map((each) => each.values[this.number]) : this.edges(chart, series);
    const marks = series.flatMap((each, index) => (tops[index] === null ? [] : [marker(each, x, place.y(tops[index]))]));
    return make("g", { class: "chart-cursor", "aria-hidden": "true" }, line, ...marks);
  }

  edges(chart, series) {
    return stacked(series, chart.count).map((edges) => {
      const edge = edges[this.number];
      return edge === null || edge[0] === edge[1] ? null : edge[1];
    });
  }

  texts() {
    const { chart, series } = this.shown();
    return [written(momentOf(chart, this.number), chart.step), ...series.map((each) => `${each.name}: ${this.text(each)}`)];
  }

  text(series) {
    const { unit } = this.shown().chart;
    return series.texts[this.number] ?? (series.values[this.number] === 0 ? zero(unit) : "–");
  }

  lines() {
    const { chart, series, prefix } = this.shown();
    const head = box("chart-tip-head");
    head.textContent = written(momentOf(chart, this.number), chart.step);
    // The uppermost of a pile is the last one of the table.
    const order = chart.kind === "line" ? series : series.toReversed();
    return [head, ...order.map((each) => this.line(chart, each, prefix))];
  }

  line(chart, series, prefix) {
    const line = box("chart-tip-line");
    const name = document.createElement("span");
    const amount = document.createElement("b");
    name.textContent = series.name;
    amount.textContent = this.text(series);
    line.append(sample(chart, series, prefix), name, amount);
    return line;
  }

  /** Puts the tip beside the cursor, on the side where there is more room. */
  put(place) {
    const x = place.x(this.number);
    const { offsetWidth: width } = this.tip;
    const isRight = x < place.outer.width / 2;
    const left = isRight ? x + GAP : x - GAP - width;
    this.tip.style.left = `${Math.max(0, Math.min(left, place.outer.width - width))}px`;
    this.tip.style.top = `${place.top}px`;
  }
}

function box(name, attributes = {}) {
  const element = document.createElement("div");
  element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function within(number, count) {
  return Math.max(0, Math.min(count - 1, number));
}
