// How long what is in flight has lasted: <time datetime data-age>. See age() in manager/ui/live.py.
const EVERY_MS = 1000;

export function age(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(seconds / 3600);
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

// The clocks of browsers may be wrong: what the server said last is gone on from.
const seen = new WeakMap();

setInterval(() => {
  for (const element of document.querySelectorAll("[data-age]")) {
    if (!seen.has(element)) seen.set(element, { seconds: read(element.textContent), at: performance.now() });
    const { seconds, at } = seen.get(element);
    element.textContent = age(seconds + Math.floor((performance.now() - at) / 1000));
  }
}, EVERY_MS);

function read(text) {
  const lengths = { h: 3600, min: 60, s: 1 };
  return [...text.matchAll(/(\d+) (h|min|s)/g)].reduce((sum, [, count, unit]) => sum + count * lengths[unit], 0);
}
