// Percentiles as the kernels take them, and PyTorch's random numbers, so that noise and new weights
// are the book's own.
"use strict";

function liveNumbers() {
  // The value at index round((n - 1) q / 100) of the ascending order.
  function percentile(values, q) {
    const rank = roundedToEven(((values.length - 1) * q) / 100);
    const above = values.filter((v) => v > 0), zerosEnd = values.length - above.length;
    if (rank >= zerosEnd) return above.sort()[rank - zerosEnd]; // typed arrays sort by number
    const below = values.filter((v) => v < 0);
    return rank < below.length ? below.sort()[rank] : 0;
  }

  // As Python rounds: halves to the even neighbour.
  function roundedToEven(value) {
    const near = Math.round(value);
    return near - value === 0.5 && near % 2 ? near - 1 : near;
  }

  // Mersenne Twister, with the floats that PyTorch makes of it on a CPU.
  function generator(seed) {
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let n = 1; n < 624; n++) {
      state[n] = Math.imul(1812433253, state[n - 1] ^ (state[n - 1] >>> 30)) + n;
    }
    let next = 624;
    function twist() {
      for (let n = 0; n < 624; n++) {
        const y = (state[n] & 0x80000000) | (state[(n + 1) % 624] & 0x7fffffff);
        state[n] = state[(n + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    function bits() {
      if (next === 624) twist();
      let y = state[next++];
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    }
    function uniform(count) {
      const drawn = new Float32Array(count);
      for (let n = 0; n < count; n++) drawn[n] = (bits() & 0xffffff) / 16777216;
      return drawn;
    }
    // of a count that 16 divides: eight radii, then their eight angles
    function normal(count) {
      const drawn = uniform(count);
      for (let block = 0; block < count; block += 16) {
        for (let n = block; n < block + 8; n++) {
          const radius = Math.sqrt(-2 * Math.log(1 - drawn[n])), angle = 2 * Math.PI * drawn[n + 8];
          drawn[n] = radius * Math.cos(angle);
          drawn[n + 8] = radius * Math.sin(angle);
        }
      }
      return drawn;
    }
    return { uniform, normal };
  }

  return { generator, percentile, roundedToEven };
}
