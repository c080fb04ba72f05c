// What the live page draws: pictures, maps in the book's colours, bars and curves. No library.
"use strict";

const liveDraw = (() => {
  const SIDE = 32, PIXELS = SIDE * SIDE;
  const FRACTIONS = [0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
  // ColorBrewer's RdBu, reversed: blue speaks against the class, red for it, white is 0
  const DIVERGING = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7",
    "#f4a582", "#d6604d", "#b2182b", "#67001f"].map(
    (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in made && key !== "role") made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function svg(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // RGB [PIXELS * 3] onto a canvas of 32 x 32; `changed` [PIXELS], where not 0, takes `colour`.
  function picture(canvas, bytes, changed = null, colour = 0) {
    const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE);
    for (let n = 0; n < PIXELS; n++) {
      for (let c = 0; c < 3; c++) image.data[4 * n + c] = changed?.[n] ? colour : bytes[3 * n + c];
      image.data[4 * n + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // A sum of channels diverges from white at 0, its outliers capped as in paper Noise, appendix
  // F.1; a largest value is white on black, as in paper Sign.
  function map(canvas, values, reduce) {
    const bytes = new Uint8Array(3 * PIXELS), ascending = values.slice().sort();
    const colour = reduce === "sum" ? diverging(ascending) : grey(ascending);
    values.forEach((v, n) => bytes.set(colour(v), 3 * n));
    picture(canvas, bytes);
  }

  function diverging(ascending) {
    const low = quantile(ascending, 0.005), high = quantile(ascending, 0.995);
    const reach = Math.max(-low, high, 0) || 1;
    return (v) => {
      const at = (Math.min(Math.max(v, low), high) / reach + 1) * 5;
      const below = Math.min(Math.floor(at), 9), share = at - below;
      return DIVERGING[below].map((c, k) => Math.round(c + share * (DIVERGING[below + 1][k] - c)));
    };
  }

  function grey(ascending) {
    const low = ascending[0], width = ascending[ascending.length - 1] - low || 1;
    return (v) => new Array(3).fill(Math.round((255 * (v - low)) / width));
  }

  function quantile(ascending, share) {
    const at = share * (ascending.length - 1), below = Math.floor(at);
    const next = ascending[Math.min(below + 1, ascending.length - 1)];
    return ascending[below] + (at - below) * (next - ascending[below]);
  }

  // The colour scale in words and colours.
  function scale(box, reduce) {
    const stops = reduce === "sum"
      ? DIVERGING.map((colour) => `rgb(${colour})`).join(",") : "#000,#fff";
    const [low, high] = reduce === "sum" ? ["against", "for"] : ["none", "most"];
    const bar = element("span", { className: "live-ramp" });
    bar.style.background = `linear-gradient(to right, ${stops})`;
    box.replaceChildren(low, bar, high);
  }

  // Probability of the class along the deletion, for one fill: the map's curve and that of random
  // pixels. An open point: the network has changed its mind. With `soFar`, what lies beyond the
  // share deleted is not drawn.
  function curve({ fill, map, random, fraction, label, soFar }) {
    const width = 250, height = 112, left = 36, right = 6, top = 6, bottom = 28;
    const x = (f) => left + (f / 0.9) * (width - left - right);
    const y = (p) => top + (1 - p) * (height - top - bottom);
    const text = (at, anchor, words) => svg("text", { ...at, "text-anchor": anchor }, words);
    const line = (kind, values) => svg("path", { class: kind,
      d: values.map((p, n) => `${n ? "L" : "M"}${x(FRACTIONS[n])} ${y(p)}`).join("") });
    const rules = [0, 0.5, 1].flatMap((p) => [
      svg("line", { class: "live-rule", x1: left, x2: width - right, y1: y(p), y2: y(p) }),
      text({ x: left - 4, y: y(p) + 4 }, "end", `${100 * p} %`)]);
    const ticks = [0, 0.3, 0.6, 0.9].map((f) =>
      text({ x: x(f), y: height - bottom + 13 }, f < 0.9 ? "middle" : "end", `${100 * f} %`));
    const now = { x1: x(fraction), x2: x(fraction), y1: top, y2: height - bottom };
    const kind = (kept) => (kept ? "live-kept" : "live-changed");
    const points = map.probability.map((p, n) =>
      svg("circle", { class: kind(map.kept[n]), cx: x(FRACTIONS[n]), cy: y(p), r: 2.6 }));
    const words = told(fill, map, random, label);
    const seen = svg("svg", { width: soFar ? x(fraction) + 3 : width, height },
      ...(random ? [line("live-random", random.probability)] : []),
      line("live-line", map.probability), ...points);
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
      ...rules, ...ticks, text({ x: x(0.45), y: height - 3 }, "middle", "of the pixels deleted"),
      svg("line", { class: "live-now", ...now }), seen);
  }

  // A curve in words.
  function told(fill, map, random, label) {
    const [first, last] = [map.probability[0], map.probability.at(-1)].map(percent);
    return `${label}, ${fill} fill: the probability goes from ${first} to ${last} as 90 % of the `
      + `pixels are deleted; area ${map.area.toFixed(2)}`
      + (random ? `, of random pixels ${random.area.toFixed(2)}` : "");
  }

  const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;

  return { curve, element, map, percent, picture, scale };
})();
