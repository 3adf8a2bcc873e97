// The networks beside each other: what they read, what they would answer at once, and what they keep.

import { Bits } from "./bits";
import { type Drawn, isDrawn, MOST_UNITS, said, stepWord } from "./drawn";
import type { Outcome } from "./outcome";
import { MEANINGS } from "./signals";
import { Memory, Scores } from "./sparklines";
import { Staircase } from "./staircase";
import type { Data } from "./state";
import type { Lit } from "./view";

/** Letters and pixels: how much room the names of answers need beside the drawing. */
const LETTER = 7;
const [NARROW, WIDE] = [30, 96];

/** Return a look as the style sheet's class. */
const classed = (look: string) => look.replaceAll(" ", "-");

/** Return the width of the column left of the drawings. */
function gutterOf(data: Data, drawn: readonly Drawn[]): number {
  const named = drawn.some(({ outcome }) => outcome.network.embedded.scores === data.classes.length);
  const longest = named ? Math.max(0, ...data.classes.map(({ length }) => length)) : 4;
  return Math.min(WIDE, Math.max(NARROW, longest * LETTER + 4));
}

export function Panels(props: Lit & { drawings: readonly (Drawn | Outcome)[] }) {
  const { data, state, drawings } = props;
  const drawn = drawings.filter(isDrawn);
  if (!drawn.length) return null;
  const [first] = drawn;
  const kept = [...new Set(drawn.map(({ memory }) => memory.signal))];
  const sorted = [...new Set(drawn.map(({ memory }) => memory.sorted))];
  const looks = new Map(drawn.map(({ place }) => [data.networks[place].look, data.networks[place].legend]));
  return (
    <>
      <ul class="key" aria-hidden="true">
        {looks.size > 1 && [...looks].map(([look, legend]) => <li class={`look ${classed(look)}`}>{legend}</li>)}
        {(first.answers || first.scores.length > 0) && <li class="answer">the answer, if asked now</li>}
        {first.truth && <li class="truth">{`${data.truth}: the right answer${state.put ? ", if the memory held it" : ""}`}</li>}
        {first.truth && <li class="no">{"\u2715"} wrong</li>}
        {kept.map((signal) => (
          <li>
            {signal.replaceAll("_", " ")}: {MEANINGS[signal]}. A line for each unit, on a scale of its own
          </li>
        ))}
        {sorted.map((how) => (
          <li>{how}</li>
        ))}
      </ul>
      <div class="networks" style={{ "--n": first.count, "--g": `${gutterOf(data, drawn)}px` }}>
        {drawings.map((one) => (isDrawn(one) ? <Panel {...props} drawn={one} /> : <Failed {...props} outcome={one} />))}
      </div>
    </>
  );
}

/** A network of the others that cannot read this sequence. */
function Failed({ outcome: { network, error } }: { outcome: Outcome }) {
  return (
    <div class="panel">
      <p class="name">{network.embedded.name}</p>
      <p class="note wide">{error}</p>
    </div>
  );
}

function Panel(props: Lit & { drawn: Drawn }) {
  const { data, lit, light, drawn } = props;
  const { place, start, count, outcome, memory } = drawn;
  const { name, look } = data.networks[place];
  const word = stepWord(data.networks[place]);
  const inside = lit !== null && lit >= start && lit < start + count;
  const at = inside ? lit - start : count - 1;
  const into = drawn.into === null ? -1 : drawn.into - start;
  const put = into >= 0 && into < count ? into : null;
  const point = (event: PointerEvent) => {
    const panel = event.currentTarget as Element;
    const { left, width } = (panel.querySelector(".bits") as Element).getBoundingClientRect();
    const column = Math.floor(((event.clientX - left) / width) * count);
    if (column >= 0 && column < count) light(start + column);
  };
  const leave = (event: PointerEvent) => event.pointerType === "mouse" && light(null);
  const answer = said(drawn, at, data);
  return (
    <div
      class={`panel ${classed(look)}`}
      style={{ "--n": count }}
      role="group"
      aria-label={name}
      onPointerMove={point}
      onPointerDown={point}
      onPointerLeave={leave}
    >
      {inside && <div class="lit" style={{ "--k": at }} />}
      {put !== null && <div class="put" style={{ "--k": put }} />}
      <p class="name">{name}</p>
      <p class="reading">
        {answer && (
          <>
            After {word} {start + at + 1}: <Judged answer={answer} wrong={drawn.wrong[at]} />
          </>
        )}
      </p>
      <span class="gutter" />
      <Bits {...props} />
      <span class="gutter" />
      <Staircase drawn={drawn} data={data} />
      <Scores drawn={drawn} lit={at} />
      <Memory drawn={drawn} lit={at} word={word} />
      {outcome.error && <p class="note wide">{outcome.error}</p>}
      {memory.of > memory.units.length && (
        <p class="note wide">
          The first {MOST_UNITS} of {memory.of} units; all of them stand under More.
        </p>
      )}
    </div>
  );
}

function Judged({ answer, wrong }: { answer: string; wrong: boolean | undefined }) {
  if (wrong === undefined) return <strong>{answer}</strong>;
  return <strong class={wrong ? "no" : ""}>{`${wrong ? "\u2715" : "\u2713"} ${answer}`}</strong>;
}
