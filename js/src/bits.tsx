// What is read, a button a step: pressed, it becomes the next symbol; a symbol's key puts it; arrows move.

import { type Drawn, said, stepWord } from "./drawn";
import type { State } from "./state";
import type { Lit } from "./view";

/** Of more symbols than these a press cycles through none: they stand in a row of their own. */
export const CYCLED = 3;
const MOST_OFFERED = 26;

interface Reading extends Lit {
  readonly drawn: Drawn;
  /** What it is called, where that is not what the network reads. */
  readonly label?: string;
}

/** What a symbol looks like on a button. */
const face = (symbol: string) => (symbol === " " ? "\u2423" : symbol);

/** Return the sequence with another symbol at a step, or without that step. */
function changed(x: string, step: number, symbol: string): Pick<State, "x"> {
  return { x: [...x].toSpliced(step, 1, ...(symbol ? [symbol] : [])).join("") };
}

/** Return the step of the button that an event comes from. */
function stepOf(event: Event): number {
  const button = (event.target as Element).closest("button");
  return button ? Number(button.dataset.step) : -1;
}

export function Bits({ data, state, set, lit, light, drawn, label }: Reading) {
  const { place, start, count } = drawn;
  const embedded = data.networks[place];
  const symbols = embedded.alphabet && Object.keys(embedded.alphabet);
  const read = symbols ? [...state.x] : [];
  const word = stepWord(embedded);
  const stop = lit !== null && lit >= start && lit < start + count ? lit : start;
  const press = (event: Event) => {
    const step = stepOf(event);
    if (step < 0) return;
    if (symbols && symbols.length <= CYCLED) {
      set(changed(state.x, step, symbols[(symbols.indexOf(read[step]) + 1) % symbols.length]), step);
    } else light(step);
  };
  const key = (event: KeyboardEvent) => {
    const step = stepOf(event);
    if (step < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves: Record<string, number> = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: start, End: start + count - 1 };
    let next = moves[event.key];
    if (symbols?.includes(event.key)) {
      next = Math.min(step + 1, start + count - 1);
      set(changed(state.x, step, event.key), next);
    } else if (symbols && ["Backspace", "Delete"].includes(event.key) && read.length > 1) {
      next = Math.min(event.key === "Delete" ? step : Math.max(0, step - 1), read.length - 2);
      set(changed(state.x, step, ""), next);
    } else if (next === undefined) return;
    event.preventDefault();
    const row = event.currentTarget as Element;
    row.querySelectorAll("button")[Math.max(0, next - start)]?.focus();
  };
  return (
    <div
      class="bits cells"
      role="toolbar"
      aria-label={label ?? `What ${embedded.name} reads`}
      onClick={press}
      onKeyDown={key}
      onFocusIn={(event: Event) => light(stepOf(event))}
    >
      {Array.from({ length: count }, (_, k) => {
        const step = start + k;
        const symbol = read[step];
        const answer = said(drawn, k, data);
        return (
          <button
            type="button"
            data-step={step}
            tabIndex={step === stop ? 0 : -1}
            class={symbols?.length === 2 && symbol === symbols[1] ? "on" : ""}
            aria-label={`${word} ${step + 1}${symbols ? `: ${symbol}` : ""}${answer && `; if asked now: ${answer}`}`}
          >
            {symbols ? face(symbol) : step + 1}
          </button>
        );
      })}
    </div>
  );
}

/** The symbols to choose from, where they are too many to cycle through and few enough to show. */
export function Palette({ data, state, set, lit }: Lit) {
  const { alphabet } = data.networks[state.network];
  const symbols = Object.keys(alphabet ?? {});
  if (symbols.length <= CYCLED || symbols.length > MOST_OFFERED) return null;
  const length = [...state.x].length;
  const step = Math.min(lit ?? length - 1, length - 1);
  return (
    <div class="controls palette" role="group" aria-label={`Put at symbol ${step + 1}`}>
      <span>Put at symbol {step + 1}:</span>
      {symbols.map((symbol) => (
        <button
          type="button"
          onClick={() => set(changed(state.x, step, symbol), step)}
        >
          {face(symbol)}
        </button>
      ))}
    </div>
  );
}

/** A step more at the end, or one fewer. */
export function Length({ data, state, set }: Lit) {
  const embedded = data.networks[state.network];
  if (!embedded.alphabet) return null;
  const [first] = Object.keys(embedded.alphabet);
  const word = stepWord(embedded);
  const symbols = [...state.x];
  return (
    <>
      <button type="button" onClick={() => set({ x: state.x + first })}>
        One {word} more
      </button>
      <button type="button" disabled={symbols.length < 2} onClick={() => set({ x: symbols.slice(0, -1).join("") })}>
        One {word} fewer
      </button>
    </>
  );
}
