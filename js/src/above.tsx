// The sequence and its answer once more, small, for the top of the page; what is changed here is changed below.

import { Bits, CYCLED } from "./bits";
import { SequenceInput } from "./controls";
import { type Drawn, isDrawn, stepWord, truthOf, worded } from "./drawn";
import { lengthNote, type Outcome, spoken } from "./outcome";
import { typed } from "./state";
import type { Lit } from "./view";

/** What the page's author says of it, see probe/explorer/bits.py. */
export interface Words {
  readonly target: string;
  readonly right: string;
  readonly one: string;
}

interface All extends Lit {
  readonly drawings: readonly (Drawn | Outcome)[];
  readonly words: Words;
}

export function Above(props: All) {
  const { data, state, set, drawings } = props;
  const embedded = data.networks[state.network];
  const drawn = drawings.filter(isDrawn).find(({ place }) => place === state.network);
  const symbols = Object.keys(embedded.alphabet ?? {});
  const word = stepWord(embedded);
  const read = [...state.x];
  const write = (x: string) => set({ x, step: 0 });
  return (
    <>
      {symbols.length > CYCLED ? (
        <SequenceInput label="Your string" value={state.x} network={embedded} onInput={(x) => write(typed(x, embedded))} />
      ) : drawn ? (
        <div class="string" style={{ "--n": drawn.count }}>
          <span>Your string</span>
          <Bits {...props} drawn={drawn} label="Your string" />
          <button type="button" aria-label={`Add a ${word}`} onClick={() => write(state.x + symbols[0])}>
            +
          </button>
          <button type="button" aria-label={`Take a ${word} away`} disabled={read.length < 2} onClick={() => write(read.slice(0, -1).join(""))}>
            {"\u2212"}
          </button>
        </div>
      ) : null}
      <p>
        <Answer {...props} /> <a href={props.words.target}>Open the whole network</a>
      </p>
    </>
  );
}

function Answer({ data, state, outcome: { network, before, after, error }, words }: All) {
  if (!before || !after) return <>{error}</>;
  const name = state.network ? network.embedded.name : "it";
  const edited = after === before ? name : `with what is edited below, ${name}`;
  const right = network.embedded.softmax ? truthOf(data, { ...state, put: "" }, state.network)?.at(-1) : undefined;
  const said = right === undefined ? null : worded(right, network, data);
  const [first, last] = (said === "1" ? words.one : words.right).split("{}");
  return (
    <>
      {edited.replace(/^./, (letter) => letter.toUpperCase())} answers <strong>{spoken(after, network, data).replace(/ \(probability.*/, "")}</strong>.
      {said !== null && (
        <>
          {" "}
          {first}
          <strong>{said}</strong>
          {last}
        </>
      )}{" "}
      {lengthNote(before, data.networks[state.network].trained_lengths, stepWord(data.networks[state.network]))}
    </>
  );
}
