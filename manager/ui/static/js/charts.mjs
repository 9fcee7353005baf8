// Charts, each drawn from a table beside it, which is shown instead of it without scripts, or at a click.
// Changes of the table are drawn as they come.
//
//   <figure class="chart">
//     <div class="chart-head"><h3>Tokens</h3></div>
//     <div class="chart-table"><table data-chart="bars" data-unit="tokens" data-since data-until data-step> …
//
// See chart_table.mjs for what the table says, and templates/charts.html, which writes it.

import { Cursor } from "./chart_cursor.mjs";
import { legend } from "./chart_legend.mjs";
import { written } from "./chart_scale.mjs";
import { described, draw, layout } from "./chart_shapes.mjs";
import { read } from "./chart_table.mjs";

let made = 0;

/** Draws all charts below an element. */
export function charts(root) {
  return [...root.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.table = figure.querySelector("table[data-chart]");
    this.prefix = `chart-${++made}`;
    this.hidden = new Set();
    this.area = division("chart-area");
    this.legend = division("chart-legend");
    this.plot = division("chart-plot");
    this.area.append(this.legend, this.plot);
    figure.querySelector(".chart-table").before(this.area);
    this.cursor = new Cursor(this.plot, () => this.shown());
    figure.querySelector(".chart-head").append(this.toggle());
    new ResizeObserver(() => this.later()).observe(this.plot);
    new MutationObserver(() => this.later()).observe(this.table, {
      attributes: true,
      attributeFilter: ["data-since", "data-until", "data-value"],
      childList: true,
      subtree: true,
    });
    this.redraw();
  }

  /** Returns the series that are not hidden, with the chart and where its things are. */
  shown() {
    return { chart: this.chart, series: this.series, place: this.place, prefix: this.prefix };
  }

  later() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.redraw();
    });
  }

  redraw() {
    this.chart = read(this.table);
    this.series = this.chart.series.filter((each) => !this.hidden.has(each.name));
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !height) return; // The table is shown.
    this.place = layout(this.chart, this.series, width, height);
    const drawn = draw(this.chart, this.series, this.place, this.prefix);
    drawn.setAttribute("aria-label", this.chart.title);
    drawn.append(this.description());
    this.plot.querySelector("svg")?.remove();
    this.plot.prepend(drawn);
    legend(this.legend, this.chart, this.hidden, this.prefix, () => this.redraw());
    this.cursor.redraw();
  }

  description() {
    const description = document.createElementNS("http://www.w3.org/2000/svg", "desc");
    description.textContent = described(this.chart, this.series, (moment) => written(moment, this.chart.step));
    return description;
  }

  /** Makes the button that shows the table in the place of the chart. */
  toggle() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm btn-plain chart-toggle";
    button.textContent = "Table";
    button.setAttribute("aria-label", `Table of ${this.table.caption.textContent.trim()}`);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const isTable = this.figure.classList.toggle("is-table");
      button.setAttribute("aria-pressed", String(isTable));
      if (!isTable) this.redraw();
    });
    return button;
  }
}

function division(name) {
  const element = document.createElement("div");
  element.className = name;
  return element;
}
