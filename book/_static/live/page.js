// An explorer: its data, its controls, and its talk with the worker. The live page has every
// control, and its state is its address. A small explorer in a chapter has some; it begins in the
// state of its data-state and keeps it in a link to the live page.
"use strict";

// What the scripts of data hand over: liveData("weights", "cifar10", ...).
const liveHeld = {};
const liveData = (kind, name, content) => { liveHeld[`${kind} ${name}`] = content; };

(() => {
  const { element, picture: drawPicture, scale } = liveDraw;
  const { FILLS, METHODS, NETWORKS, REDUCTIONS, read, state, written } = liveState;
  const { bar, get, say } = livePaint;
  const FOLDER = document.currentScript.src.replace(/[^/]*$/, "");
  const SOURCES = { shapes10: "Shapes10, drawn", cifar10: "CIFAR-10 (Krizhevsky 2009)" };
  const SIDE = 32, BYTES = 3 * SIDE * SIDE; // of a picture
  const root = document.getElementById("live"), link = get("open");
  const methods = get("grid").dataset.methods?.split(" ") ?? Object.keys(METHODS);

  // ---- data: a network is loaded when it is chosen ---------------------------------------------

  const loading = {};

  function load(file) {
    return (loading[file] ??= new Promise((done, failed) => {
      const script = element("script", { src: FOLDER + file });
      script.onload = done;
      script.onerror = () => failed(new Error(`${file} could not be loaded`));
      document.head.append(script);
    }));
  }

  // The pictures of a network, which the worker gets.
  async function open(name) {
    await Promise.all([load(`pictures-${name}.js`), load(`weights-${name}.js`)]);
    const weights = `weights ${name}`;
    if (liveHeld[weights]) worker.postMessage({ name, weights: liveHeld[weights] });
    delete liveHeld[weights]; // the worker has it
    const held = liveHeld[`pictures ${name}`];
    if (typeof held.pixels === "string") held.pixels = liveNetwork().fromBase64(held.pixels);
    return held;
  }

  const bytesOf = ({ pixels }, place) => pixels.subarray(BYTES * place, BYTES * (place + 1));
  // where the chosen picture is; the first one, if none is
  const place = () => Math.max(0, pictures.numbers.indexOf(state.number));

  // ---- the worker: one request in flight, the newest state next --------------------------------

  // A page opened from disk may start a worker only from text that it has at hand.
  const worker = new Worker(URL.createObjectURL(new Blob([`"use strict";
    const network = (${liveNetwork})(), numbers = (${liveNumbers})();
    const maps = (${liveMaps})(network, numbers), deletion = (${liveDeletion})(network, numbers);
    (${liveWorker})(network, numbers, maps, deletion);`], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => { if (data.number === sent) hear(data); };
  worker.onerror = (event) => fail(event.message);

  let pictures = null, shown = {}, sent = 0, waiting = false, stale = false;

  // No step of the browser's history.
  function keepState() {
    const hash = written();
    if (link) link.hash = hash;
    else if (hash !== location.hash) {
      history.replaceState(null, "", location.pathname + location.search + hash);
    }
  }

  function ask() {
    keepState();
    if (waiting) {
      stale = true;
      return;
    }
    const { network, q, method, reduce, fraction, fill, redrawn, own } = state;
    const chosenPlace = pictures.classes.indexOf(state.chosenClass);
    const request = {
      network, q, method, reduce, fraction, fill, redrawn, methods,
      number: ++sent, withCurves: get("curves") !== null,
      target: chosenPlace < 0 ? null : chosenPlace,
      bytes: own?.bytes ?? bytesOf(pictures, place()), pictureName: own?.key ?? `${place()}`,
    };
    // what is shown stays until there is an answer
    shown = { ...shown, ...request, pictures, curves: null, randomCurves: null };
    waiting = true;
    get("grid").setAttribute("aria-busy", "true");
    worker.postMessage(request);
  }

  function hear(answer) {
    if (answer.error) return fail(answer.error);
    if (answer.first) begin(answer);
    if (answer.found) {
      Object.assign(shown.found, answer.found);
      livePaint.maps(answer.found, shown);
    }
    if (answer.likeness) {
      Object.assign(shown.likeness, answer.likeness);
      livePaint.likeness(answer.likeness);
    }
    if (answer.curves) {
      shown.curves = answer.curves;
      get("status").textContent = livePaint.sentence(shown);
    }
    if (answer.randomCurves) shown.randomCurves = answer.randomCurves;
    if (answer.curves || answer.randomCurves) livePaint.curves(shown);
    if (answer.done) {
      get("grid").setAttribute("aria-busy", "false");
      if (!shown.withCurves) get("status").textContent = livePaint.mapsSentence(shown);
    }
    if (answer.first && stale) {
      stale = false;
      ask();
    }
  }

  // The first answer to a request: what must not lag behind a slider.
  function begin({ target, probabilities, effect }) {
    waiting = false;
    shown = { ...shown, target, probabilities, effect, answered: sent, found: {}, likeness: {} };
    livePaint.classes(shown);
    livePaint.pictures(shown);
    const pressed = get("start") && document.activeElement === get("start");
    get("still").hidden = true;
    root.hidden = false;
    if (pressed) get("pictures").querySelector(":checked").focus({ preventScroll: true });
  }

  function fail(message) {
    waiting = false;
    root.hidden = false;
    say("loading", "");
    get("status").textContent = `This page has stopped: ${message}. Load it again.`;
  }

  // ---- controls ---------------------------------------------------------------------------------

  function set(changes) {
    Object.assign(state, changes);
    update();
  }

  // Radio buttons in a box: what arrow keys move through. Entries: [value, text or nodes].
  function radios(id, name, entries, change) {
    get(id)?.replaceChildren(...entries.map(([value, content]) => {
      const input = element("input", { type: "radio", name: `live-${name}`, value });
      input.addEventListener("change", () => change(value));
      return element("label", {}, input, ...[content].flat());
    }));
  }

  function check(id, value) {
    for (const input of get(id)?.querySelectorAll("input") ?? []) {
      input.checked = input.value === `${value}`;
    }
  }

  // A slider for one name of the state; returns what shows the state on it.
  function slider(id, name, inWords) {
    const input = get(id);
    if (!input) return () => {};
    input.addEventListener("input", () => set({ [name]: input.valueAsNumber }));
    return () => {
      input.value = state[name];
      get(`${id}-value`).textContent = inWords(state[name]);
      input.setAttribute("aria-valuetext", inWords(state[name]));
    };
  }

  const showQ = slider("q", "q", (q) => `${q} %`);
  const showFraction = slider("fraction", "fraction", (f) => `${Math.round(100 * f)} %`);
  const canvas = (attributes = { "aria-hidden": "true" }) =>
    element("canvas", { width: SIDE, height: SIDE, ...attributes });

  function build() {
    radios("networks", "net", Object.entries(NETWORKS),
      (network) => set({ network, number: null, chosenClass: null, redrawn: 0, own: null }));
    radios("reductions", "reduce", Object.entries(REDUCTIONS), (reduce) => set({ reduce }));
    radios("fills", "fill", Object.entries(FILLS), (fill) => set({ fill }));
    get("fills")?.prepend(element("span", {}, "Filled"));
    buildMaps();
    get("redraw")?.addEventListener("click", () => set({ redrawn: state.redrawn + 1 }));
    get("trained")?.addEventListener("click", () => set({ redrawn: 0 }));
    get("own")?.addEventListener("change", ({ target }) => takeOwn(target.files[0]));
  }

  // To be chosen from where pixels are deleted, else to be looked at.
  function buildMaps() {
    const choosing = get("fraction") !== null;
    const attributes = choosing ? { "aria-hidden": "true" } : { role: "img" };
    const cells = methods.map((name) => [name, [canvas({ ...attributes, "data-method": name }),
      METHODS[name][0], element("span", { className: "live-rho" })]]);
    if (choosing) radios("grid", "map", cells, (method) => set({ method }));
    else get("grid").replaceChildren(...cells.map(([, content]) => element("div", {}, ...content)));
  }

  // Thumbnails and classes of the network that is open.
  function buildPictures() {
    const { numbers, labels, classes } = pictures;
    const thumbs = numbers.map((number) => [number, canvas()]);
    radios("pictures", "picture", thumbs,
      (number) => set({ number, chosenClass: null, own: null }));
    get("pictures").querySelectorAll("label").forEach((label, n) => {
      const [input, thumb] = label.children;
      drawPicture(thumb, bytesOf(pictures, n));
      label.title = `test picture ${numbers[n]}: ${classes[labels[n]]}`;
      input.setAttribute("aria-label", label.title);
    });
    const rows = classes.map((name) => [name, [
      element("span", {}, name), bar(0), element("span", { className: "live-percent" }),
    ]]);
    radios("classes", "class", rows, (chosenClass) => set({ chosenClass }));
    say("numbers", `${SOURCES[state.network]}, test pictures ${numbers.join(", ")}: `
      + "the first two of each class that the network gets right, then the first four that it gets "
      + "wrong.");
  }

  // The reader's picture: its middle square at 32 x 32. It never leaves the page.
  async function takeOwn(file) {
    if (!file) return;
    try {
      const bytes = scaled(await createImageBitmap(file));
      const own = { bytes, name: file.name, key: `${file.name} ${file.lastModified}` };
      set({ own, number: null, chosenClass: null });
    } catch {
      get("status").textContent =
        `${file.name} is no picture that this browser can read; choose another file.`;
    }
  }

  function scaled(image) {
    const side = Math.min(image.width, image.height), context = canvas().getContext("2d");
    context.fillStyle = "#fff"; // behind what is transparent
    context.fillRect(0, 0, SIDE, SIDE);
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side,
      0, 0, SIDE, SIDE);
    const rgba = context.getImageData(0, 0, SIDE, SIDE).data;
    return Uint8Array.from({ length: BYTES }, (_, n) => rgba[4 * Math.floor(n / 3) + (n % 3)]);
  }

  function showControls() {
    showQ();
    showFraction();
    check("reductions", state.reduce);
    check("fills", state.fill);
    check("grid", state.method);
    check("pictures", state.own ? null : pictures.numbers[place()]);
    scale(get("scale"), state.reduce);
    say("ranked-by", METHODS[state.method][0]);
    if (get("trained")) get("trained").disabled = !state.redrawn;
    const { numbers, labels, classes } = pictures;
    get("origin").textContent = state.own ? `Your own: ${state.own.name}`
      : `${NETWORKS[state.network]}, test picture ${numbers[place()]}: ${classes[labels[place()]]}`;
    say("sanity", state.redrawn
      ? `Random weights, draw ${state.redrawn}. ρ: rank correlation with the map before.`
      : "Random weights instead of learnt ones: which maps notice?");
  }

  async function update() {
    const { network } = state;
    check("networks", network);
    if (network !== openNetwork) {
      for (const box of ["status", "loading"]) {
        say(box, `Loading the network for ${NETWORKS[network]} (3 MB) …`);
      }
      try {
        pictures = await open(network);
      } catch (error) {
        return fail(error.message);
      }
      if (state.network !== network) return; // another one was chosen meanwhile
      openNetwork = network;
      buildPictures();
    }
    if (!pictures.numbers.includes(state.number)) state.number = null;
    if (!pictures.classes.includes(state.chosenClass)) state.chosenClass = null;
    showControls();
    ask();
  }

  let openNetwork = null;
  globalThis.liveShown = () => shown; // what is shown, as numbers: for a console, and for the tests
  function enter() {
    read(root.dataset.state ?? location.hash.slice(1));
    update();
  }

  build();
  enter();
  if (!link) addEventListener("hashchange", enter);
})();
