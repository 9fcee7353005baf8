// Axes: ticks that people like to read, and how amounts and moments are written beside them.

const DAY = 86_400;
// What the steps of a time axis may be, in seconds.
const TIME_STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
const PREFIXES = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];
const DURATIONS = [
  [60_000, "min"],
  [1000, "s"],
  [1, "ms"],
];
const MOST_DECIMALS = 9;

/** Returns ticks from 0 up to the first one that is not below `most`, some `count` of them. */
export function ticks(most, count, isWhole = false) {
  if (!(most > 0) || !Number.isFinite(most)) return [0, 1];
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * (1 - 1e-9));
  if (isWhole) step = Math.max(1, step === 2.5 ? 5 : step);
  const steps = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: steps + 1 }, (_, number) => Number((number * step).toPrecision(12)));
}

/** Tells whether amounts of a unit are whole numbers. */
export function isWhole(unit) {
  return unit === "tokens" || unit === "requests";
}

/** Returns what stands above an axis and a function that writes its ticks, all of them in the same unit. */
export function axis(unit, marks) {
  const step = marks[1];
  const most = marks.at(-1);
  if (unit === "ms") {
    const [divisor, name] = DURATIONS.find(([length]) => most >= length * 2) ?? DURATIONS.at(-1);
    return { title: name, write: (value) => plain(value / divisor, step / divisor) };
  }
  const [divisor, prefix] = PREFIXES.find(([size]) => most >= size * 2) ?? [1, ""];
  const write = (value) => plain(value / divisor, step / divisor) + (value === 0 ? "" : prefix);
  if (unit === "usd") return { title: "US dollars", write: (value) => `$${write(value)}` };
  return { title: unit, write };
}

/** Writes nothing of a unit, where there is no text of the table's. */
export function zero(unit) {
  return { usd: "$0.00", ms: "0 ms" }[unit] ?? "0";
}

/** Writes an amount with as many decimals as the step between ticks has. */
function plain(value, step) {
  if (value === 0) return "0";
  let decimals = 0;
  while (decimals <= MOST_DECIMALS && Math.abs(Number(step.toFixed(decimals)) - step) > step / 1e6) decimals++;
  return decimals > MOST_DECIMALS || value >= 1e6 ? value.toExponential(1) : value.toFixed(decimals);
}

/** Returns ticks of a time axis (moments and labels), so many at most; days are those of UTC if these are counted. */
export function timeTicks(since, until, most, unitSeconds) {
  const zone = unitSeconds >= DAY ? "UTC" : undefined;
  const seconds = (until - since) / 1000;
  const fits = TIME_STEPS.filter((step) => step >= unitSeconds && seconds / step <= Math.max(1, most));
  const step = fits[0] ?? TIME_STEPS.at(-1);
  const write = labels(step, zone);
  return [...moments(since, until, step, zone)].map((at) => ({ at, label: write(new Date(at)) }));
}

function labels(step, zone) {
  const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: zone });
  const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const isMidnight = (moment) => moment.getHours() === 0 && moment.getMinutes() === 0;
  return (moment) => (step >= DAY || isMidnight(moment) ? date : time).format(moment);
}

/** Steps through the viewer's own hours and days, which are not all equally long. */
function* moments(since, until, step, zone) {
  if (zone === "UTC") {
    const first = Math.ceil(since / (DAY * 1000)) * DAY * 1000;
    for (let at = first; at < until; at += step * 1000) yield at;
    return;
  }
  const at = new Date(since);
  at.setHours(0, 0, 0, 0);
  while (at.getTime() < until) {
    if (at.getTime() >= since) yield at.getTime();
    const before = at.getTime();
    if (step >= DAY) at.setDate(at.getDate() + step / DAY);
    else if (step >= 3600) at.setHours(at.getHours() + step / 3600);
    else at.setTime(before + step * 1000);
    if (at.getTime() <= before) at.setTime(before + step * 1000);
  }
}

/** Writes when a unit of time of so many seconds began: in the viewer's zone, days in UTC, which is what they are of. */
export function written(moment, step) {
  const date = { day: "numeric", month: "short" };
  const isDay = step >= DAY;
  const wanted = isDay ? { ...date, timeZone: "UTC" } : { ...date, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(undefined, wanted).format(moment);
}
