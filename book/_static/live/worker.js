// What runs beside the page: it answers to "this picture in this state", the most wanted first.
"use strict";

function liveWorker(network, { generator }, maps, deletion) {
  const { BLACK, WHITE, forward, fromBase64, read, toRange } = network;
  const STEPS = 10; // of SmoothGrad and integrated gradients
  const ORDERS = 3; // random orders of pixels, whose mean is the random curve
  const SLOW = ["smoothgrad", "integrated_gradients"];
  const FILLS = { black: BLACK, white: WHITE };
  const networks = {};
  let wanted = null, busy = false;

  self.onmessage = ({ data }) => {
    if (data.weights) networks[data.name] = read(fromBase64(data.weights));
    else wanted = data;
    if (wanted && !busy) serve();
  };

  // The newest request alone; an older one is left as soon as it can be.
  async function serve() {
    busy = true;
    while (wanted) {
      const request = wanted;
      wanted = null;
      try {
        for (const answer of answers(request)) {
          if (answer) self.postMessage({ number: request.number, ...answer });
          await breath();
          if (wanted) break;
        }
      } catch (error) {
        self.postMessage({ number: request.number, error: String(error) });
      }
    }
    busy = false;
  }

  // Long enough for a message to be heard; timers would wait four milliseconds.
  const channel = new MessageChannel();
  const breath = () => new Promise((heard) => {
    channel.port1.onmessage = heard;
    channel.port2.postMessage(null);
  });

  // ---- what is known of the picture at hand -------------------------------------------------

  const known = { picture: null, sides: {} };

  // A picture under the trained network, or under one whose output layer was redrawn: `kept` holds
  // what has been computed, by name, each with the key of the state that it belongs to.
  function side({ network: name, pictureName, bytes }, redrawn) {
    if (known.picture !== `${name}/${pictureName}`) {
      known.picture = `${name}/${pictureName}`;
      known.sides = {};
    }
    return (known.sides[redrawn] ??= opened());

    function opened() {
      const trained = networks[name];
      const network = redrawn ? maps.redraw(trained, redrawn - 1) : trained;
      const picture = toRange(bytes);
      return { network, picture, explained: maps.explain(network, picture), kept: {} };
    }
  }

  function* once({ kept }, name, key, compute) {
    if (kept[name]?.key !== key) kept[name] = { key, value: yield* compute() };
    return kept[name].value;
  }

  function* attribution(of, name, { target, q }) {
    if (name === "random") return { values: generator(0).uniform(1024), passed: null };
    const key = name.startsWith("rectgrad") ? `${target} ${q}` : `${target}`;
    const options = { target, q, steps: STEPS };
    return yield* once(of, name, key, () => of.explained.attribution(name, options));
  }

  function* mapOf(of, name, request) {
    const { values, passed } = yield* attribution(of, name, request);
    const reduce = name === "active" || name === "inactive" ? "absmax" : request.reduce;
    return { map: name === "random" ? values : maps.toMap(values, reduce), passed };
  }

  // ---- the answers --------------------------------------------------------------------------

  function* answers(asked) {
    const shown = side(asked, asked.redrawn), trained = side(asked, 0);
    // the trained network's prediction, as in the book's sanity check
    const target = asked.target ?? deletion.predicted(trained.explained.logits);
    const request = { ...asked, target };
    const live = ["rectgrad", "rectgrad_prr"].filter((name) => request.methods.includes(name));
    const first = [...new Set([request.method, ...live])], found = {};
    for (const name of first) found[name] = yield* mapOf(shown, name, request);
    const ranked = found[request.method].map;
    yield {
      first: true, target, found,
      probabilities: deletion.probabilities(shown.explained.logits),
      effect: effect(shown, ranked, request),
    };
    const rest = request.methods.filter((name) => !first.includes(name));
    const quick = rest.filter((name) => !SLOW.includes(name));
    for (const name of quick) yield { found: { [name]: yield* mapOf(shown, name, request) } };
    if (request.withCurves) yield { curves: yield* curves(shown, ranked, request) };
    if (request.redrawn) yield* likenesses([...first, ...quick], shown, trained, request);
    for (const name of rest.filter((other) => SLOW.includes(other))) {
      yield { found: { [name]: yield* mapOf(shown, name, request) } };
      if (request.redrawn) yield* likenesses([name], shown, trained, request);
    }
    if (request.withCurves) {
      yield { randomCurves: yield* once(shown, "random curves", "", () => randomCurves(shown)) };
    }
    yield { done: true };
  }

  // The picture without the pixels that the map ranks first, and what the network says of it.
  function effect({ network, picture, explained }, map, { fraction, fill }) {
    const marks = deletion.chosen(map, fraction);
    const altered = deletion.filled(picture, marks, FILLS[fill]);
    const before = deletion.predicted(explained.logits), logits = forward(network, altered).logits;
    const after = deletion.predicted(logits);
    return { marks, before, after, probabilities: deletion.probabilities(logits) };
  }

  function* curves(of, map, { method, target, q, reduce }) {
    const key = `${method} ${target} ${q} ${reduce}`;
    return yield* once(of, "curves", key, () => bothFills(of, map));
  }

  function* bothFills({ network, picture }, map) {
    const found = {};
    for (const [name, fill] of Object.entries(FILLS)) {
      const curve = yield* deletion.curve(network, picture, map, fill);
      found[name] = { ...curve, area: deletion.area(curve.probability) };
    }
    return found;
  }

  // The mean over a few random orders.
  function* randomCurves(of) {
    const drawn = [];
    for (let seed = 0; seed < ORDERS; seed++) {
      drawn.push(yield* bothFills(of, generator(seed).uniform(1024)));
    }
    const mean = (numbers) => numbers.reduce((sum, v) => sum + v, 0) / numbers.length;
    return Object.fromEntries(Object.keys(FILLS).map((fill) => {
      const runs = drawn.map((one) => one[fill]);
      const at = (n) => mean(runs.map((run) => run.probability[n]));
      const probability = deletion.FRACTIONS.map((_, n) => at(n));
      return [fill, { probability, area: deletion.area(probability) }];
    }));
  }

  // How alike the maps of the two networks are: what a sanity check looks at.
  function* likenesses(names, shown, trained, request) {
    const likeness = {};
    for (const name of names.filter((other) => other !== "random")) {
      const { map } = yield* mapOf(shown, name, request);
      const { map: before } = yield* mapOf(trained, name, request);
      likeness[name] = deletion.rankCorrelation(map, before);
    }
    yield { likeness };
  }
}
