// Messages of what was done: alerts that go by themselves, unless something went wrong; and new ones by scripts.
const SHOWN_MS = 6000;

export function toasts(root) {
  for (const alert of root.querySelectorAll("[data-toasts] .alert")) arm(alert);
}

export function toast(text, kind = "info") {
  const alert = document.createElement("div");
  alert.className = `alert alert-${kind}`;
  alert.setAttribute("role", kind === "danger" ? "alert" : "status");
  const body = document.createElement("div");
  body.textContent = text;
  alert.append(body);
  document.querySelector("[data-toasts]").append(alert);
  arm(alert);
}

function arm(alert) {
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn-close";
  close.setAttribute("aria-label", "Close message");
  close.addEventListener("click", () => alert.remove());
  alert.append(close);
  if (alert.matches(".alert-danger, .alert-warning")) return;
  let timer = setTimeout(() => alert.remove(), SHOWN_MS);
  alert.addEventListener("pointerenter", () => clearTimeout(timer));
  alert.addEventListener("focusin", () => clearTimeout(timer));
  alert.addEventListener("pointerleave", () => { timer = setTimeout(() => alert.remove(), SHOWN_MS); });
}
