// One switch for the folded code of a page, under its title.
document.addEventListener("DOMContentLoaded", () => {
  const folded = [...document.querySelectorAll(".bd-article details.hide.above-input")];
  const title = document.querySelector(".bd-article h1");
  if (!title || folded.length < 2) return;
  const button = document.createElement("button");
  button.className = "all-code";
  button.type = "button";
  const say = (open) => {
    button.textContent = open ? "Hide all code" : "Show all code";
    button.setAttribute("aria-pressed", String(open));
  };
  say(false);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    folded.forEach((cell) => { cell.open = open; });
    say(open);
  });
  title.after(button);
});
