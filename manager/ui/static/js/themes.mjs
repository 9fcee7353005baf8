// The theme switch, without loading the page anew.
const YEAR = 31_536_000;

export function themes(root) {
  for (const form of root.querySelectorAll("[data-themes]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      choose(event.submitter.value);
    });
  }
}

function choose(theme) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `llm_proxy_theme=${theme}; path=/ui; max-age=${YEAR}; samesite=lax${secure}`;
  document.documentElement.dataset.theme = theme;
  document.documentElement.dispatchEvent(new Event("themechange"));
  for (const button of document.querySelectorAll("[data-themes] button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}
