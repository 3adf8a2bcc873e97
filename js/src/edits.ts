// Edits as `Edit.to_json` writes them, put in their places as `probe.intervene` puts them.

import type { Layer } from "./cells";
import { randint } from "./random";
import { SIGNALS } from "./signals";

/** An array of numbers with its shape. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface Site {
  readonly signal: string;
  readonly layer: string | null;
  readonly units: readonly number[] | null;
  readonly steps: readonly number[] | null;
  readonly rows: readonly number[] | null;
}

export type Edit = { readonly site: Site } & (
  | { readonly edit: "clamp"; readonly value: Values }
  | { readonly edit: "ablate"; readonly kind: string; readonly values: Values | null; readonly seed: number | null }
  | { readonly edit: "patch"; readonly values: Values; readonly source_rows: readonly number[] | null }
  | { readonly edit: "steer"; readonly direction: Values; readonly scale: number }
);

/** A run is one row of a batch: edits may speak of rows by their numbers. */
export interface Row {
  readonly row: number;
  readonly batch: number;
}

/** What was asked cannot be done; the message says what is possible. */
export class ProbeError extends Error {}

const FORMAT = "rnn-probe edit 1";

/** Return the numbers of base64 text: little-endian floats. */
export function numbers(base64: string, dtype: string): Float64Array {
  const text = atob(base64);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  if (dtype === "float64") return new Float64Array(bytes.buffer);
  if (dtype === "float32") return Float64Array.from(new Float32Array(bytes.buffer));
  throw new ProbeError(`Numbers of type ${dtype} cannot be read here; float32 and float64 can.`);
}

/** Whether something is null or several different whole numbers. */
function isIndices(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.length > 0 && value.every(Number.isInteger));
}

/** Return the edit that `Edit.to_json` wrote. */
export function editFromJson(text: string): Edit {
  let written;
  try {
    written = JSON.parse(text);
  } catch (error) {
    throw new ProbeError(`This is no JSON (${(error as Error).message}).`);
  }
  const { site } = written ?? {};
  if (written?.format !== FORMAT || !site || ![site.units, site.steps, site.rows].every(isIndices)) {
    throw new ProbeError("This is no edit as Edit.to_json writes it.");
  }
  if (site.call) throw new ProbeError(`call=${site.call}: a network is called once here.`);
  for (const name of ["value", "values", "direction"]) {
    const array = written[name];
    if (!array) continue;
    if (typeof array.base64 !== "string") throw new ProbeError("The array of this edit lies in a file; write it into the JSON.");
    written[name] = { shape: array.shape, data: numbers(array.base64, array.dtype) };
  }
  return written;
}

/** Return indices counted from 0, all of them for null. */
export function within(name: string, indices: readonly number[] | null, size: number, what: string): number[] {
  if (!indices) return Array.from({ length: size }, (_, index) => index);
  const found = indices.map((index) => {
    if (!(index >= -size && index < size)) {
      // A reader counts steps from 1; a pasted edit, as Python does, from 0.
      if (name === "steps") throw new ProbeError(`Step ${index + Number(index >= 0)} lies outside ${what}, which has ${size}.`);
      throw new ProbeError(`${name}=${index} lies outside ${what}, which has ${size} (${-size} to ${size - 1}).`);
    }
    return index < 0 ? index + size : index;
  });
  if (new Set(found).size < found.length) throw new ProbeError(`${name}: one is named twice.`);
  return found;
}

/** Return the place of the layer that an edit is for. */
export function layerOf(layers: readonly Layer[], site: Site): number {
  const fits = layers.flatMap((layer, place) =>
    (site.layer === null || site.layer === layer.name) &&
    (SIGNALS[layer.family] as readonly string[]).includes(site.signal)
      ? [place]
      : [],
  );
  if (fits.length === 1) return fits[0];
  const names = layers.map((layer) => layer.name).join(", ");
  throw new ProbeError(
    fits.length
      ? `${site.signal}: several layers have it (${names}). Choose one.`
      : `No layer ${site.layer ?? ""} here computes ${site.signal}; the layers are ${names}.`,
  );
}

/** Writes what stands at a site after the edit into values, the signal's first unit being at `start`. */
export type Put = (values: Float64Array, start: number) => void;

/** Return, for each step that an edit changes in this row, what it does there. */
export function placed(edit: Edit, layer: Layer, time: number, { row, batch }: Row): Map<number, Put> {
  const { site } = edit;
  const rows = within("rows", site.rows, batch, "the batch");
  const number = rows.indexOf(row);
  const units = within("units", site.units, layer.units, `layer ${layer.name}`);
  const steps = within("steps", site.steps, time, "the input");
  checkSizes(edit, units.length, steps.length);
  const places = new Map<number, Put>();
  if (number < 0) return places;
  const value = valueOf(edit, row, number, units.length);
  steps.forEach((step, position) => {
    places.set(step, (values, start) => {
      units.forEach((unit, k) => (values[start + unit] = value(position, k, values[start + unit])));
    });
  });
  return places;
}

function checkSizes(edit: Edit, units: number, steps: number): void {
  const held = edit.edit === "clamp" ? edit.value : edit.edit === "steer" ? edit.direction : edit.values;
  const count = held?.shape.at(-1) ?? units;
  if (count !== units) throw new ProbeError(`The ${edit.edit} brings values of ${count} units for ${units}.`);
  const length = held?.shape.length === 3 ? held.shape[1] : steps;
  if (length !== steps) throw new ProbeError(`The ${edit.edit} brings values of ${length} steps for ${steps}.`);
}

/** Return what gives the new value of the k-th unit at a position among the edit's steps. */
function valueOf(edit: Edit, row: number, number: number, units: number) {
  type Value = (position: number, k: number, old: number) => number;
  const from = ({ shape, data }: Values, source: number): Value => {
    if (source >= shape[0]) throw new ProbeError(`The ${edit.edit} has no row ${source}; it has ${shape[0]}.`);
    const start = source * shape[1] * units;
    if (data.subarray(start, start + shape[1] * units).some(Number.isNaN)) {
      throw new ProbeError(`The ${edit.edit} brings no number at a place that is put into the run.`);
    }
    return (position, k) => data[start + position * units + k];
  };
  switch (edit.edit) {
    case "clamp": {
      const { shape, data } = edit.value;
      return ((_, k) => data[shape.length ? k : 0]) as Value;
    }
    case "steer":
      return ((_, k, old) => old + edit.scale * edit.direction.data[k]) as Value;
    case "patch":
      return from(edit.values, edit.source_rows ? edit.source_rows[number] : row);
    case "ablate": {
      if (!edit.values) return (() => 0) as Value;
      if (edit.kind === "mean") return from(edit.values, 0);
      return from(edit.values, randint(edit.values.shape[0], row + 1, edit.seed ?? 0)[row]);
    }
    default:
      throw new ProbeError(`There is no edit ${(edit as Edit).edit}; there are clamp, ablate, patch and steer.`);
  }
}
