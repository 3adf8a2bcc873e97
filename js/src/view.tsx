// The explorer: sequences, edits, and what the network computes before and after them.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Choice, EditRow, SequenceInput } from "./controls";
import { lengthNote, type Outcome, outcomeOf, spoken } from "./outcome";
import { pythonOf } from "./python";
import { SIGNALS } from "./signals";
import { type Data, type Draft, fromHash, initial, type State, toHash, VIEWS } from "./state";
import { Answers, SignalTable, STEPS, UNITS } from "./tables";

/** The state, kept in the address where the browser lets us: in a sandboxed frame it does not. */
function useAddress(data: Data) {
  const [state, setState] = useState<State>(() => fromHash(location.hash, data) ?? initial(data));
  useEffect(() => {
    const read = () => setState((old) => fromHash(location.hash, data) ?? old);
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, [data]);
  const set = (change: Partial<State>) => {
    const next = { ...state, ...change };
    setState(next);
    try {
      history.replaceState(null, "", toHash(next));
    } catch {
      // The state lives on in the page alone.
    }
  };
  return [state, set] as const;
}

export function Explorer({ data }: { data: Data }) {
  const [state, set] = useAddress(data);
  const outcome = useMemo(() => outcomeOf(data, state), [data, state]);
  const embedded = data.networks[state.network];
  const names = data.networks.map(({ name }, place) => [String(place), name] as const);
  const patches = state.edits.some((draft) => draft.kind === "patch");
  return (
    <>
      <div class="controls">
        {names.length > 1 && (
          <Choice
            label="Network"
            value={String(state.network)}
            options={names}
            onChange={(place) => set({ network: Number(place), layer: 0, signal: "", unit: 0 })}
          />
        )}
        <SequenceInput label="Sequence" value={state.x} network={embedded} onInput={(x) => set({ x, step: 0 })} />
        {patches && (
          <SequenceInput label="Second sequence, to patch from" value={state.y} network={embedded} onInput={(y) => set({ y })} />
        )}
      </div>
      {embedded.role && <p class="note">{embedded.role}</p>}
      <Edits state={state} set={set} outcome={outcome} />
      <Status data={data} state={state} outcome={outcome} />
      <Answers data={data} {...outcome} />
      <Shown state={state} set={set} outcome={outcome} />
      <SignalTable data={data} state={state} outcome={outcome} />
      <Python data={data} state={state} outcome={outcome} />
    </>
  );
}

interface Part {
  readonly state: State;
  readonly set: (change: Partial<State>) => void;
  readonly outcome: Outcome;
}

function Edits({ state, set, outcome: { network } }: Part) {
  const add = useRef<HTMLButtonElement>(null);
  const { edits } = state;
  const first: Draft = {
    kind: "clamp", layer: state.layer, signal: SIGNALS[network.layers[0].family].at(-1) as string,
    units: "0", steps: "0", value: "0",
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
      <button type="button" ref={add} onClick={() => set({ edits: [...edits, first] })}>
        Add an edit
      </button>
    </div>
  );
}

function Status({ data, state, outcome }: Omit<Part, "set"> & { data: Data }) {
  const { network, before, after, error } = outcome;
  const { trained_lengths } = data.networks[state.network];
  return (
    <div role="status">
      {error && <p class="wrong">{error}</p>}
      {before && (
        <p>
          Without edits: <strong>{spoken(before, network, data)}</strong>.
          {after && state.edits.length > 0 && (
            <>
              {" "}
              With them: <strong>{spoken(after, network, data)}</strong>.
            </>
          )}
        </p>
      )}
      {before && <p class="note">{lengthNote(before, trained_lengths)}</p>}
    </div>
  );
}

function Shown({ state, set, outcome: { network, before } }: Part) {
  const { layers } = network;
  const layer = layers[state.layer];
  const pages = (count: number, size: number, what: string) =>
    Array.from({ length: Math.ceil(count / size) }, (_, page) => {
      const last = Math.min(count, (page + 1) * size) - 1;
      return [String(page * size), `${what} ${page * size} to ${last}`] as const;
    });
  const views = VIEWS.map((view) => [view, view] as const);
  const signals = SIGNALS[layer.family].map((name) => [name, name.replaceAll("_", " ")] as const);
  return (
    <div class="controls">
      <Choice label="Show" value={state.view} options={views} onChange={(view) => set({ view: view as State["view"] })} />
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
        options={[["", "gates and states"], ...signals]}
        onChange={(signal) => set({ signal })}
      />
      {layer.units > UNITS && (
        <Choice
          label="Units"
          value={String(state.unit)}
          options={pages(layer.units, UNITS, "units")}
          onChange={(unit) => set({ unit: Number(unit) })}
        />
      )}
      {before && before.steps > STEPS && (
        <Choice
          label="Steps"
          value={String(state.step)}
          options={pages(before.steps, STEPS, "steps")}
          onChange={(step) => set({ step: Number(step) })}
        />
      )}
    </div>
  );
}

/** Copies a text where that is allowed; in a frame Chromium says so beforehand, and logs an error for each try. */
async function toClipboard(text: string): Promise<boolean> {
  const { featurePolicy } = document as { featurePolicy?: { allowsFeature(name: string): boolean } };
  if (featurePolicy?.allowsFeature("clipboard-write") === false) return false;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function Python({ data, state, outcome }: Omit<Part, "set"> & { data: Data }) {
  const box = useRef<HTMLTextAreaElement>(null);
  const [made, setMade] = useState({ state, code: "", said: "" });
  const code = made.state === state ? made.code : "";
  useEffect(() => {
    if (code) box.current?.select();
  }, [code]);
  const copy = async () => {
    const text = pythonOf(data, state, outcome.network);
    setMade({ state, code: text, said: "Below." });
    const copied = await toClipboard(text);
    const said = copied ? "Copied." : "This browser lets no page copy here: the code is selected below.";
    setMade({ state, code: text, said });
  };
  return (
    <div class="python">
      <button type="button" disabled={!outcome.after} onClick={copy}>
        Copy as Python
      </button>{" "}
      <span role="status">{code && made.said}</span>
      {code && <textarea ref={box} readOnly rows={12} aria-label="Python" spellcheck={false} value={code} />}
    </div>
  );
}
