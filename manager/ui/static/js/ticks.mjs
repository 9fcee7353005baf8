// Lists with boxes to tick: one for all, and a button that says how many.
for (const form of document.querySelectorAll("[data-ticks]")) {
  const all = form.querySelector("[data-tick-all]");
  if (all) watch(form, all);
}

function watch(form, all) {
  const boxes = [...form.querySelectorAll('input[type="checkbox"][name]')];
  const button = form.querySelector("[data-tick-button]");
  const label = form.querySelector("[data-tick-label]");
  const plain = label.textContent;

  function show() {
    const count = boxes.filter((box) => box.checked).length;
    all.checked = count > 0 && count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
    all.disabled = boxes.length === 0;
    button.disabled = count === 0;
    label.textContent = count ? `Revoke ${count} ${count === 1 ? "token" : "tokens"}…` : plain;
  }

  all.addEventListener("change", () => {
    boxes.forEach((box) => { box.checked = all.checked; });
    show();
  });
  form.addEventListener("change", show);
  // What was ticked is so again when the page comes back.
  addEventListener("pageshow", show);
  show();
}
