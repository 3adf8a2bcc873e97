// The sequence as a line in figures of the page, see probe/explorer/bits.py: what a network answers after each step.

import { answersOf } from "./drawn";
import { outcomeOf } from "./outcome";
import type { Data, State } from "./state";

/** Draw the line of each network that a figure shows, without edits. */
export function trace(data: Data, state: State): void {
  data.networks.forEach((_, place) => {
    const [frame, line] = document.querySelectorAll(`.picture .run-${place} path`);
    if (!line) return;
    const { before, network } = outcomeOf(data, { ...state, network: place, edits: [], put: "" });
    const [x, y, across, up] = (frame.getAttribute("d")?.match(/-?[\d.]+/g) ?? []).map(Number);
    const points = (before && answersOf(before, network))?.map((told, k) => `${x + (across - x) * k} ${y + (up - y) * told}`);
    line.setAttribute("d", points ? `M${points.join("L")}` : "");
  });
}
