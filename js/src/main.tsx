import { render } from "preact";
import { Above, type Words } from "./above";
import { type Drawn, drawnOf, isDrawn, placesOf } from "./drawn";
import { type Outcome, outcomeOf } from "./outcome";
import { trace } from "./paths";
import { pythonOf } from "./python";
import { initial } from "./start";
import { type Data, fromHash, type State, toHash } from "./state";
import { type Copied, Explorer, type Taken } from "./view";

export { drawnOf, truthOf } from "./drawn";
export { editFromJson } from "./edits";
export { argmax, openNetwork, run, scoresAt, softmax } from "./network";
export { answersAt, lengthNote, shown } from "./outcome";
export { agrees, programAnswers } from "./programs";
export { editOf, inputsOf, typed } from "./state";
export { fromHash, initial, outcomeOf, pythonOf, toHash };

/**
 * Put the live explorer where the page shows its example, and its sequence once more where the page has a place for it
 * above; both are drawn anew whenever the state changes.
 */
function start(data: Data, place: Element, above: HTMLElement | null): void {
  let state = fromHash(location.hash, data) ?? initial(data);
  let copied: Copied = null;
  let lit: number | null = null;
  let drawings: readonly (Drawn | Outcome)[] = [];
  let outcome: Outcome;
  const draw = () => {
    render(<Explorer {...{ data, state, outcome, drawings, copied, lit, set, light, copy }} />, place);
    const words = above?.dataset as Words | undefined;
    if (above && words) render(<Above {...{ data, state, outcome, drawings, words, lit, set, light }} />, above);
  };
  const become = (next: State) => {
    state = next;
    drawings = drawnOf(data, state);
    const places = placesOf(data, state);
    const own = drawings[places.indexOf(state.network)];
    outcome = isDrawn(own) ? own.outcome : own;
    copied = null;
    trace(data, state);
    draw();
  };
  const light = (step: number | null) => {
    if (step === lit) return;
    lit = step;
    draw();
  };
  const set = (change: Partial<State>, step = lit) => {
    lit = step;
    become({ ...state, ...change });
    try {
      history.replaceState(null, "", toHash(state));
    } catch {
      // In a sandboxed frame no page writes its address: the state lives on in the page alone.
    }
  };
  const copy = async (what: Taken) => {
    const made = state;
    const say = (said: string) => {
      if (state !== made) return;
      copied = { what, text, said };
      draw();
    };
    const text = what === "Python" ? pythonOf(data, state, outcome.network) : location.href.replace(/#.*/s, "") + toHash(state);
    say("Below.");
    if (await toClipboard(text)) return say("Copied.");
    say("This browser lets no page copy here: it is selected below.");
    const box = place.querySelector("textarea");
    box?.focus();
    box?.select();
  };
  addEventListener("hashchange", () => become(fromHash(location.hash, data) ?? state));
  place.replaceChildren();
  above?.replaceChildren();
  become(state);
}

/** Copies a text where that is allowed; in a frame Chromium says so beforehand, and logs an error for each try. */
async function toClipboard(text: string): Promise<boolean> {
  const { featurePolicy } = document as { featurePolicy?: { allowsFeature(name: string): boolean } };
  if (featurePolicy?.allowsFeature("clipboard-write") === false) return false;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

if (typeof document !== "undefined") {
  const text = document.getElementById("explorer-data")?.textContent;
  const place = document.getElementById("explorer-live");
  if (text && place) start(JSON.parse(text) as Data, place, document.getElementById("explorer-bits"));
}
