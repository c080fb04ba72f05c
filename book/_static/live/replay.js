// Maps of photographs, computed beforehand: each photograph's are one strip of tiles, of which the
// slider chooses RectGrad's.
"use strict";

(() => {
  const { element } = liveDraw;
  const { get } = livePaint;
  const FOLDER = document.currentScript.src.replace(/[^/]*$/, "");
  // what SqueezeNet says of each
  const PHOTOS = {
    astronaut: "barbell", chelsea: "Egyptian cat", coffee: "espresso", rocket: "pole",
  };
  const FIRST = 4, STOPS = [0, 50, 80, 90, 95, 98, 99, 99.5]; // tile of the first stop; percentiles

  function show(photo) {
    get("photo").style.backgroundImage = `url("${FOLDER}${photo}.webp")`;
    for (const tile of get("tiles").querySelectorAll(".live-tile")) {
      tile.style.backgroundImage = `url("${FOLDER}${photo}-maps.webp")`;
    }
    get("photo-says").textContent = `“${PHOTOS[photo]}”`;
  }

  function move() {
    const stop = get("stop").valueAsNumber, words = `${STOPS[stop]} %`;
    get("rectified").style.setProperty("--tile", FIRST + stop);
    get("rectified").setAttribute("aria-label", `RectGrad map at q = ${words}`);
    get("stop-value").textContent = words;
    get("stop").setAttribute("aria-valuetext", words);
  }

  get("photos").append(...Object.keys(PHOTOS).map((photo, n) => {
    const input = element("input", { type: "radio", name: "live-photo", value: photo });
    input.checked = n === 0;
    input.addEventListener("change", () => show(photo));
    return element("label", {}, input, photo);
  }));
  get("stop").addEventListener("input", move);
  get("replay-controls").hidden = false;
  move();
})();
