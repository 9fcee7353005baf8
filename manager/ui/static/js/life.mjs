// Of how long something lives: what was not chosen is hidden.
for (const life of document.querySelectorAll("[data-life]")) {
  const chosen = life.querySelector("select");
  const show = () => {
    for (const part of life.querySelectorAll("[data-life-of]")) {
      // What is wrong stays to be seen.
      part.hidden = part.dataset.lifeOf !== chosen.value && !part.querySelector(".is-invalid");
    }
  };
  chosen.addEventListener("change", show);
  show();
}
