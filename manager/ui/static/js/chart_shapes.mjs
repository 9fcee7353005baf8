// The SVG of a chart: axes, and lines, areas or bars. Colours are the style sheet's, by the class of each series.

import { axis, isWhole, ticks, timeTicks } from "./chart_scale.mjs";
import { momentOf, most, stacked } from "./chart_table.mjs";

const NAMESPACE = "http://www.w3.org/2000/svg";
const LETTER = 6.4;
const TOP = 24;
const BOTTOM = 24;
const RIGHT = 12;
// What tells series apart besides their colours.
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4", "6 2 1 2"];
const HATCHES = [
  "",
  "M0 6L6 0M-1 1L1 -1M5 7L7 5",
  "M0 3H6",
  "M0 0L6 6M-1 5L1 7M5 -1L7 1",
  "M3 0V6",
  "M0 3H6M3 0V6",
  "M0 0L6 6M0 6L6 0",
  "M1 1H3V3H1Z",
];
const TONES = 8;

/** Makes an element of SVG. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Returns the class of a series. */
export function toneOf(series) {
  return `tone-${series.tone % TONES}`;
}

/** Returns where things are: a chart of a width and a height in pixels, of these series of it. */
export function layout(chart, series, width, height) {
  const marks = ticks(most(chart, series), height < 180 ? 3 : 4, isWhole(chart.unit));
  const { title, write } = axis(chart.unit, marks);
  const left = Math.ceil(Math.max(...marks.map((mark) => write(mark).length)) * LETTER) + 10;
  const inner = { left, top: TOP, width: Math.max(20, width - left - RIGHT), height: height - TOP - BOTTOM };
  const span = chart.until - chart.since;
  return {
    ...inner,
    outer: { width, height },
    marks,
    title,
    write,
    x: (number) => left + ((number + 0.5) * inner.width) / chart.count,
    xOf: (moment) => left + ((moment - chart.since) * inner.width) / span,
    y: (value) => TOP + inner.height * (1 - value / marks.at(-1)),
  };
}

/** Draws a chart; `prefix` begins the ids in it. */
export function draw(chart, series, place, prefix) {
  const { width, height } = place.outer;
  const drawn = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "chart-svg" });
  drawn.append(patterns(chart.series, prefix), grid(place), timeAxis(chart, place));
  if (chart.kind === "line") drawn.append(...series.map((each) => line(chart, each, place)));
  else drawn.append(...piled(chart, series, place, prefix));
  return drawn;
}

/** Returns a sample of a series for the legend. */
export function sample(chart, series, prefix) {
  const drawn = make("svg", { viewBox: "0 0 24 12", width: 24, height: 12, "aria-hidden": "true", class: toneOf(series) });
  if (chart.kind !== "line") drawn.append(make("rect", { width: 24, height: 12, fill: fillOf(series, prefix), class: "chart-pile" }));
  else drawn.append(make("path", { d: "M0 6H24", class: "chart-line", "stroke-dasharray": dashOf(series) }), marker(series, 12, 6));
  return drawn;
}

/** Returns the mark of a series at a point: each has another shape. */
export function marker(series, x, y) {
  const shapes = ["M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0Z", "M-3 -3H3V3H-3Z", "M0 -4L4 3H-4Z", "M0 -4L4 0L0 4L-4 0Z"];
  const d = shapes[series.tone % shapes.length];
  return make("path", { d, transform: `translate(${x} ${y})`, class: `chart-marker ${toneOf(series)}` });
}

function dashOf(series) {
  return DASHES[series.tone % TONES];
}

function fillOf(series, prefix) {
  return `url(#${prefix}-fill-${series.tone % TONES})`;
}

function patterns(series, prefix) {
  return make("defs", {}, ...series.map((each) => {
    const id = `${prefix}-fill-${each.tone % TONES}`;
    const size = { width: 6, height: 6 };
    const hatch = HATCHES[each.tone % TONES];
    const wash = make("rect", { ...size, class: hatch ? "chart-wash" : "chart-solid" });
    return make("pattern", { id, patternUnits: "userSpaceOnUse", ...size, class: toneOf(each) }, wash, make("path", { d: hatch, class: "chart-hatch" }));
  }));
}

function grid(place) {
  const group = make("g", { class: "chart-grid", "aria-hidden": "true" });
  const right = place.left + place.width;
  for (const mark of place.marks) {
    const y = place.y(mark);
    group.append(make("path", { d: `M${place.left} ${y}H${right}`, class: mark === 0 ? "chart-base" : "" }));
    group.append(make("text", { x: place.left - 6, y: y + 4, "text-anchor": "end" }, place.write(mark)));
  }
  group.append(make("text", { x: 0, y: 11, class: "chart-unit" }, place.title));
  return group;
}

function timeAxis(chart, place) {
  const group = make("g", { class: "chart-grid", "aria-hidden": "true" });
  const foot = place.top + place.height;
  let free = 0;
  for (const { at, label } of timeTicks(chart.since, chart.until, place.width / 64, chart.step)) {
    // A unit that is a day has its label below its middle, as what it labels is there.
    const x = chart.step >= 86_400 ? place.xOf(at + chart.step * 500) : place.xOf(at);
    const half = (label.length * LETTER) / 2;
    group.append(make("path", { d: `M${x} ${foot}v4`, class: "chart-base" }));
    if (x - half < free || x + half > place.outer.width) continue;
    free = x + half + 8;
    group.append(make("text", { x, y: foot + 17, "text-anchor": "middle" }, label));
  }
  return group;
}

function line(chart, series, place) {
  const runs = runsOf(series.values);
  const points = (run) => run.map((number) => `${round(place.x(number))} ${round(place.y(series.values[number]))}`);
  const d = runs.map((run) => `M${points(run).join("L")}`).join("");
  const alone = runs.filter((run) => run.length === 1).map(([number]) => number);
  return make(
    "g",
    { class: toneOf(series) },
    make("path", { d, class: "chart-line", "stroke-dasharray": dashOf(series) }),
    ...alone.map((number) => marker(series, place.x(number), place.y(series.values[number]))),
  );
}

function piled(chart, series, place, prefix) {
  const edges = stacked(series, chart.count);
  return series.map((each, index) => {
    const isLine = chart.kind === "area" && chart.count > 1;
    const d = isLine ? area(edges[index], place) : bars(edges[index], place, chart.count);
    return make("path", { d, fill: fillOf(each, prefix), class: `chart-pile ${toneOf(each)}` });
  });
}

function area(edges, place) {
  // Of a series that is nothing for a while, nothing is drawn: a line on top of another one would say otherwise.
  const isThere = (number) => Boolean(edges[number]) && edges[number][0] !== edges[number][1];
  const drawn = edges.map((edge, number) => (isThere(number - 1) || isThere(number) || isThere(number + 1) ? edge : null));
  return runsOf(drawn).map((run) => {
    const side = (end) => run.map((number) => `${round(place.x(number))} ${round(place.y(edges[number][end]))}`);
    return `M${side(1).join("L")}L${side(0).reverse().join("L")}Z`;
  }).join("");
}

function bars(edges, place, count) {
  const room = place.width / count;
  const width = Math.min(48, Math.max(0.5, room > 4 ? room * 0.8 : room));
  return edges.map((edge, number) => {
    if (edge === null || edge[0] === edge[1]) return "";
    const [low, high] = edge.map(place.y);
    return `M${round(place.x(number) - width / 2)} ${round(low)}h${round(width)}V${round(high)}h${round(-width)}Z`;
  }).join("");
}

/** Returns the numbers of what is known, those without a gap between them together. */
function runsOf(values) {
  const runs = [];
  values.forEach((value, number) => {
    if (value === null) return;
    if (number > 0 && values[number - 1] !== null) runs.at(-1).push(number);
    else runs.push([number]);
  });
  return runs;
}

function round(value) {
  return Math.round(value * 100) / 100;
}

/** Says what a chart shows, for who does not see it. */
export function described(chart, series, write) {
  const said = series.map((each) => {
    const known = each.values.map((value, number) => [value, number]).filter(([value]) => value !== null && value > 0);
    if (!known.length) return `${each.name}: nothing`;
    const [, highest] = known.reduce((best, entry) => (entry[0] > best[0] ? entry : best));
    return `${each.name}: at most ${each.texts[highest]} (${write(momentOf(chart, highest))})`;
  });
  return `From ${write(new Date(chart.since))} to ${write(new Date(chart.until))}. ${said.join(". ")}.`;
}
