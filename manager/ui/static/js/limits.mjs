// Rows of limits: added and taken away, and only the windows of what is measured.
export function limits(root) {
  for (const list of root.querySelectorAll("[data-limits]")) {
    const rows = () => [...list.querySelectorAll("[data-limit]")];
    const spare = rows().filter(isEmpty);
    const add = list.parentElement.querySelector("[data-add-limit]");
    const pattern = rows().at(-1).cloneNode(true); // The last one is always a spare one.
    spare.forEach((row) => row.remove());
    rows().forEach(arm);
    let next = rows().length + spare.length;
    add.addEventListener("click", () => {
      const row = pattern.cloneNode(true);
      rename(row, next++, rows().length + 1);
      list.append(row);
      arm(row);
      row.querySelector("select").focus();
    });
  }
}

function isEmpty(row) {
  return !row.querySelector("[data-measure]").value && [...row.querySelectorAll("input")].every((input) => !input.value);
}

function rename(row, number, nth) {
  row.setAttribute("aria-label", `Limit ${nth}`);
  for (const control of row.querySelectorAll("[name]")) {
    control.name = control.name.replace(/-\d+-/, `-${number}-`);
  }
  for (const labelled of row.querySelectorAll("[aria-label]")) {
    labelled.setAttribute("aria-label", labelled.getAttribute("aria-label").replace(/limit \d+/, `limit ${nth}`));
  }
}

function arm(row) {
  const measure = row.querySelector("[data-measure]");
  const window = row.querySelector("[data-window]");
  const fit = () => {
    const possible = measure.selectedOptions[0]?.dataset.windows?.split(" ") ?? null;
    for (const option of window.options) {
      option.hidden = option.disabled = Boolean(option.value && possible && !possible.includes(option.value));
    }
    if (window.selectedOptions[0]?.disabled) window.value = "";
    if (possible?.length === 1) [window.value] = possible;
  };
  measure.addEventListener("change", fit);
  fit();
  row.querySelector("[data-remove-limit]").addEventListener("click", () => {
    const add = row.closest("fieldset").querySelector("[data-add-limit]");
    row.remove();
    add.focus();
  });
}
