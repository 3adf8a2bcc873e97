// What the drawings show of a network: what it would answer were each step the last, what is right, and its memory.

import { keptBy, sourceOf } from "./memory";
import { argmax, type Embedded, type Network, type Run } from "./network";
import { answersAt, classOf, type Outcome, outcomeOf, shown } from "./outcome";
import { agrees, programAnswers } from "./programs";
import { SIGNALS } from "./signals";
import type { Data, State } from "./state";

/** How many steps are drawn at once, and how many units. */
export const STEPS = 32;
export const MOST_UNITS = 24;
/** Units that move the answer at least this share of what the first of them does are drawn bold. */
const MUCH = 0.5;
/** Up to so many numbers of one answer are drawn, a line each. */
const MOST_SCORES = 8;

export interface Drawn {
  /** The network's place among the page's. */
  readonly place: number;
  readonly outcome: Outcome;
  /** The first step that is drawn, and how many are. */
  readonly start: number;
  readonly count: number;
  /** For each drawn step the class that is answered, or the number; null where there is no one answer. */
  readonly answers: readonly number[] | null;
  /** The same without edits, where there are any. */
  readonly unedited: readonly number[] | null;
  /** Where an answer is several numbers, a line of each; nothing otherwise. */
  readonly scores: readonly Line[];
  /** For each drawn step the right answer, or null where the page knows none. */
  readonly truth: readonly number[] | null;
  readonly wrong: readonly boolean[];
  /** The step from which on another memory counts, or null where none is put in. */
  readonly into: number | null;
  readonly memory: Memory;
}

/** What is drawn as a line in the columns of the steps, with its values without edits where there are any. */
export interface Line {
  readonly name: string;
  readonly values: readonly number[];
  readonly unedited: readonly number[] | null;
  readonly bold?: boolean;
}

/** The memory of one layer: the units that move the answer most, each with its values at the drawn steps. */
export interface Memory {
  readonly signal: string;
  readonly units: readonly { readonly unit: number; readonly values: readonly number[]; readonly bold: boolean }[];
  /** In words, by what units are sorted. */
  readonly sorted: string;
  /** How many units the layer has. */
  readonly of: number;
}

/** Return the networks that are drawn beside each other: the page's choice, the reader's in place of its first. */
export function placesOf({ beside }: Data, { network }: State): readonly number[] {
  return beside.includes(network) ? beside : [network, ...beside.slice(1)];
}

/** Return the drawings of all networks that stand beside each other; those that cannot run the sequence are null. */
export function drawnOf(data: Data, state: State): readonly (Drawn | Outcome)[] {
  return placesOf(data, state).map((place) => {
    const outcome = outcomeOf(data, { ...state, network: place });
    return outcome.before ? drawing(data, state, place, outcome, outcome.before) : outcome;
  });
}

export const isDrawn = (one: Drawn | Outcome): one is Drawn => "outcome" in one;

function drawing(data: Data, state: State, place: number, outcome: Outcome, before: Run): Drawn {
  const { network } = outcome;
  const after = outcome.after ?? before;
  const start = Math.min(state.step, Math.floor((before.steps - 1) / STEPS) * STEPS);
  const count = Math.min(STEPS, before.steps - start);
  const window = <T>(values: readonly T[] | null) => values && values.slice(start, start + count);
  const answers = window(answersOf(after, network));
  // Where the other sequence cannot be read, nothing is put in.
  const done = outcome.error ? { ...state, put: "" } : state;
  const truth = answers && network.embedded.softmax ? window(truthOf(data, done, place)) : null;
  return {
    place, outcome, start, count, answers, truth, scores: scoresOf(data, network, after, before, window),
    unedited: after === before ? null : window(answersOf(before, network)),
    into: done.put ? Math.min(state.at, before.steps - 1) : null,
    wrong: truth ? truth.map((right, k) => !agrees(right, (answers as readonly number[])[k])) : [],
    memory: memoryOf(after, network, state.layer, start, count),
  };
}

/** Return what a run answers after each step: a class, or the one number. */
export function answersOf(run: Run, network: Network): number[] | null {
  const { softmax, scores } = network.embedded;
  if (!softmax && scores !== 1) return null;
  return Array.from({ length: run.steps }, (_, step) => {
    const said = answersAt(run, step, network);
    return softmax ? argmax(said) : said[0];
  });
}

/** Return the lines of an answer that is several numbers. */
function scoresOf(
  data: Data, network: Network, after: Run, before: Run, window: (values: readonly number[]) => readonly number[] | null,
): Line[] {
  const { softmax, scores } = network.embedded;
  if (softmax || scores < 2 || scores > MOST_SCORES) return [];
  const of = (run: Run, score: number) =>
    window(Array.from({ length: run.steps }, (_, step) => answersAt(run, step, network)[score])) as readonly number[];
  return Array.from({ length: scores }, (_, score) => ({
    name: classOf(score, network, data), values: of(after, score), unedited: after === before ? null : of(before, score),
  }));
}

/** Return what is right after each step; once another memory is put in, what were right if it held the number. */
export function truthOf(data: Data, state: State, place: number): number[] | null {
  const embedded = data.networks[place];
  const program = embedded.programs.find(({ name }) => name === data.truth);
  if (!program) return null;
  const right = programAnswers(program, state.x);
  if (!state.put) return right;
  const at = Math.min(state.at, right.length - 1);
  const held = programAnswers(program, sourceOf(state, embedded).join("")).at(-1) as number;
  const rest = programAnswers({ ...program, start: held }, [...state.x].slice(at + 1).join(""));
  return [...right.slice(0, at), held, ...rest];
}

/** Return the units of a layer in the order in which they are shown: those that move the answer most first. */
export function unitsOf({ moves }: Embedded, layer: number): number[] {
  const far = moves[layer];
  return far.map((_, unit) => unit).toSorted((a, b) => far[b] - far[a]);
}

function memoryOf(run: Run, { layers, embedded }: Network, chosen: number, start: number, count: number): Memory {
  const place = Math.min(chosen, layers.length - 1);
  const { family, units } = layers[place];
  const [signal] = keptBy(family);
  const names: readonly string[] = SIGNALS[family];
  const at = (step: number, unit: number) => ((start + step) * names.length + names.indexOf(signal)) * units + unit;
  const rows = unitsOf(embedded, place).slice(0, MOST_UNITS).map((unit) => ({
    unit,
    values: Array.from({ length: count }, (_, step) => run.layers[place][at(step, unit)]),
    bold: embedded.moves[place][unit] >= MUCH,
  }));
  const read = embedded.scores && place === layers.length - 1;
  const over = embedded.over ? `${embedded.over.toLocaleString("en")} sequences` : "the example";
  const sorted = read
    ? `Units that move the answer most stand first: weight in the head \u00d7 standard deviation of h over ${over}`
    : `Units whose h varies most over ${over} stand first`;
  return { signal, units: rows, sorted: `${sorted}. Bold: at least half as much as the first`, of: units };
}

/** Return an answer, or what is right, as the page says it: a class by its name. */
export function worded(value: number, network: Network, data: Data): string {
  const { softmax, scores } = network.embedded;
  if (softmax && Number.isInteger(value) && value >= 0 && value < scores) return classOf(value, network, data);
  return shown(value).replace(/\.00$/, "");
}

/** What one step of a network's input is called. */
export function stepWord({ alphabet }: Data["networks"][number]): string {
  if (!alphabet) return "step";
  return Object.keys(alphabet).sort().join("") === "01" ? "bit" : "symbol";
}

/** Return in words what is answered after a drawn step, and whether that is right. */
export function said(drawn: Drawn, step: number, data: Data): string {
  const { answers, scores, truth, wrong, into, start, outcome: { network } } = drawn;
  if (!answers) return scores.map(({ values }) => shown(values[step])).join(", ");
  const answer = worded(answers[step], network, data);
  if (!truth) return answer;
  return `${answer}, ${verdict(wrong[step], worded(truth[step], network, data), into !== null && start + step >= into)}`;
}

/** Return whether an answer is right, in words; once another memory is put in, whether it is what that would give. */
export function verdict(wrong: boolean, right: string, put: boolean): string {
  if (put) return wrong ? `where the memory says ${right}` : "as the memory says";
  return wrong ? `wrong: ${right} is right` : "right";
}
