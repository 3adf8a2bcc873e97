// What the reader has set, as text in the address: everything there may come from anybody, and is only ever compared.

import { type Edit, editFromJson, type Site, ProbeError, within } from "./edits";
import type { Embedded, Network, Run } from "./network";
import { SIGNALS } from "./signals";

/** What probe/report/explorer.py writes into the page. */
export interface Data {
  readonly networks: readonly (Embedded & {
    /** For each symbol its features, or null where the input is a table of numbers. */
    readonly alphabet: Readonly<Record<string, readonly number[]>> | null;
    readonly trained_lengths: readonly number[];
  })[];
  readonly example: string;
  readonly classes: readonly string[];
}

export const KINDS = ["clamp", "ablate", "patch", "steer", "json"] as const;
export const VIEWS = ["before", "after", "difference"] as const;

/** An edit as the reader writes it. */
export interface Draft {
  readonly kind: (typeof KINDS)[number];
  readonly layer: number;
  readonly signal: string;
  readonly units: string;
  readonly steps: string;
  /** The number that a clamp puts or a steering adds, or the JSON of `Edit.to_json`. */
  readonly value: string;
}

export interface State {
  readonly network: number;
  /** The sequence, and the one that is patched from: symbols, or numbers with `;` between steps. */
  readonly x: string;
  readonly y: string;
  readonly view: (typeof VIEWS)[number];
  readonly layer: number;
  readonly signal: string;
  readonly unit: number;
  readonly step: number;
  readonly edits: readonly Draft[];
}

const MOST_STEPS = 2000;
const MOST_EDITS = 20;

export function initial(data: Data): State {
  const { example } = data;
  return {
    network: 0, x: example, y: example, view: "after", layer: 0, signal: "", unit: 0, step: 0, edits: [],
  };
}

/** Return the state that an address holds, or null where it holds none; what makes no sense is left out. */
export function fromHash(hash: string, data: Data): State | null {
  const given = new URLSearchParams(hash.slice(1));
  const plain = initial(data);
  const x = given.get("x");
  if (x === null) return null;
  const network = whole(given.get("network"), data.networks.length);
  const { layers } = data.networks[network];
  return {
    network,
    x,
    y: given.get("y") ?? x,
    view: VIEWS.find((view) => view === given.get("view")) ?? plain.view,
    layer: whole(given.get("layer"), layers.length),
    signal: given.get("signal") ?? "",
    unit: whole(given.get("unit"), Infinity),
    step: whole(given.get("step"), Infinity),
    edits: given.getAll("edit").slice(0, MOST_EDITS).flatMap(draftOf),
  };
}

export function toHash(state: State): string {
  const { edits, ...rest } = state;
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) if (value || name === "x") text.append(name, String(value));
  for (const { kind, layer, signal, units, steps, value } of edits) {
    text.append("edit", JSON.stringify([kind, layer, signal, units, steps, value]));
  }
  return `#${text}`;
}

function whole(text: string | null, size: number): number {
  const number = Number(text ?? 0);
  return Number.isInteger(number) && number >= 0 && number < size ? number : 0;
}

function draftOf(text: string): Draft[] {
  try {
    const [kind, layer, signal, units, steps, value] = JSON.parse(text);
    if (!KINDS.includes(kind) || ![signal, units, steps, value].every((part) => typeof part === "string")) return [];
    return [{ kind, layer: whole(layer, Infinity), signal, units, steps, value }];
  } catch {
    return [];
  }
}

/** Return a sequence as numbers, a row a step. */
export function rowsOf(text: string): string[][] {
  return text.split(";").map((step) => step.trim().split(/\s+/));
}

/** Return a sequence as the inputs of a network. */
export function inputsOf(text: string, { alphabet, layers }: Data["networks"][number]): Float64Array[] {
  const symbols = alphabet ? [...text] : rowsOf(text);
  if (!symbols.length) throw new ProbeError("The sequence is empty: type at least one symbol.");
  if (symbols.length > MOST_STEPS) throw new ProbeError(`The sequence has ${symbols.length} steps; up to ${MOST_STEPS} are run.`);
  return symbols.map((symbol, step) => {
    if (alphabet && !Object.hasOwn(alphabet, symbol as string)) {
      const known = Object.keys(alphabet).slice(0, 40).join(" ");
      throw new ProbeError(`Step ${step} is "${symbol}", which is no symbol here. The symbols are ${known}`);
    }
    const features = alphabet ? alphabet[symbol as string] : (symbol as string[]).map(numberOf);
    if (features.length !== layers[0].inputs) {
      throw new ProbeError(`Step ${step} has ${features.length} numbers; the network reads ${layers[0].inputs}.`);
    }
    return Float64Array.from(features);
  });
}

export function numberOf(text: string): number {
  const number = Number(text);
  if (!text.trim() || !Number.isFinite(number)) throw new ProbeError(`"${text}" is no number.`);
  return number;
}

/** Return the indices of a text such as `0 3 -1`, or null where it is empty or says `all`. */
export function indicesOf(name: string, text: string): number[] | null {
  if (["", "all"].includes(text.trim())) return null;
  return text
    .trim()
    .split(/[\s,]+/)
    .map((part) => {
      if (!/^-?\d{1,7}$/.test(part)) throw new ProbeError(`${name}: "${part}" is no whole number; write 0 3, or all.`);
      return Number(part);
    });
}

/** Return where a draft acts. */
export function siteOf(draft: Draft, { layers }: Network): Site {
  const layer = layers[Math.min(draft.layer, layers.length - 1)];
  if (!(SIGNALS[layer.family] as readonly string[]).includes(draft.signal)) {
    throw new ProbeError(`Layer ${layer.name} has no signal "${draft.signal}". Choose one that it has.`);
  }
  const [units, steps] = [indicesOf("units", draft.units), indicesOf("steps", draft.steps)];
  return { signal: draft.signal, layer: layer.name, units, steps, rows: null };
}

/** Return the edit that a draft stands for; a patch takes its values from the run on the second sequence. */
export function editOf(draft: Draft, network: Network, source: () => Run): Edit {
  if (draft.kind === "json") return editFromJson(draft.value);
  const site = siteOf(draft, network);
  if (draft.kind === "ablate") return { edit: "ablate", site, kind: "zero", values: null, seed: null };
  if (draft.kind === "patch") return { edit: "patch", site, values: taken(site, network, source()), source_rows: null };
  const value = numberOf(draft.value);
  if (draft.kind === "clamp") return { edit: "clamp", site, value: { shape: [], data: Float64Array.of(value) } };
  const count = site.units?.length ?? network.layers[0].units;
  const direction = { shape: [count], data: new Float64Array(count).fill(value) };
  return { edit: "steer", site, direction, scale: 1 };
}

/** Return what a run holds at a site, as (1, step, unit). */
function taken(site: Site, { layers }: Network, run: Run) {
  const place = layers.findIndex((layer) => layer.name === site.layer);
  const layer = layers[place];
  const names: readonly string[] = SIGNALS[layer.family];
  const steps = within("steps", site.steps, run.steps, "the second sequence");
  const units = within("units", site.units, layer.units, `layer ${layer.name}`);
  const at = (step: number) => (step * names.length + names.indexOf(site.signal)) * layer.units;
  const data = steps.flatMap((step) => units.map((unit) => run.layers[place][at(step) + unit]));
  return { shape: [1, steps.length, units.length], data: Float64Array.from(data) };
}
