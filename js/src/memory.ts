// One handle: what a network keeps after a step of another sequence, put into the run at a step.

import type { Edit, Site } from "./edits";
import type { Network, Run } from "./network";
import { SIGNALS } from "./signals";
import { type Data, sourcesOf, type State, taken } from "./state";

/** What a layer keeps from step to step, the memory first. */
export function keptBy(family: keyof typeof SIGNALS): readonly string[] {
  return family === "lstm" ? ["cell_state", "hidden_state"] : ["hidden_state"];
}

/** What is put in: nothing, all that is kept, the memory, the hidden state, or one unit of the memory. */
export const PUT = /^(all|c|h|u\d{1,4})?$/;

/** Return where the handle puts values, a site for each layer and signal. */
export function putSites({ put, at, layer: chosen }: State, { layers }: Network, steps: number): Site[] {
  if (!put) return [];
  const last = Math.min(at, steps - 1);
  const one = put.startsWith("u") ? [Number(put.slice(1))] : null;
  return layers.flatMap(({ name, family, units }, place) => {
    if (one && (place !== Math.min(chosen, layers.length - 1) || one[0] >= units)) return [];
    const kept = keptBy(family);
    const signals = put === "all" ? kept : put === "h" ? kept.slice(-1) : kept.slice(0, 1);
    return signals.map((signal) => ({ signal, layer: name, units: one, steps: [last], rows: null }));
  });
}

/** The step of the other sequence after which the memory is taken. */
export const takenAt = ({ from }: State, steps: number) => Math.min(from, steps - 1);

/** Return the edits that the handle stands for; its values come from the first of the second sequences. */
export function putEdits(state: State, network: Network, steps: number, sources: () => readonly Run[]): Edit[] {
  return putSites(state, network, steps).map((site) => {
    const [run] = sources();
    const { data } = taken({ ...site, steps: [takenAt(state, run.steps)] }, network, [run]);
    return { edit: "clamp", site, value: { shape: [data.length], data } };
  });
}

/** Return the symbols of the first of the second sequences, up to where its memory is taken. */
export function sourceOf(state: State, embedded: Data["networks"][number]): string[] {
  const [{ length }] = sourcesOf(state.y, embedded);
  const marks = [...state.y].filter((symbol) => embedded.alphabet && Object.hasOwn(embedded.alphabet, symbol));
  return marks.slice(0, takenAt(state, length) + 1);
}
