// What the reader sets: native controls, each with its label.

import type { ComponentChildren } from "preact";
import type { Network } from "./network";
import { SIGNALS } from "./signals";
import { type Data, type Draft, KINDS, rowsOf } from "./state";

type Entered = { readonly currentTarget: { readonly value: string } };

export function Field({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <label>
      <span>{label}</span> {children}
    </label>
  );
}

export function Choice(props: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  onChange: (value: string) => void;
}) {
  return (
    <Field label={props.label}>
      <select value={props.value} onChange={(event: Entered) => props.onChange(event.currentTarget.value)}>
        {props.options.map(([value, text]) => (
          <option value={value} selected={value === props.value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
}

export function Words(props: { label: string; value: string; wide?: boolean; onInput: (value: string) => void }) {
  return (
    <Field label={props.label}>
      <input
        type="text"
        class={props.wide ? "wide" : ""}
        value={props.value}
        autocomplete="off"
        spellcheck={false}
        onInput={(event: Entered) => props.onInput(event.currentTarget.value)}
      />
    </Field>
  );
}

/** A sequence as symbols that are typed, or as a small table of numbers. */
export function SequenceInput(props: {
  label: string;
  value: string;
  network: Data["networks"][number];
  onInput: (value: string) => void;
}) {
  const { label, value, network, onInput } = props;
  if (network.alphabet) return <Words label={label} value={value} wide onInput={onInput} />;
  const rows = rowsOf(value);
  const write = (next: string[][]) => onInput(next.map((row) => row.join(" ")).join(";"));
  const put = (step: number, feature: number, text: string) =>
    write(rows.map((row, t) => (t === step ? row.map((old, k) => (k === feature ? text.trim() || "0" : old)) : row)));
  return (
    <fieldset>
      <legend>{label}</legend>
      <div class="scroll" role="region" aria-label={`${label}, numbers`} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">step</th>
              {rows.map((_, step) => (
                <th scope="col">{step + 1}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows[0].map((_, feature) => (
              <tr>
                <th scope="row">input {feature}</th>
                {rows.map((row, step) => (
                  <td>
                    <input
                      type="text"
                      inputMode="decimal"
                      aria-label={`${label}, step ${step + 1}, input ${feature}`}
                      value={row[feature]}
                      onChange={(event: Entered) => put(step, feature, event.currentTarget.value)}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <button type="button" onClick={() => write([...rows, rows[rows.length - 1].map(() => "0")])}>
        Add a step
      </button>{" "}
      <button type="button" disabled={rows.length < 2} onClick={() => write(rows.slice(0, -1))}>
        Remove the last step
      </button>
    </fieldset>
  );
}

const SAID: Record<Draft["kind"], string> = {
  clamp: "clamp: hold at a value",
  ablate: "ablate: put zero",
  mean: "mean: of second sequences",
  resample: "resample: a second sequence",
  patch: "patch: the second sequence",
  steer: "steer: add a value",
  json: "paste JSON of Edit.to_json()",
};
/** What the number of an edit is, where it has one. */
const NUMBERS: Partial<Record<Draft["kind"], string>> = { clamp: "value", steer: "value", resample: "seed" };

export function EditRow(props: {
  number: number;
  draft: Draft;
  network: Network;
  onChange: (draft: Draft) => void;
  onRemove: () => void;
}) {
  const { number, draft, network, onChange, onRemove } = props;
  const set = (change: Partial<Draft>) => onChange({ ...draft, ...change });
  const { layers } = network;
  const layer = layers[Math.min(draft.layer, layers.length - 1)];
  const kinds = KINDS.map((kind) => [kind, SAID[kind]] as const);
  const counted = NUMBERS[draft.kind];
  return (
    <fieldset>
      <legend>Edit {number}</legend>
      <div class="controls">
        <Choice label="what" value={draft.kind} options={kinds} onChange={(kind) => set({ kind: kind as Draft["kind"] })} />
        {draft.kind === "json" ? (
          <Words label="JSON" value={draft.value} wide onInput={(value) => set({ value })} />
        ) : (
          <>
            {layers.length > 1 && (
              <Choice
                label="layer"
                value={String(draft.layer)}
                options={layers.map(({ name }, place) => [String(place), name])}
                onChange={(place) => set({ layer: Number(place) })}
              />
            )}
            <Choice
              label="signal"
              value={draft.signal}
              options={SIGNALS[layer.family].map((signal) => [signal, signal.replaceAll("_", " ")])}
              onChange={(signal) => set({ signal })}
            />
            <Words label="units" value={draft.units} onInput={(units) => set({ units })} />
            <Words label="steps, from 1" value={draft.steps} onInput={(steps) => set({ steps })} />
            {counted && <Words label={counted} value={draft.value} onInput={(value) => set({ value })} />}
          </>
        )}
        <button type="button" onClick={onRemove}>
          Remove edit {number}
        </button>
      </div>
    </fieldset>
  );
}
