// The handle: the memory after a step of another sequence, put into the run at a step.

import { Choice, Field, SequenceInput } from "./controls";
import { type Drawn, MOST_UNITS, stepWord, truthOf, unitsOf, worded } from "./drawn";
import { keptBy, sourceOf } from "./memory";
import { letter } from "./signals";
import type { Data, State } from "./state";
import type { Part } from "./view";

/** A native slider over the steps of a sequence, counted from 1. */
function Steps(props: { label: string; value: number; count: number; onInput: (step: number) => void }) {
  const { label, count, onInput } = props;
  const value = Math.min(props.value, count - 1) + 1;
  return (
    <Field label={`${label} ${value}`}>
      <input
        type="range"
        min={1}
        max={count}
        value={value}
        onInput={(event: { readonly currentTarget: HTMLInputElement }) => onInput(Number(event.currentTarget.value) - 1)}
      />
    </Field>
  );
}

/** Return what can be put in: all that a network keeps, one signal of it, or one unit of its memory. */
function choices({ outcome: { network }, state }: Part): (readonly [string, string])[] {
  const place = Math.min(state.layer, network.layers.length - 1);
  const { family } = network.layers[place];
  const [memory, hidden] = keptBy(family).map((signal) => `${signal.replaceAll("_", " ")} ${letter(signal)}`);
  const parts = hidden ? ([["all", "all that it keeps, c and h"], ["c", memory], ["h", hidden]] as const) : ([["all", memory]] as const);
  const one = letter(keptBy(family)[0]);
  const units = unitsOf(network.embedded, place).slice(0, MOST_UNITS);
  return [...parts, ...units.map((unit) => [`u${unit}`, `${one} ${unit} alone`] as const)];
}

export function Handle(props: Part & { drawn: Drawn | undefined }) {
  const { data, state, set, drawn } = props;
  const embedded = data.networks[state.network];
  const word = stepWord(embedded);
  const steps = drawn?.outcome.before?.steps ?? 0;
  const source = lengthOf(state, embedded);
  return (
    <div class="handle">
      <button type="button" aria-pressed={state.put ? "true" : "false"} onClick={() => set({ put: state.put ? "" : "all" })}>
        Put this memory in here
      </button>
      {state.put ? (
        <>
          <div class="controls">
            <SequenceInput label="Another sequence" value={state.y} network={embedded} onInput={(y) => set({ y })} />
            <Choice label="what" value={state.put} options={choices(props)} onChange={(put) => set({ put })} />
            {source > 0 && (
              <Steps label={`of the other, after ${word}`} value={state.from} count={source} onInput={(from) => set({ from })} />
            )}
            {steps > 0 && <Steps label={`put in after ${word}`} value={state.at} count={steps} onInput={(at) => set({ at })} />}
          </div>
          <p class="note">{told(data, state, drawn, source)}</p>
        </>
      ) : (
        <p class="note">
          What a network keeps after some steps of another sequence takes the place of what it keeps here.
        </p>
      )}
    </div>
  );
}

/** Return the length of the other sequence, 0 where it cannot be read. */
function lengthOf(state: State, embedded: Data["networks"][number]): number {
  try {
    return sourceOf({ ...state, from: Infinity }, embedded).length || state.y.split(";").length;
  } catch {
    return 0;
  }
}

/** Return what is done in words, and what were right if the memory held it. */
function told(data: Data, state: State, drawn: Drawn | undefined, source: number): string {
  if (!drawn || !source || drawn.outcome.error) return "";
  const { place, outcome: { network } } = drawn;
  const truth = truthOf(data, state, place);
  const embedded = data.networks[place];
  if (!embedded.alphabet) return "The dashed line marks where it goes in.";
  const symbols = [...state.x];
  const [read, rest] = [symbols.slice(0, state.at + 1), symbols.slice(state.at + 1)].map((part) => part.join(""));
  const other = sourceOf(state, embedded).join("");
  const said = `It reads ${read}; then the memory of ${other} takes the place of its own; then it reads ${rest || "no more"}.`;
  if (!truth) return said;
  return `${said} If the memory held the answer (${data.truth}), it would end with ${worded(truth[truth.length - 1], network, data)}.`;
}
