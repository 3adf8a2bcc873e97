// A network as the page carries it, and its run with edits in it.

import { type Layer, STEPS } from "./cells";
import { type Edit, layerOf, numbers, placed, ProbeError, type Put, type Row } from "./edits";
import { type Family, ROWS, SIGNALS } from "./signals";

/** What probe/explorer/networks.py writes. */
export interface Embedded {
  readonly name: string;
  readonly role: string;
  readonly layers: readonly {
    readonly name: string;
    readonly family: Family;
    readonly relu: boolean;
    readonly units: number;
    readonly inputs: number;
    readonly bias: boolean;
  }[];
  /** How many scores the head gives, or 0 where there is none and the last hidden state is the output. */
  readonly scores: number;
  readonly head_bias: boolean;
  readonly softmax: boolean;
  readonly dtype: string;
  /** All parameters in torch's order: of each layer W, U, b_ih, b_hh, then the head's weight and bias. */
  readonly weights: string;
  /** For each layer how far its units move the answer, as shares of the one that does most. */
  readonly moves: readonly (readonly number[])[];
  /** Over how many sequences that was measured; 0 is the example alone. */
  readonly over: number;
}

export interface Network {
  readonly embedded: Embedded;
  readonly layers: readonly Layer[];
  readonly head: { readonly W: Float64Array; readonly b: Float64Array | null } | null;
}

/** What a network computed. */
export interface Run {
  readonly steps: number;
  /** By layer: the values as step x signal x unit, signals in the order of SIGNALS. */
  readonly layers: readonly Float64Array[];
  /** The scores read after every step, as step x score; the last ones are the output. */
  readonly scores: Float64Array;
}

export function openNetwork(embedded: Embedded): Network {
  const all = numbers(embedded.weights, embedded.dtype);
  let start = 0;
  const take = (count: number) => all.subarray(start, (start += count));
  const layers = embedded.layers.map(({ bias, ...layer }) => {
    const rows = ROWS[layer.family] * layer.units;
    const [W, U] = [take(rows * layer.inputs), take(rows * layer.units)];
    return { ...layer, W, U, b_ih: bias ? take(rows) : null, b_hh: bias ? take(rows) : null };
  });
  const { scores, head_bias } = embedded;
  const W = take(scores * layers[layers.length - 1].units);
  const head = scores ? { W, b: head_bias ? take(scores) : null } : null;
  if (start !== all.length) throw new ProbeError(`${embedded.name} has ${all.length} parameters; ${start} fit.`);
  return { embedded, layers, head };
}

/** What edits do, by layer, step and signal, in their order. */
type Changes = readonly Map<number, Map<number, Put[]>>[];

function changesOf(layers: readonly Layer[], edits: readonly Edit[], time: number, row: Row): Changes {
  const changes = layers.map(() => new Map<number, Map<number, Put[]>>());
  for (const edit of edits) {
    const place = layerOf(layers, edit.site);
    const signal = (SIGNALS[layers[place].family] as readonly string[]).indexOf(edit.site.signal);
    for (const [step, put] of placed(edit, layers[place], time, row)) {
      const at = changes[place].get(step) ?? new Map<number, Put[]>();
      at.set(signal, [...(at.get(signal) ?? []), put]);
      changes[place].set(step, at);
    }
  }
  return changes;
}

/**
 * Run a network from zeros on an input, an array of features a step.
 *
 * An edit at a step enters the recurrence: what follows from it at that step is computed from it, and so is the next
 * step. Edits act in the order of computation, those of one signal in the order given.
 */
export function run(
  { layers, head }: Network,
  inputs: readonly Float64Array[],
  edits: readonly Edit[] = [],
  row: Row = { row: 0, batch: 1 },
): Run {
  const changes = changesOf(layers, edits, inputs.length, row);
  let x = inputs;
  const values = layers.map((layer, place) => {
    const all = runLayer(layer, x, changes[place]);
    x = hiddenStates(layer, all, inputs.length);
    return all;
  });
  const size = head ? head.W.length / layers[layers.length - 1].units : layers[layers.length - 1].units;
  const scores = new Float64Array(inputs.length * size);
  x.forEach((h, t) => (head ? read(head, h, scores, t * size) : scores.set(h, t * size)));
  return { steps: inputs.length, layers: values, scores };
}

function runLayer(layer: Layer, x: readonly Float64Array[], changes: Changes[number]): Float64Array {
  const size = SIGNALS[layer.family].length * layer.units;
  const values = new Float64Array(x.length * size);
  const step = STEPS[layer.family];
  for (let t = 0; t < x.length; t++) {
    const at = changes.get(t);
    step(layer, x[t], values, t * size, at ? (signal, start) => change(at.get(signal), values, start) : untouched);
  }
  return values;
}

function untouched(): void {}

function change(puts: readonly Put[] | undefined, values: Float64Array, start: number): void {
  for (const put of puts ?? []) put(values, start);
}

function hiddenStates(layer: Layer, values: Float64Array, steps: number): Float64Array[] {
  const size = SIGNALS[layer.family].length * layer.units;
  return Array.from({ length: steps }, (_, t) => values.subarray((t + 1) * size - layer.units, (t + 1) * size));
}

/** Write the scores that a head reads from a hidden state. */
function read({ W, b }: NonNullable<Network["head"]>, h: Float64Array, scores: Float64Array, at: number): void {
  const count = W.length / h.length;
  for (let k = 0; k < count; k++) {
    let sum = b ? b[k] : 0;
    for (let u = 0; u < h.length; u++) sum += W[k * h.length + u] * h[u];
    scores[at + k] = sum;
  }
}

/** Return the scores after a step, counted from the end where it is negative. */
export function scoresAt(run: Run, step: number): Float64Array {
  const size = run.scores.length / run.steps;
  const t = step < 0 ? run.steps + step : step;
  return run.scores.subarray(t * size, (t + 1) * size);
}

/** Return the probabilities that scores stand for. */
export function softmax(scores: Float64Array): Float64Array {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Return the place of the largest number, the first where several are. */
export function argmax(values: Float64Array): number {
  return values.reduce((best, value, place) => (value > values[best] ? place : best), 0);
}
