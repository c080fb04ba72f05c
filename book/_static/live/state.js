// The state of an explorer: what may be chosen, and what is; as text, the live page's address.
"use strict";

const liveState = (() => {
  const NETWORKS = { shapes10: "Shapes", cifar10: "CIFAR-10" };
  const REDUCTIONS = { sum: "sum of channels", absmax: "largest |channel|" };
  const FILLS = { black: "black", white: "white" };
  // as under the maps, and in full
  const METHODS = {
    saliency: ["Saliency", "Saliency"],
    positive: ["Positive", "Positive"],
    negative: ["Negative", "Negative"],
    active: ["Active", "Active"],
    inactive: ["Inactive", "Inactive"],
    smoothgrad: ["SmoothGrad", "SmoothGrad"],
    deconvolution: ["Deconvolution", "Deconvolution"],
    guided_backprop: ["Guided backprop.", "Guided backpropagation"],
    rectgrad: ["RectGrad", "RectGrad"],
    rectgrad_prr: ["RectGrad PRR", "RectGrad PRR"],
    input_x_gradient: ["Grad × input", "Gradient × input"],
    integrated_gradients: ["Integrated", "Integrated gradients"],
    epsilon_lrp: ["Epsilon-LRP", "Epsilon-LRP"],
    deeplift: ["DeepLIFT", "DeepLIFT"],
    random: ["Random", "Random order"],
  };

  const choice = (names) => (text) => (Object.hasOwn(names, text) ? text : undefined);
  const number = (low, high) => (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    return value >= low && value <= high ? value : undefined;
  };
  const whole = (low, high) => (text) => {
    const value = number(low, high)(text);
    return Number.isInteger(value) ? value : undefined;
  };
  // key in the address: name, default, what reads it (undefined: no value of this key)
  const KEYS = {
    net: ["network", "shapes10", choice(NETWORKS)],
    p: ["number", null, whole(0, 9999)], // of the test split; null is the first one shown
    c: ["chosenClass", null, (text) => text], // by name; null is the predicted one
    q: ["q", 98, number(0, 99.9)],
    m: ["method", "rectgrad", choice(METHODS)],
    r: ["reduce", "sum", choice(REDUCTIONS)],
    f: ["fraction", 0.1, number(0, 0.9)],
    fill: ["fill", "black", choice(FILLS)],
    redraw: ["redrawn", 0, whole(0, 999)], // how often the output layer was drawn anew
  };
  // beside what the address says, the reader's own picture: { bytes, name, key }
  const state = { own: null };

  // What a text does not say, or not sensibly, is as by default.
  function read(text) {
    const given = new URLSearchParams(text);
    for (const [key, [name, standard, sensible]] of Object.entries(KEYS)) {
      state[name] = (given.has(key) ? sensible(given.get(key)) : undefined) ?? standard;
    }
    state.own = null;
  }

  // Only what differs from the defaults, as the part of an address from its # on.
  function written() {
    const said = new URLSearchParams();
    for (const [key, [name, standard]] of Object.entries(KEYS)) {
      if (state[name] !== standard) said.set(key, state[name]);
    }
    return `${said}` && `#${said}`;
  }

  return { FILLS, METHODS, NETWORKS, REDUCTIONS, read, state, written };
})();
