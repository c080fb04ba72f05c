// The network rectgrad_cnn, forward and backward: plain JavaScript, no library.
//
// Each file here is one function, so that a page can call it and can hand its text to a worker: a
// page opened from disk may load no file. The kernels of lib/attribution and lib/metrics are the
// reference, and tests/book/test_live.py holds every map to them. Arrays are Float32Array, pixel
// after pixel with the channels innermost ([H][W][C]); sums are made in double precision.
"use strict";

function liveNetwork() {
  const BLACK = -1, WHITE = 1; // the range of the network's input
  // of each convolution: width of the picture it works on, channels in and out
  const CONVOLUTIONS = [[32, 3, 32], [32, 32, 32], [16, 32, 64], [16, 64, 64]];
  const KEYS = ["0", "2", "5", "7"], HIDDEN = "11", OUTPUT = "13"; // their names in the file

  // ---- weights ------------------------------------------------------------------------------

  function fromBase64(text) {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let n = 0; n < letters.length; n++) bytes[n] = letters.charCodeAt(n);
    return bytes;
  }

  // Every half-precision number by its bits.
  function halves() {
    const table = new Float32Array(65536);
    for (let bits = 0; bits < 32768; bits++) {
      const exponent = bits >> 10, fraction = bits & 1023;
      const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
      table[bits] = exponent === 31 ? NaN : size;
      table[bits + 32768] = -table[bits];
    }
    return table;
  }

  function widened(raw, half) {
    const bits = new Uint16Array(raw), out = new Float32Array(bits.length);
    for (let n = 0; n < out.length; n++) out[n] = half[bits[n]];
    return out;
  }

  // The tensors of a safetensors file, by name: { shape, values }.
  function tensors(bytes) {
    const length = new DataView(bytes.buffer).getUint32(0, true); // of 64 bits; the rest is zero
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const half = halves(), found = {};
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const raw = bytes.slice(8 + length + from, 8 + length + to).buffer;
      if (dtype !== "F16" && dtype !== "F32") throw new Error(`${name} is stored as ${dtype}`);
      found[name] = { shape, values: dtype === "F32" ? new Float32Array(raw) : widened(raw, half) };
    }
    return found;
  }

  // A convolution's weights [out][in][3][3], packed as each of the two passes reads them.
  function convolution([side, inputs, outputs], weight, bias) {
    const ahead = new Float32Array(weight.length), back = new Float32Array(weight.length);
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let tap = 0; tap < 9; tap++) {
          const value = weight[(o * inputs + i) * 9 + tap];
          ahead[(((o >> 2) * 9 + tap) * inputs + i) * 4 + (o & 3)] = value;
          back[(o * 9 + tap) * inputs + i] = value;
        }
      }
    }
    return { side, inputs, outputs, ahead, back, bias };
  }

  // The network out of the bytes of its safetensors file.
  function read(bytes) {
    const found = tensors(bytes);
    const values = (key, part) => found[`${key}.${part}`].values;
    const layers = CONVOLUTIONS.map((size, n) =>
      convolution(size, values(KEYS[n], "weight"), values(KEYS[n], "bias")));
    // the first dense layer's columns go from channels outermost to channels innermost
    const stored = values(HIDDEN, "weight"), units = found[`${HIDDEN}.weight`].shape[0];
    const dense = new Float32Array(stored.length);
    for (let unit = 0; unit < units; unit++) {
      for (let c = 0; c < 64; c++) {
        for (let place = 0; place < 64; place++) {
          dense[unit * 4096 + place * 64 + c] = stored[unit * 4096 + c * 64 + place];
        }
      }
    }
    return {
      layers,
      hidden: { weight: dense, bias: values(HIDDEN, "bias") },
      output: { weight: values(OUTPUT, "weight"), bias: values(OUTPUT, "bias") },
    };
  }

  // Bytes [H][W][C] in the network's range: 0 is black, 255 white.
  const toRange = (bytes) =>
    Float32Array.from(bytes, (b) => Math.fround(b * Math.fround((WHITE - BLACK) / 255)) + BLACK);

  // ---- the two passes -----------------------------------------------------------------------

  // [side][side][channels] with a border of zeros.
  function padded(values, side, channels) {
    const out = new Float32Array((side + 2) * (side + 2) * channels), row = side * channels;
    for (let y = 0; y < side; y++) {
      out.set(values.subarray(y * row, (y + 1) * row), ((y + 1) * (side + 2) + 1) * channels);
    }
    return out;
  }

  // Two pixels and four channels at a time, so that eight sums stay in registers.
  function convolve({ side, inputs, outputs, ahead, bias }, values) {
    const from = padded(values, side, inputs), out = new Float32Array(side * side * outputs);
    const row = (side + 2) * inputs, run = 3 * inputs;
    for (let o = 0; o < outputs; o += 4) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x += 2) {
          let a0 = bias[o], a1 = bias[o + 1], a2 = bias[o + 2], a3 = bias[o + 3];
          let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
          for (let ky = 0; ky < 3; ky++) {
            let at = (y + ky) * row + x * inputs, w = 3 * o * run + 4 * ky * run;
            for (const end = at + run; at < end; at++, w += 4) {
              const a = from[at], b = from[at + inputs];
              const w0 = ahead[w], w1 = ahead[w + 1], w2 = ahead[w + 2], w3 = ahead[w + 3];
              a0 += a * w0; a1 += a * w1; a2 += a * w2; a3 += a * w3;
              b0 += b * w0; b1 += b * w1; b2 += b * w2; b3 += b * w3;
            }
          }
          const to = (y * side + x) * outputs + o;
          out[to] = a0; out[to + 1] = a1; out[to + 2] = a2; out[to + 3] = a3;
          out[to + outputs] = b0; out[to + outputs + 1] = b1;
          out[to + outputs + 2] = b2; out[to + outputs + 3] = b3;
        }
      }
    }
    return out;
  }

  // The gradient at a convolution's input. What is zero is skipped: RectGrad leaves little.
  function convolveBack({ side, inputs, outputs, back }, gradient) {
    const wide = new Float32Array((side + 2) * (side + 2) * inputs);
    const row = (side + 2) * inputs, run = 3 * inputs;
    let at = 0;
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        for (let o = 0; o < outputs; o++) {
          const g = gradient[at++];
          if (g === 0) continue;
          let w = o * 3 * run;
          for (let ky = 0; ky < 3; ky++) {
            let to = (y + ky) * row + x * inputs;
            for (const end = to + run; to < end; to++, w++) wide[to] += g * back[w];
          }
        }
      }
    }
    const out = new Float32Array(side * side * inputs), length = side * inputs;
    for (let y = 0; y < side; y++) {
      const start = ((y + 1) * (side + 2) + 1) * inputs;
      out.set(wide.subarray(start, start + length), y * length);
    }
    return out;
  }

  function multiply({ weight, bias }, values) {
    const out = new Float32Array(bias.length);
    for (let unit = 0; unit < out.length; unit++) {
      const row = unit * values.length;
      let a = bias[unit], b = 0, c = 0, d = 0; // four sums that need not wait for one another
      for (let n = 0; n < values.length; n += 4) {
        a += weight[row + n] * values[n];
        b += weight[row + n + 1] * values[n + 1];
        c += weight[row + n + 2] * values[n + 2];
        d += weight[row + n + 3] * values[n + 3];
      }
      out[unit] = a + b + c + d;
    }
    return out;
  }

  function multiplyBack({ weight, bias }, gradient) {
    const count = weight.length / bias.length, out = new Float32Array(count);
    for (let unit = 0; unit < gradient.length; unit++) {
      const g = gradient[unit], row = unit * count;
      if (g !== 0) for (let n = 0; n < count; n++) out[n] += g * weight[row + n];
    }
    return out;
  }

  const relu = (values) => values.map((v) => (v > 0 ? v : 0));

  // The places of the four values that are pooled into one, of a layer of this width.
  function eachWindow(side, channels, visit) {
    let to = 0;
    for (let y = 0; y < side; y += 2) {
      for (let x = 0; x < side; x += 2) {
        for (let c = 0; c < channels; c++) {
          const first = (y * side + x) * channels + c, below = first + side * channels;
          visit(to++, first, first + channels, below, below + channels);
        }
      }
    }
  }

  // Maxima, and where each was found: the first of equals.
  function pool(values, side, channels) {
    const out = new Float32Array(values.length / 4), winners = new Int32Array(out.length);
    eachWindow(side, channels, (to, ...places) => {
      let winner = places[0];
      for (const place of places) if (values[place] > values[winner]) winner = place;
      winners[to] = winner;
      out[to] = values[winner];
    });
    return { out, winners };
  }

  function poolBack(gradient, { winners }) {
    const out = new Float32Array(gradient.length * 4);
    for (let n = 0; n < gradient.length; n++) out[winners[n]] += gradient[n];
    return out;
  }

  // PRR: what comes back is shared out in proportion to the activations.
  function poolBackInProportion(gradient, { values, side, channels }) {
    const out = new Float32Array(values.length);
    eachWindow(side, channels, (from, ...places) => {
      const mean = Math.fround(places.reduce((sum, place) => sum + values[place], 0) / 4);
      const share = gradient[from] / Math.fround(mean + 1e-10) / 4;
      for (const place of places) out[place] = values[place] * share;
    });
    return out;
  }

  // One forward pass: the logits, and all that the way back needs.
  function forward({ layers, hidden, output }, picture) {
    const z = [], a = [], pools = [];
    let values = picture;
    layers.forEach((layer, n) => {
      z.push(convolve(layer, values));
      values = relu(z[n]);
      a.push(values);
      if (n % 2) { // a maximum follows every second one
        const { out, winners } = pool(values, layer.side, layer.outputs);
        pools.push({ winners, values, side: layer.side, channels: layer.outputs });
        values = out;
      }
    });
    z.push(multiply(hidden, values));
    a.push(relu(z[4]));
    return { z, a, pools, logits: multiply(output, a[4]) };
  }

  // The gradient at a convolution's output without its border of one pixel (the padding trick).
  function withoutBorder(gradient, side, channels) {
    for (let n = 0; n < gradient.length; n += channels) {
      const x = (n / channels) % side, y = Math.floor(n / channels / side);
      if (x === 0 || y === 0 || x === side - 1 || y === side - 1) gradient.fill(0, n, n + channels);
    }
  }

  // From one logit back to the picture under a rule: the gradient [H][W][C], and of each of the
  // five layers of ReLUs how many units pass something on.
  function backward({ layers, hidden, output }, trace, target, { rule, prr, border }) {
    const passed = new Array(5);
    function gate(gradient, n) {
      rule(gradient, trace.z[n], trace.a[n], n);
      passed[n] = gradient.reduce((count, g) => count + (g !== 0), 0);
    }
    const start = new Float32Array(trace.logits.length);
    start[target] = 1;
    let gradient = multiplyBack(output, start);
    gate(gradient, 4);
    gradient = multiplyBack(hidden, gradient);
    for (let n = 3; n >= 0; n--) {
      if (n % 2) gradient = (prr ? poolBackInProportion : poolBack)(gradient, trace.pools[n >> 1]);
      gate(gradient, n);
      if (border) withoutBorder(gradient, layers[n].side, layers[n].outputs);
      gradient = convolveBack(layers[n], gradient);
    }
    return { gradient, passed };
  }

  return { BLACK, WHITE, backward, forward, fromBase64, read, relu, toRange };
}
