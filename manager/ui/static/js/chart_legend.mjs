// What the series of a chart are: each with a sample of how it is drawn, and a button that hides it.

import { sample } from "./chart_shapes.mjs";

/** Fills a legend; buttons stay the same as long as the series do, so that none loses the focus. */
export function legend(place, chart, hidden, prefix, redraw) {
  const names = chart.series.map((each) => each.name).join("\n");
  if (place.dataset.names === names) return;
  place.dataset.names = names;
  place.replaceChildren(...chart.series.map((each) => entry(each, chart, hidden, prefix, redraw)));
}

function entry(series, chart, hidden, prefix, redraw) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(sample(chart, series, prefix), series.name);
  button.title = "Show or hide";
  const tell = () => button.setAttribute("aria-pressed", String(!hidden.has(series.name)));
  button.addEventListener("click", () => {
    if (!hidden.delete(series.name)) hidden.add(series.name);
    tell();
    redraw();
  });
  tell();
  return button;
}
