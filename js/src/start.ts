// What the page shows at first: the author's example, and beside it a sequence whose memory shows once it is put in.

import { outcomeOf, spoken } from "./outcome";
import { type Data, rowsOf, type State } from "./state";

/** Of so many symbols a sequence of nothing else is tried. */
const TRIED = 6;

export function initial(data: Data): State {
  const { example } = data;
  const { alphabet } = data.networks[0];
  const half = (alphabet ? [...example] : rowsOf(example)).length >> 1;
  const plain: State = {
    network: 0, x: example, y: example, view: "after", layer: 0, signal: "", unit: 0, step: 0, edits: [],
    put: "", from: half, at: half,
  };
  // What the author takes values from comes first.
  const tried = [...data.experiments.flatMap(({ state }) => state.y ?? []), ...others(example, alphabet)];
  return { ...plain, y: tried.find((y) => shows(data, { ...plain, y, put: "all" })) ?? tried[0] };
}

/** Whether the network ends with another answer once the memory of the other sequence is put in. */
function shows(data: Data, state: State): boolean {
  const { network, before, after } = outcomeOf(data, state);
  const ends = [before, after].map((run) => run && spoken(run, network, data).replace(/ \(probability.*/, ""));
  return ends[1] !== null && ends[0] !== ends[1];
}

/** Return other sequences than the example: each symbol the next one, those of one symbol alone, and backwards. */
function others(example: string, alphabet: Data["networks"][number]["alphabet"]): string[] {
  if (!alphabet) {
    const rows = example.split(";");
    return [rows.toReversed().join(";"), ...[rows[0], rows[rows.length - 1]].map((row) => rows.map(() => row).join(";"))];
  }
  const read = [...example];
  const symbols = Object.keys(alphabet);
  const next = read.map((symbol) => symbols[(symbols.indexOf(symbol) + 1) % symbols.length]);
  const alone = symbols.slice(0, TRIED).map((symbol) => read.map(() => symbol));
  return [next, ...alone, read.toReversed()].map((one) => one.join(""));
}
