// Moments in the viewer's zone: <time datetime data-time>, data-time="seconds" or "relative". UTC stays in the hint.
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const toTheSecond = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
const EVERY_MS = 30_000;

export function times(root) {
  root.querySelectorAll("time[data-time]").forEach(show);
  // Parts of live pages are replaced: what is there is asked for each time.
  setInterval(() => root.querySelectorAll('time[data-time="relative"]').forEach(show), EVERY_MS);
}

export function show(element) {
  const moment = new Date(element.dateTime);
  const style = element.dataset.time;
  element.textContent = style === "relative" ? ago(moment) : (style === "seconds" ? toTheSecond : full).format(moment);
}

export function ago(moment, now = new Date()) {
  const seconds = (moment - now) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return Math.abs(seconds) < 10 ? "just now" : relative.format(Math.round(seconds), "second");
}
