// The explorer: sequences, edits, and what the network computes without and with them.

import { Component, createRef } from "preact";
import { Length, Palette } from "./bits";
import { Choice, EditRow, SequenceInput } from "./controls";
import { type Drawn, isDrawn, STEPS, stepWord, truthOf, verdict, worded } from "./drawn";
import { Handle } from "./handle";
import { argmax, type Run } from "./network";
import { answersAt, lengthNote, type Outcome, spoken } from "./outcome";
import { Panels } from "./panels";
import { agrees } from "./programs";
import { SIGNALS } from "./signals";
import { initial } from "./start";
import { type Data, type Draft, type State, takes, typed, VIEWS } from "./state";
import { Answers, Programs, SCORES, SignalTable, UNITS, VIEW_NAMES } from "./tables";

/** What a reader can take along: the state as code, or as the page's address. */
export type Taken = "Python" | "Link";
/** What was asked for, and what became of copying it. */
export type Copied = { readonly what: Taken; readonly text: string; readonly said: string } | null;

export interface Part {
  readonly data: Data;
  readonly state: State;
  readonly outcome: Outcome;
  /** Change the state, and light a step with it where one is given. */
  readonly set: (change: Partial<State>, lit?: number) => void;
}

/** What drawings need beyond that: the step that is lit, and how to light another. */
export interface Lit extends Part {
  readonly lit: number | null;
  readonly light: (step: number | null) => void;
}

interface All extends Lit {
  readonly drawings: readonly (Drawn | Outcome)[];
  readonly copied: Copied;
  readonly copy: (what: Taken) => void;
}

export function Explorer(props: All) {
  const { data, state, set, drawings } = props;
  const embedded = data.networks[state.network];
  const names = data.networks.map(({ name }, place) => [String(place), name] as const);
  return (
    <>
      <Experiments {...props} />
      <div class="controls">
        {names.length > 1 && (
          <Choice
            label="Network"
            value={String(state.network)}
            options={names}
            onChange={(place) => set({ network: Number(place), layer: 0, signal: "", unit: 0 })}
          />
        )}
        <SequenceInput label="Sequence" value={state.x} network={embedded} onInput={(x) => set({ x: typed(x, embedded), step: 0 })} />
        <Length {...props} />
        <Window {...props} />
      </div>
      {embedded.role && <p class="note">{embedded.role}</p>}
      <Status {...props} />
      <Palette {...props} />
      <Panels {...props} />
      <Handle {...props} drawn={drawings.filter(isDrawn).find(({ place }) => place === state.network)} />
      <More {...props} />
      <Copies {...props} />
    </>
  );
}

/** How long after the last change what is folded is drawn anew, in milliseconds. */
const LATER = 150;

/** Every number and every edit; drawn anew when the state changes, and only later while nobody sees it. */
class More extends Component<Part> {
  /** Open from the first edit on, so that it does not close over what the reader does there. */
  edited = false;
  seen = false;
  later = 0;

  override shouldComponentUpdate({ state }: Part) {
    if (state === this.props.state) return false;
    clearTimeout(this.later);
    if (this.seen || state.edits.length) return true;
    this.later = setTimeout(() => this.forceUpdate(), LATER);
    return false;
  }

  toggle = (event: { readonly currentTarget: HTMLDetailsElement }) => {
    this.seen = event.currentTarget.open;
    if (this.seen) this.forceUpdate();
  };

  override render(part: Part) {
    this.edited ||= part.state.edits.length > 0;
    return (
      <details class="more" open={this.edited} onToggle={this.toggle}>
        <summary>More: every number, and edits of any gate or state</summary>
        <div>
          <Edits {...part} />
          <Programs {...part} />
          <Answers {...part} />
          <Shown {...part} />
          <SignalTable {...part} />
        </div>
      </details>
    );
  }
}

function Experiments({ data, set }: Part) {
  if (!data.experiments.length) return null;
  return (
    <div class="controls try" role="group" aria-label="Try this">
      <span>Try this:</span>
      {data.experiments.map(({ label, state }) => (
        <button type="button" onClick={() => set({ ...initial(data), ...state })}>
          {label}
        </button>
      ))}
    </div>
  );
}

const add = createRef<HTMLButtonElement>();

function Edits({ data, state, set, outcome: { network, before } }: Part) {
  const { edits } = state;
  const embedded = data.networks[state.network];
  const names: readonly string[] = SIGNALS[network.layers[0].family];
  // What the network remembers, set to nothing half-way: an edit whose effect is seen at once.
  const first: Draft = {
    kind: "clamp", layer: state.layer, signal: names.includes("cell_state") ? "cell_state" : "hidden_state",
    units: "all", steps: String(((before?.steps ?? 0) >> 1) + 1), value: "0",
  };
  return (
    <div class="edits">
      {edits.map((draft, place) => (
        <EditRow
          number={place + 1}
          draft={draft}
          network={network}
          onChange={(next) => set({ edits: edits.with(place, next) })}
          onRemove={() => {
            set({ edits: edits.toSpliced(place, 1) });
            add.current?.focus();
          }}
        />
      ))}
      {edits.some(takes) && (
        <div>
          <SequenceInput
            label={`Second sequence${embedded.alphabet ? "; or several, with spaces between" : ""}`}
            value={state.y}
            network={embedded}
            onInput={(y) => set({ y })}
          />
        </div>
      )}
      <button type="button" ref={add} onClick={() => set({ edits: [...edits, first] })}>
        Add an edit
      </button>
      <p class="note">
        {edits.length
          ? "Steps count from 1 and units from 0: 3, or 1 2 5; \u22121 is the last one, and all is every one."
          : "An edit changes a gate or a state while the network runs; all that follows is computed from it."}
      </p>
    </div>
  );
}

/** Whether the last answer of a run is right, where the page knows what is. */
function Verdict({ data, state, outcome: { network }, run }: Part & { run: Run }) {
  const right = network.embedded.softmax && truthOf(data, state, state.network)?.at(-1);
  if (typeof right !== "number") return null;
  const wrong = !agrees(right, argmax(answersAt(run, -1, network)));
  const said = verdict(wrong, worded(right, network, data), state.put !== "");
  return wrong ? <strong class="no"> {"\u2715"} {said}</strong> : <span> {"\u2713"} {said}</span>;
}

function Status(part: Part) {
  const { data, state, outcome } = part;
  const { network, before, after, error } = outcome;
  const { trained_lengths } = data.networks[state.network];
  const edited = state.edits.length > 0 || state.put;
  return (
    <div role="status">
      {error && <p class="wrong">{error}</p>}
      {before && (
        <p class="says">
          {edited ? "Without edits" : network.embedded.softmax ? "The network answers" : "The output"}:{" "}
          <strong>{spoken(before, network, data)}</strong>.
          {after && after !== before && (
            <>
              {" "}
              With them: <strong>{spoken(after, network, data)}</strong>.
            </>
          )}
          {after && <Verdict {...part} run={after} />}
        </p>
      )}
      {before && <p class="note">{lengthNote(before, trained_lengths, stepWord(data.networks[state.network]))}</p>}
    </div>
  );
}

/** Return the choices between parts of so many, which count from a number. */
const pages = (count: number, size: number, what: string, from: number) =>
  Array.from({ length: Math.ceil(count / size) }, (_, page) => {
    const last = Math.min(count, (page + 1) * size) - 1;
    return [String(page * size), `${what} ${page * size + from} to ${last + from}`] as const;
  });

/** Which steps of a long sequence are drawn and listed. */
function Window({ state, set, outcome: { before } }: Part) {
  if (!before || before.steps <= STEPS) return null;
  const options = pages(before.steps, STEPS, "steps", 1);
  return <Choice label="Shown" value={String(state.step)} options={options} onChange={(step) => set({ step: Number(step) })} />;
}

function Shown({ state, set, outcome: { network, before, after } }: Part) {
  const { layers } = network;
  const layer = layers[state.layer];
  const views = VIEWS.map((view) => [view, VIEW_NAMES[view]] as const);
  const { scores, softmax } = network.embedded;
  const signals = SIGNALS[layer.family].map((name) => [name, name.replaceAll("_", " ")] as const);
  const answers = scores ? [[SCORES, softmax ? "probabilities" : "scores"] as const] : [];
  return (
    <>
      <div class="controls">
        {after !== before && (
          <Choice label="Show" value={state.view} options={views} onChange={(view) => set({ view: view as State["view"] })} />
        )}
        {layers.length > 1 && (
          <Choice
            label="Layer"
            value={String(state.layer)}
            options={layers.map(({ name }, place) => [String(place), name])}
            onChange={(place) => set({ layer: Number(place), unit: 0 })}
          />
        )}
        <Choice
          label="Signals"
          value={state.signal}
          options={[["", "gates and states"], ...answers, ...signals]}
          onChange={(signal) => set({ signal })}
        />
        {layer.units > UNITS && (
          <Choice
            label="Units"
            value={String(state.unit)}
            options={pages(layer.units, UNITS, "places", 1)}
            onChange={(unit) => set({ unit: Number(unit) })}
          />
        )}
      </div>
      <p class="note">
        Gold is above zero, teal below, stronger is further. What an edit sets is outlined. Units stand in the order of the drawing.
      </p>
    </>
  );
}

function Copies({ outcome, copied, copy }: All) {
  return (
    <div class="copies">
      {/* A page in a frame has no address. */}
      {location.protocol !== "about:" && (
        <button type="button" onClick={() => copy("Link")}>
          Copy link to this
        </button>
      )}{" "}
      <button type="button" disabled={!outcome.after} onClick={() => copy("Python")}>
        Copy as Python
      </button>{" "}
      <span role="status">{copied?.said}</span>
      {copied && (
        <textarea readOnly rows={copied.what === "Link" ? 3 : 12} aria-label={copied.what} spellcheck={false} value={copied.text} />
      )}
    </div>
  );
}
