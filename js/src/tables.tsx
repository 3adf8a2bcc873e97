// The tables of numbers: what the network says, and every signal at every step, shaded and written out.

import type { ComponentChildren } from "preact";
import { answersAt, classOf, type Outcome, shown } from "./outcome";
import { letter, SIGNALS } from "./signals";
import type { Data, State } from "./state";

/** How many units and steps are shown at once. */
export const UNITS = 16;
export const STEPS = 32;
const SHADES = 4;

function Cell({ value, scale }: { value: number; scale: number }) {
  const level = Math.ceil(SHADES * Math.min(1, Math.abs(value) / scale) - 0.25);
  return <td class={level > 0 ? `${value < 0 ? "n" : "p"}${level}` : ""}>{shown(value)}</td>;
}

function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <caption>{label}</caption>
        {children}
      </table>
    </div>
  );
}

export function Answers({ data, network, before, after }: Outcome & { data: Data }) {
  const first = before && answersAt(before, -1, network);
  if (!first || !network.embedded.scores) return null;
  const second = after && answersAt(after, -1, network);
  const scale = network.embedded.softmax ? 1 : largest(first);
  const what = network.embedded.softmax ? "Probability" : "Score";
  return (
    <Scroll label={`${what} after the last step`}>
      <thead>
        <tr>
          <th scope="col">answer</th>
          <th scope="col">before</th>
          <th scope="col">after</th>
          <th scope="col">difference</th>
        </tr>
      </thead>
      <tbody>
        {[...first].map((value, place) => (
          <tr>
            <th scope="row">{classOf(place, network, data)}</th>
            <Cell value={value} scale={scale} />
            {second ? <Cell value={second[place]} scale={scale} /> : <td>{"\u2013"}</td>}
            {second ? <Cell value={second[place] - value} scale={scale} /> : <td>{"\u2013"}</td>}
          </tr>
        ))}
      </tbody>
    </Scroll>
  );
}

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);

interface Group {
  readonly title: string;
  readonly rows: readonly { readonly name: string; readonly values: readonly number[] }[];
  readonly scale: number;
}

/** Return the rows of one signal, or nothing where the view has no run. */
function groupOf({ network, before, after }: Outcome, state: State, place: number, signal: string): Group {
  const layer = network.layers[place];
  const names: readonly string[] = SIGNALS[layer.family];
  const at = (step: number, unit: number) => (step * names.length + names.indexOf(signal)) * layer.units + unit;
  const value = (step: number, unit: number) => {
    const here = (from: Outcome["before"]) => (from ? from.layers[place][at(step, unit)] : NaN);
    if (state.view === "difference") return here(after) - here(before);
    return here(state.view === "before" ? before : after);
  };
  const rows = range(state.unit, Math.min(UNITS, layer.units - state.unit)).map((unit) => ({
    name: `${letter(signal)} ${unit}`,
    values: stepsShown(state, before?.steps ?? 0).map((step) => value(step, unit)),
  }));
  const bounded = /gate$/.test(signal) && state.view !== "difference";
  const title = `${signal.replaceAll("_", " ")} ${letter(signal)}`;
  return { title, rows, scale: bounded ? 1 : largest(rows.flatMap((row) => row.values)) };
}

/** Return what the network would answer after every step. */
function answersGroup({ network, before, after }: Outcome, state: State, data: Data): Group {
  const softmax = network.embedded.softmax;
  const steps = stepsShown(state, before?.steps ?? 0);
  const table = (from: Outcome["before"]) => steps.map((step) => from && answersAt(from, step, network));
  const [first, second] = [table(before), table(after)];
  const rows = range(0, Math.min(network.embedded.scores, 2 * UNITS)).map((place) => ({
    name: classOf(place, network, data),
    values: steps.map((_, t) => {
      const [one, two] = [first[t]?.[place] ?? NaN, second[t]?.[place] ?? NaN];
      return state.view === "difference" ? two - one : state.view === "before" ? one : two;
    }),
  }));
  const title = `${softmax ? "probability" : "score"} read after each step`;
  return { title, rows, scale: softmax ? 1 : largest(rows.flatMap((row) => row.values)) };
}

const range = (start: number, count: number) => Array.from({ length: Math.max(0, count) }, (_, index) => start + index);
const stepsShown = (state: State, steps: number) => range(state.step, Math.min(STEPS, steps - state.step));

export function SignalTable({ data, state, outcome }: { data: Data; state: State; outcome: Outcome }) {
  const run = state.view === "before" ? outcome.before : outcome.after;
  if (!run) return null;
  const layer = outcome.network.layers[state.layer];
  const names = SIGNALS[layer.family].filter((name) =>
    (SIGNALS[layer.family] as readonly string[]).includes(state.signal)
      ? name === state.signal
      : !name.endsWith("_preactivation"),
  );
  const groups = names.map((name) => groupOf(outcome, state, state.layer, name));
  if (outcome.network.embedded.scores) groups.push(answersGroup(outcome, state, data));
  const symbols = data.networks[state.network].alphabet ? [...state.x] : [];
  const steps = stepsShown(state, run.steps);
  return (
    <Scroll label={`Layer ${layer.name} at every step, ${state.view}`}>
      <thead>
        <tr>
          <th scope="col">step</th>
          {steps.map((step) => (
            <th scope="col" class="number">
              {step}
              {symbols.length ? <span class="symbol"> {symbols[step]}</span> : null}
            </th>
          ))}
        </tr>
      </thead>
      {groups.map((group) => (
        <tbody>
          <tr>
            <th scope="rowgroup" colSpan={steps.length + 1}>
              {group.title}
            </th>
          </tr>
          {group.rows.map((row) => (
            <tr>
              <th scope="row">{row.name}</th>
              {row.values.map((value) => (
                <Cell value={value} scale={group.scale} />
              ))}
            </tr>
          ))}
        </tbody>
      ))}
    </Scroll>
  );
}
