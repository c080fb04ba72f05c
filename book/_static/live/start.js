// Loads an explorer: on the live page at once, in a chapter when its reader asks for it.
"use strict";

(() => {
  const FOLDER = document.currentScript.src.replace(/[^/]*$/, "");
  const SCRIPTS = ["network.js", "numbers.js", "maps.js", "deletion.js", "worker.js", "state.js",
    "draw.js", "paint.js", "page.js"];
  const button = document.getElementById("live-start");

  function missing(file) {
    document.getElementById("live-loading").textContent =
      `${file} could not be loaded. Load this page again.`;
  }

  function add(file, name, attributes) {
    const made = Object.assign(document.createElement(name), attributes);
    made.onerror = () => missing(file);
    document.head.append(made);
  }

  function load() {
    if (button) add("live.css", "link", { rel: "stylesheet", href: `${FOLDER}live.css` });
    const scripts = button ? SCRIPTS : [...SCRIPTS, "replay.js"];
    // in this order
    for (const file of scripts) add(file, "script", { src: FOLDER + file, async: false });
  }

  if (!button) return load();
  button.hidden = false;
  button.addEventListener("click", load, { once: true });
})();
