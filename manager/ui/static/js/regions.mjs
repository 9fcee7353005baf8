// Puts what has changed into a page; see manager/ui/regions.py. What did not change stays, with the focus on it.
import { show } from "./times.mjs";

const sent = new WeakMap();

/** Applies a change: {id, html} of an element, {id, data, head, order, rows} of a table. */
export function apply(change) {
  const element = document.getElementById(change.id);
  if (!element) return;
  if (change.html !== undefined) fill(element, change.html);
  else changeTable(element, change);
}

/** Reads all regions of a page, as if each had changed. */
export function regionsOf(page) {
  return [...page.querySelectorAll("[data-region]")].map((element) => {
    if (element.dataset.region !== "table") return { id: element.id, html: element.innerHTML };
    const rows = [...element.tBodies[0].rows];
    return {
      id: element.id,
      data: Object.fromEntries(Object.entries(element.dataset).filter(([name]) => name !== "region")),
      head: element.tHead.innerHTML,
      order: rows.map((row) => row.id),
      rows: Object.fromEntries(rows.map((row) => [row.id, row.outerHTML])),
    };
  });
}

function fill(element, html) {
  if (sent.get(element) === html) return;
  sent.set(element, html);
  const focused = element.contains(document.activeElement) ? markOf(document.activeElement) : null;
  element.innerHTML = html;
  localise(element);
  if (focused) refocus(element, focused);
}

function changeTable(table, { data = {}, head, order, rows = {} }) {
  const body = table.tBodies[0];
  if (head !== undefined) fill(table.tHead, head);
  for (const [id, html] of Object.entries(rows)) changeRow(body, id, html);
  if (order) arrange(body, order);
  Object.assign(table.dataset, data);
}

function changeRow(body, id, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  const known = document.getElementById(id);
  const cells = [...fresh.cells].map((cell) => cell.outerHTML);
  if (known?.parentNode !== body) {
    body.append(fresh);
    localise(fresh);
    sent.set(fresh, cells);
    return;
  }
  const before = sent.get(known) ?? [];
  sent.set(known, cells);
  [...fresh.cells].forEach((cell, number) => {
    if (number >= known.cells.length) known.append(cell);
    else if (before[number] !== cells[number]) changeCell(known.cells[number], cell);
    else return;
    localise(known);
  });
  while (known.cells.length > cells.length) known.lastElementChild.remove();
}

function changeCell(known, fresh) {
  const focused = known.contains(document.activeElement) ? markOf(document.activeElement) : null;
  known.replaceWith(fresh);
  if (focused) refocus(fresh, focused);
}

/** Puts rows in order and takes away those that are not there any more, touching none that is in its place. */
function arrange(body, order) {
  const wanted = new Set(order);
  for (const row of [...body.rows]) if (!wanted.has(row.id)) row.remove();
  order.forEach((id, number) => {
    const row = document.getElementById(id);
    if (row && body.rows[number] !== row) body.insertBefore(row, body.rows[number] ?? null);
  });
}

function localise(element) {
  element.querySelectorAll("time[data-time]").forEach(show);
}

function markOf(element) {
  return [element.tagName, element.getAttribute("href"), element.id].join(" ");
}

function refocus(element, mark) {
  [...element.querySelectorAll("a, button, input")].find((each) => markOf(each) === mark)?.focus({ preventScroll: true });
}
