// The numbers that torch.randint draws on a CPU from a seeded generator: Mersenne Twister, each modulo the range.

const N = 624;
const M = 397;

/** Return the first `count` numbers of `torch.randint(range, (count,))` after `manual_seed(seed)`. */
export function randint(range: number, count: number, seed: number): number[] {
  const state = new Uint32Array(N);
  // torch keeps the low 32 bits of a seed; a remainder is right for the negative ones too.
  state[0] = seed - Math.floor(seed / 2 ** 32) * 2 ** 32;
  for (let j = 1; j < N; j++) {
    const before = state[j - 1] ^ (state[j - 1] >>> 30);
    state[j] = Math.imul(1812433253, before) + j;
  }
  const drawn: number[] = [];
  for (let place = N; drawn.length < count; place++) {
    if (place === N) {
      twist(state);
      place = 0;
    }
    drawn.push(tempered(state[place]) % range);
  }
  return drawn;
}

function twist(state: Uint32Array): void {
  for (let j = 0; j < N; j++) {
    const mixed = (state[j] & 0x80000000) | (state[(j + 1) % N] & 0x7fffffff);
    state[j] = state[(j + M) % N] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
  }
}

function tempered(y: number): number {
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  return (y ^ (y >>> 18)) >>> 0;
}
