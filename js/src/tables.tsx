// The tables of numbers: what the network says, and every signal at every step, shaded and written out.

import type { ComponentChildren } from "preact";
import { STEPS, unitsOf } from "./drawn";
import { layerOf, within } from "./edits";
import { argmax, type Run } from "./network";
import { answersAt, classOf, type Outcome, shown } from "./outcome";
import { agrees, programAnswers } from "./programs";
import { letter, MEANINGS, SIGNALS } from "./signals";
import type { State } from "./state";
import type { Part } from "./view";

/** How many units are listed at once. */
export const UNITS = 16;
const SHADES = 4;
/** How the page calls the views. */
export const VIEW_NAMES = { before: "without edits", after: "with edits", difference: "difference, with minus without" };

function Cell({ value, scale, edited }: { value: number; scale: number; edited: boolean }) {
  const level = Math.ceil(SHADES * Math.min(1, Math.abs(value) / scale) - 0.25);
  const shade = level > 0 ? `${value < 0 ? "n" : "p"}${level}` : "";
  return <td class={edited ? `${shade} edited` : shade}>{shown(value)}</td>;
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

const Head = ({ names }: { names: readonly string[] }) => (
  <thead>
    <tr>
      {names.map((name) => (
        <th scope="col">{name}</th>
      ))}
    </tr>
  </thead>
);

function Line({ name, values, edited, scale }: Row & { scale: number }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      {values.map((value, place) =>
        typeof value === "string" ? <td>{value}</td> : <Cell {...{ value, scale, edited: !!edited?.[place] }} />,
      )}
    </tr>
  );
}

export function Answers({ data, outcome: { network, before, after } }: Part) {
  const { scores, softmax } = network.embedded;
  if (!before || !scores) return null;
  const first = [...answersAt(before, -1, network)];
  const what = softmax ? "probability" : "score";
  const rows: Row[] = [{ name: what, values: first }];
  if (after && after !== before) {
    const second = [...answersAt(after, -1, network)];
    const change = second.map((value, place) => value - first[place]);
    rows[0] = { name: "without edits", values: first };
    rows.push({ name: "with edits", values: second }, { name: "difference", values: change });
  }
  return (
    <Scroll label={`The ${what} of each answer after the last step`}>
      <Head names={["answer", ...first.map((_, place) => classOf(place, network, data))]} />
      <tbody>
        {rows.map((row) => (
          <Line {...row} scale={softmax ? 1 : largest(first)} />
        ))}
      </tbody>
    </Scroll>
  );
}

/** Return the class that a run answers with after a step. */
const said = (run: Run, step: number, { network }: Outcome) => argmax(answersAt(run, step, network));

/** Return a program's answer as the page shows it: a class by its name. */
function answerOf(answer: number, { data, outcome: { network } }: Part): string {
  const isClass = Number.isInteger(answer) && answer >= 0 && answer < network.embedded.scores;
  return isClass ? classOf(answer, network, data) : shown(answer).replace(/\.00$/, "");
}

export function Programs(part: Part) {
  const { data, state, outcome } = part;
  const { programs } = data.networks[state.network];
  const { before, after } = outcome;
  if (!before || !programs.length) return null;
  const runs = after && after !== before ? [before, after] : [before];
  const places = runs.map((run) => said(run, -1, outcome));
  const who = ["the network", "with edits it"];
  const heads = places.map((place, k) => `${who[k]} says ${classOf(place, outcome.network, data)}`);
  return (
    <Scroll label="What programs would answer">
      <Head names={["program", "says", ...heads]} />
      <tbody>
        {programs.map((program) => {
          const answer = programAnswers(program, state.x).at(-1) as number;
          return (
            <tr>
              <th scope="row">
                {program.name}
                {program.role && <span class="role">{program.role}</span>}
              </th>
              <td>{answerOf(answer, part)}</td>
              {places.map((place) => (
                <td>{agrees(answer, place) ? "agrees" : "differs"}</td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </Scroll>
  );
}

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);

interface Row {
  readonly name: string;
  /** Numbers, shaded, or words. */
  readonly values: readonly (number | string)[];
  /** Which of them an edit sets. */
  readonly edited?: readonly boolean[];
}

interface Group {
  readonly title: string;
  readonly rows: readonly Row[];
  readonly scale: number;
}

/** Return a number of one run, or its change, for a view. */
function viewed(view: State["view"], { before, after }: Outcome, read: (run: Run) => number): number {
  if (view === "difference") return read(after as Run) - read(before as Run);
  return read((view === "before" ? before : after) as Run);
}

/** Return the rows of one signal. */
function groupOf({ state, outcome }: Part, view: State["view"], steps: readonly number[], signal: string): Group {
  const { network, edits, before } = outcome;
  const layer = network.layers[state.layer];
  const names: readonly string[] = SIGNALS[layer.family];
  const sites = (view === "before" ? [] : edits)
    .filter(({ site }) => site.signal === signal && layerOf(network.layers, site) === state.layer)
    .map(({ site }) => [within("", site.units, layer.units, ""), within("", site.steps, (before as Run).steps, "")]);
  const units = unitsOf(network.embedded, state.layer).slice(state.unit, state.unit + UNITS);
  const rows = units.map((unit) => ({
    name: `${letter(signal)} ${unit}`,
    values: steps.map((step) => {
      const at = (step * names.length + names.indexOf(signal)) * layer.units + unit;
      return viewed(view, outcome, (run) => run.layers[state.layer][at]);
    }),
    edited: steps.map((step) => sites.some(([units, at]) => units.includes(unit) && at.includes(step))),
  }));
  const bounded = /gate$/.test(signal) && view !== "difference";
  const meaning = MEANINGS[signal];
  const title = `${signal.replaceAll("_", " ")} ${letter(signal)}${meaning ? `: ${meaning}` : ""}`;
  return { title, rows, scale: bounded ? 1 : largest(rows.flatMap((row) => row.values)) };
}

/** Return what the network and the programs would answer, were each step the last. */
function answersGroup(part: Part, view: State["view"], steps: readonly number[]): Group {
  const { data, state, outcome } = part;
  const { network } = outcome;
  const run = (view === "before" ? outcome.before : outcome.after) as Run;
  const rows = data.networks[state.network].programs.map((program) => {
    const answers = programAnswers(program, state.x);
    return { name: program.name, values: steps.map((step) => answerOf(answers[step], part)) };
  });
  const own = { name: "the network", values: steps.map((step) => classOf(said(run, step, outcome), network, data)) };
  return { title: "answer, were this step the last", rows: [own, ...rows], scale: 1 };
}

/** Return what the head reads after every step. */
function scoresGroup({ data, outcome }: Part, view: State["view"], steps: readonly number[]): Group {
  const { network } = outcome;
  const { softmax, scores } = network.embedded;
  const rows = range(0, Math.min(scores, 2 * UNITS)).map((place) => ({
    name: classOf(place, network, data),
    values: steps.map((step) => viewed(view, outcome, (run) => answersAt(run, step, network)[place])),
  }));
  const title = `${softmax ? "probability" : "score"} of each answer, were this step the last`;
  return { title, rows, scale: softmax ? 1 : largest(rows.flatMap((row) => row.values)) };
}

const range = (start: number, count: number) => Array.from({ length: Math.max(0, count) }, (_, index) => start + index);

/** What stands for the scores among the names of signals. */
export const SCORES = "scores";

/** Return all groups of rows, the answers first. */
function groupsOf(part: Part, view: State["view"], steps: readonly number[]): Group[] {
  const { signal, layer } = part.state;
  const { layers, embedded } = part.outcome.network;
  const all: readonly string[] = SIGNALS[layers[layer].family];
  const scores = embedded.scores > 0 && signal === SCORES;
  const names = all.filter((name) =>
    all.includes(signal) ? name === signal : !scores && !name.endsWith("_preactivation"),
  );
  const groups = names.map((name) => groupOf(part, view, steps, name));
  if (embedded.softmax && view !== "difference") groups.unshift(answersGroup(part, view, steps));
  if (scores || (embedded.scores && !embedded.softmax)) groups.push(scoresGroup(part, view, steps));
  return groups;
}

export function SignalTable(part: Part) {
  const { data, state, outcome } = part;
  const { network, before, after } = outcome;
  if (!before) return null;
  const edited = after && after !== before;
  const view = edited ? state.view : "before";
  const steps = range(state.step, Math.min(STEPS, before.steps - state.step));
  const symbols = data.networks[state.network].alphabet ? [...state.x] : [];
  const suffix = state.edits.length || state.put ? `, ${VIEW_NAMES[view]}` : "";
  return (
    <Scroll label={`Layer ${network.layers[state.layer].name} at every step${suffix}`}>
      <thead>
        <tr>
          <th scope="col">
            step{symbols.length ? <span class="symbol">read</span> : null}
          </th>
          {steps.map((step) => (
            <th scope="col">
              {step + 1}
              {symbols.length ? <span class="symbol"> {symbols[step]}</span> : null}
            </th>
          ))}
        </tr>
      </thead>
      {groupsOf(part, view, steps).map((group) => (
        <tbody>
          <tr>
            <th scope="rowgroup" colSpan={steps.length + 1}>
              <span>{group.title}</span>
            </th>
          </tr>
          {group.rows.map((row) => (
            <Line {...row} scale={group.scale} />
          ))}
        </tbody>
      ))}
    </Scroll>
  );
}
