// What an explorer shows of an answer: probabilities, maps, units, the deletion, in words too.
// `shown` is the request and all that has been answered; a small explorer has not every box.
"use strict";

const livePaint = (() => {
  const { curve, element, map: drawMap, percent, picture: drawPicture } = liveDraw;
  const { FILLS, METHODS } = liveState;
  const PIXELS = 32 * 32;
  const LAYERS = [["convolution 1", 32768], ["convolution 2", 32768], ["convolution 3", 16384],
    ["convolution 4", 16384], ["dense", 256]]; // each with its units

  const get = (id) => document.getElementById(`live-${id}`);
  const thousands = (count) => count.toLocaleString("en-GB");
  const total = (marks) => marks.reduce((sum, mark) => sum + mark, 0);
  const notZero = (map) => total(map.map((v) => v !== 0));
  const fullName = (method) => METHODS[method][1];
  const cell = (method) => get("grid").querySelector(`[data-method=${method}]`).parentElement;

  function say(id, text) {
    const box = get(id);
    if (box) box.textContent = text;
  }

  // A bar for a share of 1.
  function bar(share) {
    const fill = element("span", { className: "live-fill" });
    fill.style.width = `${100 * share}%`;
    return element("span", { className: "live-track" }, fill);
  }

  function classes({ probabilities, target }) {
    get("classes")?.querySelectorAll("label").forEach((label, place) => {
      label.querySelector("input").checked = place === target;
      label.querySelector(".live-track").replaceWith(bar(probabilities[place]));
      label.querySelector(".live-percent").textContent = percent(probabilities[place]);
      const predicted = probabilities[place] === Math.max(...probabilities);
      label.classList.toggle("live-predicted", predicted);
    });
  }

  function maps(found, { method, reduce, redrawn }) {
    for (const [name, { map, passed }] of Object.entries(found)) {
      const box = cell(name), canvas = box.querySelector("canvas");
      const said = `${thousands(notZero(map))} of ${thousands(PIXELS)} pixels are not zero`;
      drawMap(canvas, map, reduce);
      box.title = `${fullName(name)}: ${said}`;
      const named = box.querySelector("input") ?? canvas;
      named.setAttribute("aria-label", `${fullName(name)}, ${said}`);
      if (!redrawn) box.querySelector(".live-rho").textContent = "";
      if (name === method && get("passing")) units(method, passed);
    }
  }

  function likeness(found) {
    for (const [name, rho] of Object.entries(found)) {
      const shown = rho.toFixed(2).replace("-", "−");
      cell(name).querySelector(".live-rho").textContent = `ρ ${shown}`;
    }
  }

  function units(method, passed) {
    get("passing-of").textContent = passed ? `${fullName(method)}, by layer` : "";
    const rows = passed ? LAYERS.flatMap(([layer, count], n) => [
      element("span", {}, layer),
      bar(passed[n] / count),
      element("span", { className: "live-percent" }, percent(passed[n] / count)),
      element("span", { className: "live-count" },
        `${thousands(passed[n])} of ${thousands(count)}`),
    ]) : [element("p", { className: "live-note" }, "Random numbers ask no unit.")];
    get("passing").replaceChildren(...rows);
  }

  // The picture, and the same after the deletion, each with what the network says.
  function pictures({ bytes, effect, fill, pictures: { classes: named }, probabilities }) {
    const { marks, before, after } = effect;
    const says = (place, shares) => [named[place], element("br"), percent(shares[place])];
    drawPicture(get("before"), bytes);
    get("before-says").replaceChildren(...says(before, probabilities));
    get("before").setAttribute("aria-label", `The picture: the network says ${named[before]}`);
    if (!get("after")) return;
    drawPicture(get("after"), bytes, marks, fill === "white" ? 255 : 0);
    get("after").classList.toggle("live-differs", after !== before);
    get("after-says").replaceChildren(...says(after, effect.probabilities));
    get("after").setAttribute("aria-label", `The picture without ${total(marks)} pixels: `
      + `the network ${after === before ? "still" : "now"} says ${named[after]}`);
  }

  // The deletion in one sentence.
  function sentence({ effect, fill, method, pictures }) {
    const { marks, before, after, probabilities } = effect, named = pictures.classes;
    const outcome = after === before ? `still says ${named[before]}`
      : `changes its mind from ${named[before]} to ${named[after]}`;
    return `Without the ${thousands(total(marks))} of ${thousands(PIXELS)} pixels that `
      + `${fullName(method)} ranks first, filled ${fill}, the network ${outcome}; `
      + `probability of ${named[before]}: ${percent(probabilities[before])}.`;
  }

  // Where nothing is deleted, the maps in one sentence.
  function mapsSentence({ found, pictures: { classes: named }, target }) {
    const counts = Object.entries(found).map(([name, { map }]) =>
      `${fullName(name)} ${thousands(notZero(map))}`);
    return `Pixels that are not zero for ${named[target]}, of ${thousands(PIXELS)}: `
      + `${counts.join(", ")}.`;
  }

  // Of both fills or, in a small explorer, of the chosen one, as far as pixels have been deleted.
  function curves({ curves: found, effect, fill: own, fraction, method, pictures, randomCurves }) {
    const soFar = get("curves").hasAttribute("data-so-far");
    const charts = (soFar ? [own] : Object.keys(FILLS)).map((fill) => {
      const map = found[fill], random = randomCurves?.[fill];
      const key = element("p", { className: "live-key" },
        element("b", {}, `${fill[0].toUpperCase()}${fill.slice(1)} fill`),
        element("span", { className: "live-dash" }), map.area.toFixed(2),
        element("span", { className: "live-dash live-dotted" }),
        `${random ? random.area.toFixed(2) : "…"} random`);
      const label = fullName(method);
      return element("div", {}, key, curve({ fill, map, random, fraction, label, soFar }));
    });
    const note = `Probability of ${pictures.classes[effect.before]}, with the area under each `
      + `${soFar ? "whole " : ""}curve. Open points: the prediction has changed.`;
    get("curves").replaceChildren(...charts, element("p", { className: "live-note" }, note));
  }

  return { bar, classes, curves, get, likeness, maps, mapsSentence, pictures, say, sentence };
})();
