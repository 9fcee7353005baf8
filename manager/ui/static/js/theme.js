// Before anything is painted: the theme of the system, if the visitor wants that one. (The server knows the others.)
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const wanted = root.dataset.theme;
    root.dataset.bsTheme = wanted === "auto" ? (dark.matches ? "dark" : "light") : wanted;
  };
  root.classList.replace("no-js", "js");
  apply();
  dark.addEventListener("change", apply);
  root.addEventListener("themechange", apply);
})();
