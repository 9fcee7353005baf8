// Secrets that are shown once: saved as a file that is made here, so that no address ever holds one.
for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => save(button.dataset.download, document.getElementById(button.dataset.from)));
}

function save(name, element) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([element.textContent], { type: "text/csv" }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
