// Deleting the pixels that a map ranks first, and how alike two maps are. After lib/metrics.
"use strict";

function liveDeletion({ forward }, { roundedToEven }) {
  const CHANNELS = 3;
  const FRACTIONS = [0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

  // Which pixels the released rule of paper Sign deletes: strictly above the value at rank
  // round(fraction * H * W) of the descending order, and not zero.
  function chosen(map, fraction) {
    const rank = roundedToEven(fraction * map.length), ascending = map.slice().sort();
    const threshold = rank < map.length ? ascending[map.length - 1 - rank] : -Infinity;
    return map.map((v) => (v > threshold && v !== 0 ? 1 : 0));
  }

  const filled = (picture, marks, fill) =>
    picture.map((v, n) => (marks[Math.floor(n / CHANNELS)] ? fill : v));

  function probabilities(logits) {
    const highest = Math.max(...logits), powers = Array.from(logits, (l) => Math.exp(l - highest));
    const sum = powers.reduce((total, p) => total + p, 0);
    return powers.map((p) => p / sum);
  }

  const predicted = (logits) => logits.indexOf(Math.max(...logits));

  // The probability of the class predicted first, after each of the paper's fractions; a generator
  // that stops after every forward pass. Also whether the prediction is still that class.
  function* curve(network, picture, map, fill) {
    const original = forward(network, picture).logits, own = predicted(original);
    const probability = [], kept = [];
    let logits = original, before = 0;
    for (const fraction of FRACTIONS) {
      const marks = chosen(map, fraction), count = marks.reduce((sum, m) => sum + m, 0);
      if (count > before) {
        logits = forward(network, filled(picture, marks, fill)).logits;
        yield;
      }
      before = count;
      probability.push(probabilities(logits)[own]);
      kept.push(predicted(logits) === own);
    }
    return { probability, kept };
  }

  // Area under values at the paper's fractions, by trapezoids; not extended to 1.
  function area(values) {
    return FRACTIONS.slice(1).reduce(
      (sum, fraction, n) => sum + (fraction - FRACTIONS[n]) * (values[n] + values[n + 1]) / 2, 0);
  }

  // Spearman's rank correlation of two maps; ties share their mean rank, a constant map gives 0.
  function rankCorrelation(first, second) {
    const [one, other] = [first, second].map(centredRanks);
    const dot = (a, b) => a.reduce((sum, v, n) => sum + v * b[n], 0);
    const norm = Math.sqrt(dot(one, one) * dot(other, other));
    return norm > 0 ? dot(one, other) / norm : 0;
  }

  function centredRanks(map) {
    const order = [...map.keys()].sort((m, n) => map[m] - map[n]);
    const ranks = new Float64Array(map.length);
    for (let from = 0, to = 0; from < order.length; from = to) {
      while (to < order.length && map[order[to]] === map[order[from]]) to++;
      for (let n = from; n < to; n++) ranks[order[n]] = (from + to - order.length) / 2;
    }
    return ranks;
  }

  return { FRACTIONS, area, chosen, curve, filled, predicted, probabilities, rankCorrelation };
}
