// What the reader has set, as text in the address: everything there may come from anybody, and is only ever compared.

import { type Edit, editFromJson, ProbeError, type Site, type Values, within } from "./edits";
import type { Embedded, Network, Run } from "./network";
import type { Program } from "./programs";
import { PUT } from "./memory";
import { SIGNALS } from "./signals";
import { initial } from "./start";

/** What probe/explorer/explorer.py writes into the page. */
export interface Data {
  readonly networks: readonly (Embedded & {
    /** For each symbol its features, or null where the input is a table of numbers. */
    readonly alphabet: Readonly<Record<string, readonly number[]>> | null;
    readonly trained_lengths: readonly number[];
    readonly programs: readonly Program[];
    /** Whose colour it is drawn in: a role's, as in the page's figures. */
    readonly look: string;
    /** What such a network is, in words. */
    readonly legend: string;
  })[];
  readonly example: string;
  readonly classes: readonly string[];
  /** The name of the program that is right, or nothing where the page knows none. */
  readonly truth: string;
  /** The places of the networks that are drawn beside each other. */
  readonly beside: readonly number[];
  /** What the page's author suggests to try: a button's words, and what it sets. */
  readonly experiments: readonly { readonly label: string; readonly state: Partial<State> }[];
}

export const KINDS = ["clamp", "ablate", "mean", "resample", "patch", "steer", "json"] as const;
export const VIEWS = ["before", "after", "difference"] as const;

/** An edit as the reader writes it. */
export interface Draft {
  readonly kind: (typeof KINDS)[number];
  readonly layer: number;
  readonly signal: string;
  readonly units: string;
  /** Counted from 1, or from −1 backwards. */
  readonly steps: string;
  /** The number that a clamp puts or a steering adds, the seed of a resampling, or the JSON of `Edit.to_json`. */
  readonly value: string;
}

export interface State {
  readonly network: number;
  /** The sequence, and those that values are taken from: symbols, or numbers with `;` between steps. */
  readonly x: string;
  readonly y: string;
  readonly view: (typeof VIEWS)[number];
  readonly layer: number;
  readonly signal: string;
  readonly unit: number;
  readonly step: number;
  readonly edits: readonly Draft[];
  /** What the handle puts in, see PUT: what is kept after step `from` of the second sequence, after step `at`. */
  readonly put: string;
  readonly from: number;
  readonly at: number;
}

const MOST_STEPS = 2000;
const MOST_EDITS = 20;

/** Return what is typed as symbols: spaces and commas that are none of them are left out. */
export function typed(text: string, { alphabet }: Data["networks"][number]): string {
  return alphabet ? [...text].filter((mark) => !/[\s,]/.test(mark) || Object.hasOwn(alphabet, mark)).join("") : text;
}

/** Return the state that an address holds, or null where it holds none; what makes no sense is left out. */
export function fromHash(hash: string, data: Data): State | null {
  const given = new URLSearchParams(hash.slice(1));
  const read = given.get("x");
  if (read === null) return null;
  const network = whole(given.get("network"), data.networks.length);
  const x = typed(read, data.networks[network]);
  const { layers } = data.networks[network];
  return {
    network,
    x,
    y: given.get("y") ?? initial(data).y,
    view: VIEWS.find((view) => view === given.get("view")) ?? "after",
    layer: whole(given.get("layer"), layers.length),
    signal: given.get("signal") ?? "",
    unit: whole(given.get("unit"), Infinity),
    step: whole(given.get("step"), Infinity),
    edits: given.getAll("edit").slice(0, MOST_EDITS).flatMap(draftOf),
    put: PUT.test(given.get("put") ?? "") ? (given.get("put") ?? "") : "",
    from: whole(given.get("from"), Infinity),
    at: whole(given.get("at"), Infinity),
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
      throw new ProbeError(`Step ${step + 1} is "${symbol}", which is no symbol here. The symbols are ${known}`);
    }
    const features = alphabet ? alphabet[symbol as string] : (symbol as string[]).map(numberOf);
    if (features.length !== layers[0].inputs) {
      throw new ProbeError(`Step ${step + 1} has ${features.length} numbers; the network reads ${layers[0].inputs}.`);
    }
    return Float64Array.from(features);
  });
}

export function numberOf(text: string): number {
  const number = Number(text);
  if (!text.trim() || !Number.isFinite(number)) throw new ProbeError(`"${text}" is no number.`);
  return number;
}

/** Return the numbers of a text such as `1 3 -1`, or null where it is empty or says `all`. */
function wholesOf(name: string, text: string): number[] | null {
  if (["", "all"].includes(text.trim())) return null;
  return text
    .trim()
    .split(/[\s,]+/)
    .map((part) => {
      if (!/^-?\d{1,7}$/.test(part)) throw new ProbeError(`${name}: "${part}" is no whole number; write 1 3, or all.`);
      return Number(part);
    });
}

/** Return the indices of steps that a reader counts from 1, or from −1 backwards. */
function stepsOf(text: string): number[] | null {
  const steps = wholesOf("steps", text);
  if (steps?.includes(0)) throw new ProbeError("There is no step 0: steps count from 1, and \u22121 is the last one.");
  return steps && steps.map((step) => (step > 0 ? step - 1 : step));
}

/** Return where a draft acts. */
export function siteOf(draft: Draft, { layers }: Network): Site {
  const layer = layers[Math.min(draft.layer, layers.length - 1)];
  if (!(SIGNALS[layer.family] as readonly string[]).includes(draft.signal)) {
    throw new ProbeError(`Layer ${layer.name} has no signal "${draft.signal}". Choose one that it has.`);
  }
  const [units, steps] = [wholesOf("units", draft.units), stepsOf(draft.steps)];
  return { signal: draft.signal, layer: layer.name, units, steps, rows: null };
}

/** Return the sequences of a text: with an alphabet, spaces and commas that are no symbols stand between them. */
export function sourcesOf(text: string, embedded: Data["networks"][number]): Float64Array[][] {
  const { alphabet } = embedded;
  const between = [...", "].filter((mark) => alphabet && !Object.hasOwn(alphabet, mark)).join("");
  const texts = between ? (text.match(RegExp(`[^${between}]+`, "g")) ?? [""]) : [text];
  const sources = texts.map((one) => inputsOf(one, embedded));
  const [{ length }] = sources;
  const other = sources.find((one) => one.length !== length);
  if (other) throw new ProbeError(`The second sequences have ${length} and ${other.length} steps; write them equally long.`);
  const all = length * sources.length;
  if (all > MOST_STEPS) throw new ProbeError(`The second sequences have ${all} steps in all; up to ${MOST_STEPS} are run.`);
  return sources;
}

/** Whether a draft takes values from the second sequences. */
export const takes = ({ kind }: Draft) => ["mean", "resample", "patch"].includes(kind);

/** Return the edit that a draft stands for; where it takes values, from the runs on the second sequences. */
export function editOf(draft: Draft, network: Network, sources: () => readonly Run[]): Edit {
  const { kind } = draft;
  if (kind === "json") return editFromJson(draft.value);
  const site = siteOf(draft, network);
  if (kind === "ablate") return { edit: kind, site, kind: "zero", values: null, seed: null };
  if (takes(draft)) {
    const values = taken(site, network, sources());
    if (kind === "patch") return { edit: kind, site, values, source_rows: [0] };
    if (kind === "mean") return { edit: "ablate", site, kind, values: meanOf(values), seed: null };
    return { edit: "ablate", site, kind, values, seed: seedOf(draft.value) };
  }
  const value = numberOf(draft.value);
  if (kind === "clamp") return { edit: kind, site, value: { shape: [], data: Float64Array.of(value) } };
  const count = site.units?.length ?? network.layers[0].units;
  const direction = { shape: [count], data: new Float64Array(count).fill(value) };
  return { edit: "steer", site, direction, scale: 1 };
}

/** Return the whole number that a resampling draws by. */
export function seedOf(text: string): number {
  if (!/^\d{1,15}$/.test(text.trim())) throw new ProbeError(`seed: "${text}" is no whole number from 0 on.`);
  return Number(text);
}

/** Return what runs hold at a site, as (run, step, unit). */
export function taken(site: Site, { layers }: Network, runs: readonly Run[]): Values {
  const place = layers.findIndex((layer) => layer.name === site.layer);
  const layer = layers[place];
  const names: readonly string[] = SIGNALS[layer.family];
  const steps = within("steps", site.steps, runs[0].steps, "the second sequence");
  const units = within("units", site.units, layer.units, `layer ${layer.name}`);
  const at = (step: number) => (step * names.length + names.indexOf(site.signal)) * layer.units;
  const data = runs.flatMap((run) => steps.flatMap((step) => units.map((unit) => run.layers[place][at(step) + unit])));
  return { shape: [runs.length, steps.length, units.length], data: Float64Array.from(data) };
}

function meanOf({ shape: [runs, ...shape], data }: Values): Values {
  const mean = new Float64Array(data.length / runs);
  data.forEach((value, place) => (mean[place % mean.length] += value / runs));
  return { shape: [1, ...shape], data: mean };
}
