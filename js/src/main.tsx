import { render } from "preact";
import type { Data } from "./state";
import { Explorer } from "./view";

export { editFromJson } from "./edits";
export { argmax, openNetwork, run, scoresAt, softmax } from "./network";
export { answersAt, lengthNote, outcomeOf, shown } from "./outcome";
export { pythonOf } from "./python";
export { editOf, fromHash, initial, inputsOf, toHash } from "./state";

/** Put the live explorer where the page shows its example. */
function start(): void {
  const text = document.getElementById("explorer-data")?.textContent;
  const place = document.getElementById("explorer-live");
  if (!text || !place) return;
  place.replaceChildren();
  render(<Explorer data={JSON.parse(text) as Data} />, place);
}

if (typeof document !== "undefined") start();
