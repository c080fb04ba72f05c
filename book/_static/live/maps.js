// Every map of both papers that the network allows: the rules by which a gradient goes back, and
// what is made of it. After lib/attribution.
"use strict";

function liveMaps({ backward, forward, relu }, { generator, percentile }) {
  const PIXELS = 32 * 32, CHANNELS = 3;
  const EPSILON = 2 ** -23; // of single precision

  // ---- backward rules of ReLU: the gradient at the output becomes that at the input, in place ---

  const keep = (g, passes) => { for (let n = 0; n < g.length; n++) if (!passes(n)) g[n] = 0; };
  const gradientRule = (g, z) => keep(g, (n) => z[n] > 0);
  const deconvolutionRule = (g) => keep(g, (n) => g[n] > 0);
  const guidedRule = (g, z) => keep(g, (n) => z[n] > 0 && g[n] > 0);

  // Noise, section 4.1: a unit passes its gradient R if a R exceeds the layer's percentile.
  const rectgradRule = (q) => (g, z, a) => {
    const scores = g.map((value, n) => a[n] * value), threshold = percentile(scores, q);
    keep(g, (n) => scores[n] > threshold);
  };

  const lrpRule = (g, z, a) => dampen(g, z, a, Math.fround(1e-4));
  function dampen(g, z, a, epsilon) {
    for (let n = 0; n < g.length; n++) {
      g[n] = Math.fround(g[n] * a[n]) / Math.fround(z[n] + (z[n] >= 0 ? epsilon : -epsilon));
    }
  }

  // DeepLIFT's Rescale rule; where nothing but rounding tells the inputs apart, the derivative.
  const rescaleRule = ({ z, a }) => (g, z1, a1, layer) => rescale(g, z1, a1, z[layer], a[layer]);
  function rescale(g, z, a, z0, a0) { // not within the closure, which engines never get to compile
    for (let n = 0; n < g.length; n++) {
      const change = Math.fround(z[n] - z0[n]);
      const least = 10 * EPSILON * Math.max(Math.abs(z[n]), Math.abs(z0[n]));
      if (Math.abs(change) > least) g[n] *= Math.fround(a[n] - a0[n]) / change;
      else if (z[n] <= 0) g[n] = 0;
    }
  }

  // ---- attributions -------------------------------------------------------------------------

  // What a network says of a picture, and every map of it: { logits, attribution(name, options) }.
  // Options: the class `target`, RectGrad's percentile `q`, `steps` of the two means. What comes
  // back is { values [H][W][C], passed }, the latter as `backward` counts. Passes that several maps
  // share are made once.
  function explain(network, picture) {
    const trace = forward(network, picture), gradients = [];
    const under = (target, options) => backward(network, trace, target, options);
    const plain = (target) => (gradients[target] ??= under(target, { rule: gradientRule }));
    const timesInput = ({ gradient, passed }) =>
      ({ values: gradient.map((g, n) => g * picture[n]), passed });
    const of = ({ gradient, passed }, change = (g) => g) =>
      ({ values: gradient.map(change), passed });

    // the gradient where it is beyond that of every other class
    function beyondRivals(target, beyond) {
      const rivals = [...trace.logits.keys()].filter((c) => c !== target).map(plain);
      const alone = (g, n) => rivals.every((rival) => beyond(g, rival.gradient[n]));
      return of(plain(target), (g, n) => (alone(g, n) ? g : 0));
    }

    function rectified(target, q, prr) {
      const found = timesInput(under(target, { rule: rectgradRule(q), prr, border: true }));
      return { ...found, values: relu(found.values) };
    }

    function deeplift(target) { // from a baseline of 0, grey
      const baseline = (network.baseline ??= forward(network, new Float32Array(picture.length)));
      return timesInput(under(target, { rule: rescaleRule(baseline) }));
    }

    function* smoothed(target, steps) {
      const noise = generator(0), reach = Math.fround(Math.fround(0.1) * range(picture));
      function noisy() {
        const drawn = channelsLast(noise.normal(picture.length));
        return picture.map((v, n) => v + Math.fround(reach * drawn[n]));
      }
      const values = yield* meanGradient(network, target, steps, noisy);
      return { values, passed: plain(target).passed };
    }

    function* integrated(target, steps) { // from grey, a right Riemann sum
      const dimmed = (step) => picture.map((v) => Math.fround((step + 1) / steps) * v);
      const gradient = yield* meanGradient(network, target, steps, dimmed);
      return timesInput({ gradient, passed: plain(target).passed });
    }

    const methods = {
      saliency: ({ target }) => of(plain(target)),
      positive: ({ target }) => of(plain(target), (g) => (g > 0 ? g : 0)),
      negative: ({ target }) => of(plain(target), (g) => (g < 0 ? -g : 0)),
      active: ({ target }) => beyondRivals(target, (own, rival) => own > rival),
      inactive: ({ target }) => beyondRivals(target, (own, rival) => own < rival),
      input_x_gradient: ({ target }) => timesInput(plain(target)),
      deconvolution: ({ target }) => of(under(target, { rule: deconvolutionRule })),
      guided_backprop: ({ target }) => of(under(target, { rule: guidedRule })),
      rectgrad: ({ target, q }) => rectified(target, q, false),
      rectgrad_prr: ({ target, q }) => rectified(target, q, true),
      epsilon_lrp: ({ target }) => timesInput(under(target, { rule: lrpRule })),
      deeplift: ({ target }) => deeplift(target),
      smoothgrad: ({ target, steps }) => smoothed(target, steps),
      integrated_gradients: ({ target, steps }) => integrated(target, steps),
    };
    // a generator: methods of many passes stop after each, for who must not wait
    function* attribution(name, options) {
      const found = methods[name](options);
      return found.next ? yield* found : found;
    }
    return { logits: trace.logits, attribution };
  }

  function* meanGradient(network, target, steps, point) {
    const total = new Float64Array(PIXELS * CHANNELS);
    for (let step = 0; step < steps; step++) {
      const trace = forward(network, point(step));
      const { gradient } = backward(network, trace, target, { rule: gradientRule });
      gradient.forEach((g, n) => { total[n] += g / steps; });
      yield;
    }
    return Float32Array.from(total);
  }

  // The result of a generator whose stops do not matter.
  function finished(steps) {
    let step = steps.next();
    while (!step.done) step = steps.next();
    return step.value;
  }

  // An attribution as a map [H][W]: the largest |channel| (paper Sign) or the sum (paper Noise).
  function toMap(values, reduce) {
    const map = new Float32Array(values.length / CHANNELS);
    for (let n = 0; n < map.length; n++) {
      const [r, g, b] = values.subarray(n * CHANNELS, (n + 1) * CHANNELS);
      map[n] = reduce === "sum" ? Math.fround(r + g) + b
        : Math.max(Math.abs(r), Math.abs(g), Math.abs(b));
    }
    return map;
  }

  function range(values) {
    const [low, high] = values.reduce(
      ([least, most], v) => [Math.min(least, v), Math.max(most, v)], [Infinity, -Infinity]);
    return Math.fround(high - low);
  }

  // [C][H][W] as [H][W][C].
  const channelsLast = (values) =>
    values.map((_, n) => values[(n % CHANNELS) * PIXELS + Math.floor(n / CHANNELS)]);

  // The same network whose output layer is drawn anew: normal about 0 with the standard deviation
  // of the trained weights, biases 0. The book's sanity check uses the seeds 0, 1 and 2.
  function redraw(network, seed) {
    const old = network.output.weight, count = old.length;
    const mean = old.reduce((sum, w) => sum + w, 0) / count;
    const variance = old.reduce((sum, w) => sum + (w - mean) ** 2, 0) / (count - 1);
    const spread = Math.fround(Math.sqrt(variance));
    const weight = generator(seed).normal(count).map((drawn) => spread * drawn);
    const bias = new Float32Array(network.output.bias.length);
    return { ...network, baseline: null, output: { weight, bias } };
  }

  return { explain, finished, redraw, toMap };
}
