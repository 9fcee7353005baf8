// Forms: sent once, typed confirmations, and rows that are added to lists of limits.
export function forms(root) {
  // What is answered with a file leaves the page as it is, to be sent again.
  for (const form of root.querySelectorAll('form[method="post"]:not([data-download])')) sendOnce(form);
  for (const input of root.querySelectorAll("[data-typed]")) demandTyped(input);
}

function sendOnce(form) {
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  // A page that comes back by the browser's button may be sent again.
  addEventListener("pageshow", () => { delete form.dataset.sent; });
}

function demandTyped(input) {
  const check = () => {
    input.setCustomValidity(input.value.trim() === input.dataset.typed ? "" : `Type ${input.dataset.typed} to go on.`);
  };
  input.addEventListener("input", check);
  check();
}
