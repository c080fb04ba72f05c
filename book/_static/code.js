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

// What scrolls sideways, on a narrow screen most tables and charts, is reached with the Tab key.
function letItBeReached(box) {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
  if (box.matches(".drawing")) sayWhereMoreIs(box);
}

// A box overflows when the page becomes narrower, and when a picture in it is fetched as late as it
// comes into view: its contents are watched as well.
addEventListener("load", () => {
  const watch = new ResizeObserver((changes) => {
    const boxes = changes.map(({ target }) => target.closest("table, .drawing"));
    new Set(boxes).forEach(letItBeReached);
  });
  for (const box of document.querySelectorAll(".bd-article :is(table, .drawing)")) {
    watch.observe(box);
    if (box.firstElementChild) watch.observe(box.firstElementChild);
  }
});

// On which sides of a drawing more can be scrolled to: custom.css shades them.
function sayWhereMoreIs(box) {
  const hidden = box.scrollWidth - box.clientWidth, from = box.scrollLeft;
  box.dataset.more = [from > 1 && "left", from < hidden - 1 && "right"].filter(Boolean).join(" ");
}
addEventListener("scroll", (event) => {
  if (event.target.matches?.(".drawing")) sayWhereMoreIs(event.target);
}, { capture: true, passive: true });
