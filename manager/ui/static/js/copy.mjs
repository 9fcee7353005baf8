// Buttons that copy their data-copy, or the text of the element whose id is their data-copy-from.
const SHOWN_MS = 2000;

export function copyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy], [data-copy-from]")) {
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const label = button.querySelector("[data-copy-label]") ?? button;
  const before = label.textContent;
  label.textContent = (await write(textOf(button))) ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { label.textContent = before; }, SHOWN_MS);
}

function textOf(button) {
  return button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text); // Browsers give the clipboard to pages with TLS, and to localhost.
  }
}

function writeBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
