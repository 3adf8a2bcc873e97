// One step of an LSTM, a GRU and a plain RNN in float64, in the order of computation of probe/recurrent/cells/*.py.

import type { Family } from "./signals";

/** A layer's parameters: torch's matrices, row by row. */
export interface Layer {
  readonly name: string;
  readonly family: Family;
  readonly relu: boolean;
  readonly units: number;
  readonly inputs: number;
  readonly W: Float64Array;
  readonly U: Float64Array;
  readonly b_ih: Float64Array | null;
  readonly b_hh: Float64Array | null;
}

/**
 * Called for each signal as soon as it is computed, with the place of its first unit; may write into the values there.
 */
export type Touch = (signal: number, start: number) => void;

/**
 * Computes one step: writes its signals, each of `units` values, one after the other from `at` on.
 *
 * The step before ends where this one starts, so that the previous state is read from there; the first step has none.
 */
type Step = (layer: Layer, x: Float64Array, values: Float64Array, at: number, touch: Touch) => void;

const sigmoid = (a: number) => 1 / (1 + Math.exp(-a));

/** Write a gate's part of `matrix v + bias`, or add it; v starts at `from`, and is zero where that is negative. */
function product(
  matrix: Float64Array, bias: Float64Array | null, gate: number, v: Float64Array, from: number, size: number,
  out: Float64Array, at: number, units: number, adds: boolean,
): void {
  for (let u = 0, row = gate * units; u < units; u++, row++) {
    let sum = bias === null ? 0 : bias[row];
    if (from >= 0) for (let j = 0, k = row * size; j < size; j++, k++) sum += matrix[k] * v[from + j];
    out[at + u] = adds ? out[at + u] + sum : sum;
  }
}

/** Write the pre-activations of one gate: W x + b_ih + U h + b_hh, the previous h starting at `h`. */
function linear(layer: Layer, gate: number, x: Float64Array, h: number, values: Float64Array, at: number): void {
  const { W, U, b_ih, b_hh, inputs, units } = layer;
  product(W, b_ih, gate, x, 0, inputs, values, at, units, false);
  product(U, b_hh, gate, values, h, units, values, at, units, true);
}

function sigmoids(values: Float64Array, from: number, to: number, units: number): void {
  for (let u = 0; u < units; u++) values[to + u] = sigmoid(values[from + u]);
}

function tanhs(values: Float64Array, from: number, to: number, units: number): void {
  for (let u = 0; u < units; u++) values[to + u] = Math.tanh(values[from + u]);
}

const lstm: Step = (layer, x, values, at, touch) => {
  const { units } = layer;
  for (let gate = 0; gate < 4; gate++) {
    linear(layer, gate, x, at - units, values, at + gate * units);
    touch(gate, at + gate * units);
  }
  const i = at + 4 * units;
  const [f, g, o, c, h] = [i + units, i + 2 * units, i + 3 * units, i + 4 * units, i + 5 * units];
  for (let gate = 0; gate < 4; gate++) {
    (gate === 2 ? tanhs : sigmoids)(values, at + gate * units, i + gate * units, units);
    touch(4 + gate, i + gate * units);
  }
  for (let u = 0; u < units; u++) {
    const previous = at > 0 ? values[at - 2 * units + u] : 0;
    values[c + u] = values[f + u] * previous + values[i + u] * values[g + u];
  }
  touch(8, c);
  for (let u = 0; u < units; u++) values[h + u] = values[o + u] * Math.tanh(values[c + u]);
  touch(9, h);
};

const gru: Step = (layer, x, values, at, touch) => {
  const { W, U, b_ih, b_hh, inputs, units } = layer;
  const previous = at - units;
  for (let gate = 0; gate < 2; gate++) {
    linear(layer, gate, x, previous, values, at + gate * units);
    touch(gate, at + gate * units);
  }
  const r = at + 2 * units;
  const [z, v, a, n, h] = [r + units, r + 2 * units, r + 3 * units, r + 4 * units, r + 5 * units];
  for (let gate = 0; gate < 2; gate++) {
    sigmoids(values, at + gate * units, r + gate * units, units);
    touch(2 + gate, r + gate * units);
  }
  product(U, b_hh, 2, values, previous, units, values, v, units, false);
  touch(4, v);
  for (let u = 0; u < units; u++) values[a + u] = values[r + u] * values[v + u];
  product(W, b_ih, 2, x, 0, inputs, values, a, units, true);
  touch(5, a);
  tanhs(values, a, n, units);
  touch(6, n);
  for (let u = 0; u < units; u++) {
    const before = previous >= 0 ? values[previous + u] : 0;
    values[h + u] = (before - values[n + u]) * values[z + u] + values[n + u];
  }
  touch(7, h);
};

const rnn: Step = (layer, x, values, at, touch) => {
  const { units } = layer;
  const h = at + units;
  linear(layer, 0, x, at - units, values, at);
  touch(0, at);
  if (layer.relu) for (let u = 0; u < units; u++) values[h + u] = Math.max(0, values[at + u]);
  else tanhs(values, at, h, units);
  touch(1, h);
};

export const STEPS: Record<Family, Step> = { lstm, gru, rnn };
