// What a chart shows, as it stands in its table: a row for each moment, a column for each series.

/**
 * Reads a table. Each row's id ends with its moment in milliseconds; the number of a cell is its text, or `data-value`
 * where that is none; – is not known (null). It says by `data-since`, `data-until` (milliseconds) and `data-step` (seconds) which moments there
 * are. What has no row is nothing, or with `data-missing="gap"` not known (null).
 */
export function read(table) {
  const { chart: kind, unit, missing } = table.dataset;
  const [since, until, step] = ["since", "until", "step"].map((name) => Number(table.dataset[name]));
  const heads = [...table.tHead.rows[0].cells].slice(1);
  const count = Math.max(1, Math.round((until - since) / (step * 1000)));
  const empty = missing === "gap" ? null : 0;
  const series = heads.map((head) => ({
    name: head.textContent.trim(),
    tone: Number(head.dataset.tone),
    values: new Array(count).fill(empty),
    texts: new Array(count).fill(null),
  }));
  for (const row of table.tBodies[0].rows) {
    const number = Math.round((Number(row.id.split("-").at(-1)) - since) / (step * 1000));
    if (!(number >= 0 && number < count)) continue;
    series.forEach((each, index) => take(each, number, row.cells[index + 1]));
  }
  return { title: table.caption?.textContent.trim() ?? "", kind, unit, since, until, step, count, series };
}

function take(series, number, cell) {
  const text = cell?.textContent.trim() ?? "–";
  series.values[number] = text === "–" ? null : Number(cell.dataset.value ?? text.replace(/[$,]/g, ""));
  series.texts[number] = text;
}

/** Returns when a moment of a chart begins. */
export function momentOf(chart, number) {
  return new Date(chart.since + number * chart.step * 1000);
}

/** Returns for each series its lower and upper edges, one standing on the other; null where nothing is known. */
export function stacked(series, count) {
  const heights = new Array(count).fill(0);
  return series.map((each) =>
    each.values.map((value, number) => {
      if (value === null) return null;
      const low = heights[number];
      heights[number] += Math.max(0, value);
      return [low, heights[number]];
    }),
  );
}

/** Returns the largest amount that a chart has to have room for. */
export function most(chart, series) {
  const found = chart.kind === "line" ? series.flatMap((each) => each.values) : tops(series, chart.count);
  return found.reduce((known, value) => (value !== null && value > known ? value : known), 0);
}

function tops(series, count) {
  return Array.from({ length: count }, (_, number) =>
    series.reduce((sum, each) => sum + Math.max(0, each.values[number] ?? 0), 0),
  );
}
