// Pages that change while somebody looks: what has changed comes as events, or with the whole page from time to time
// where no stream is to be had. Nobody is asked while the page is hidden, or was paused.
//
//   <button data-live="/ui/events?page=…"><span data-live-text>…
//
// See manager/ui/regions.py for what is sent.
import { apply, regionsOf } from "./regions.mjs";

const FIRST_MS = 500;
const SHORTEST_MS = 2000;
const LONGEST_MS = 30_000;

function start(button) {
  const live = new Live(button);
  button.addEventListener("click", () => live.pause(!live.isPaused));
  document.addEventListener("visibilitychange", () => live.follow());
  addEventListener("pagehide", () => live.stop());
  addEventListener("pageshow", (event) => event.persisted && live.follow());
  live.follow();
}

class Live {
  constructor(button) {
    this.button = button;
    this.address = button.dataset.live;
    this.failures = 0;
    this.isPaused = false;
    this.run = 0; // Changes with every begin and end: who has waited meanwhile has no say any more.
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.button.setAttribute("aria-pressed", String(isPaused));
    this.follow();
  }

  /** Begins, or ends, as it is to be now. */
  follow() {
    this.stop();
    if (this.isPaused) this.tell("paused", "Paused");
    else if (document.visibilityState !== "hidden") this.open();
  }

  stop() {
    this.run++;
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  open() {
    this.stop();
    const source = new EventSource(this.address);
    let wasOpen = false;
    this.source = source;
    source.onopen = () => {
      wasOpen = true;
      this.failures = 0;
      this.tell("live", "Live");
    };
    source.onerror = () => {
      if (this.source === source) this.lost(wasOpen);
    };
    source.addEventListener("change", (event) => {
      this.tell("live", "Live");
      JSON.parse(event.data).forEach(apply);
    });
    source.addEventListener("trouble", (event) => this.tell("waiting", JSON.parse(event.data)));
    source.addEventListener("over", () => location.reload());
  }

  /** A stream ends by itself after a while. One that cannot even be begun is tried again later, and less and less. */
  lost(wasOpen) {
    this.stop();
    if (wasOpen) {
      this.timer = setTimeout(() => this.open(), FIRST_MS);
      return;
    }
    const wait = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** this.failures++);
    this.tell("waiting", `Every ${Math.round(wait / 1000)} s`);
    this.timer = setTimeout(() => this.poll(), wait * (0.9 + Math.random() / 5));
  }

  async poll() {
    const { run } = this;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html", "x-refresh": "1" } });
      const text = await answer.text();
      if (run !== this.run) return;
      // The session has ended: the page itself leads to the sign-in page.
      if (answer.redirected || answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      regionsOf(new DOMParser().parseFromString(text, "text/html")).forEach(apply);
    } catch {
      if (run !== this.run) return;
      this.tell("waiting", "Not connected");
    }
    this.open();
  }

  tell(state, text) {
    this.button.dataset.state = state;
    this.button.querySelector("[data-live-text]").textContent = text;
  }
}

for (const button of document.querySelectorAll("[data-live]")) start(button);
