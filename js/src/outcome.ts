// What the page shows of a state: the runs before and after the edits, or the sentence why there is none.

import type { Edit } from "./edits";
import { putEdits } from "./memory";
import { argmax, type Network, openNetwork, type Run, run, scoresAt, softmax } from "./network";
import { type Data, editOf, inputsOf, sourcesOf, type State } from "./state";

export interface Outcome {
  readonly network: Network;
  readonly before: Run | null;
  /** The same run as `before` where there are no edits. */
  readonly after: Run | null;
  readonly edits: readonly Edit[];
  readonly error: string;
}

const opened = new WeakMap<object, Network>();

function networkOf(embedded: Data["networks"][number]): Network {
  const network = opened.get(embedded) ?? openNetwork(embedded);
  opened.set(embedded, network);
  return network;
}

export function outcomeOf(data: Data, state: State): Outcome {
  const embedded = data.networks[state.network];
  const network = networkOf(embedded);
  let before: Run | null = null;
  try {
    const x = inputsOf(state.x, embedded);
    before = run(network, x);
    let runs: Run[] | null = null;
    const sources = () => (runs ??= sourcesOf(state.y, embedded).map((source) => run(network, source)));
    const put = putEdits(state, network, before.steps, sources);
    const edits = [...state.edits.map((draft) => editOf(draft, network, sources)), ...put];
    return { network, before, after: edits.length ? run(network, x, edits) : before, edits, error: "" };
  } catch (error) {
    return { network, before, after: null, edits: [], error: (error as Error).message };
  }
}

/** Return what a network says after a step: probabilities, or its scores where they are no classes'. */
export function answersAt(run: Run, step: number, { embedded }: Network): Float64Array {
  const scores = scoresAt(run, step);
  return embedded.softmax ? softmax(scores) : scores;
}

/** Return the name of one of the network's answers. */
export function classOf(place: number, { embedded }: Network, data: Data): string {
  const names = data.classes;
  if (embedded.scores && names.length === embedded.scores) return names[place];
  return embedded.scores ? `${embedded.softmax ? "class" : "score"} ${place}` : `h ${place}`;
}

/** Return a number as the page shows it. */
export function shown(value: number): string {
  const size = Math.abs(value);
  const text = size < 9999.5 ? value.toFixed(size < 99.95 ? 2 : 0) : value.toExponential(1);
  return (/^-0\.?0*$/.test(text) ? text.slice(1) : text).replace("-", "\u2212");
}

/** Return the sentence that says what a run ends with. */
export function spoken(run: Run, network: Network, data: Data): string {
  const answers = answersAt(run, -1, network);
  const best = argmax(answers);
  if (network.embedded.softmax) return `${classOf(best, network, data)} (probability ${shown(answers[best])})`;
  const all = [...answers].slice(0, 4).map(shown).join(", ");
  return answers.length > 4 ? `${all}, \u2026` : all;
}

const WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split(" ");

/** Return the note on a length that the network was not trained on, or nothing. */
export function lengthNote({ steps }: Run, lengths: readonly number[], word: string): string {
  if (!lengths.length || lengths.includes(steps)) return "";
  const [least, most] = [Math.min(...lengths), Math.max(...lengths)];
  const every = most - least + 1 === lengths.length && most > least;
  // Numbers of one sentence are written alike.
  const number = (value: number) => (Math.max(most, steps) < WORDS.length ? WORDS[value] : String(value));
  const said = every ? `${number(least)} to ${number(most)}` : lengths.map(number).join(" or ");
  const read = word === "step" ? "sequence" : "string";
  return `It was trained on ${said} ${word}${most > 1 ? "s" : ""}; this ${read} has ${number(steps)}.`;
}
