// Lines in the columns of the steps, one below the other, each with its value at the step that is lit: the memory, a
// line a unit, and an answer of several numbers.

import type { Drawn, Line } from "./drawn";
import { shown } from "./outcome";
import { letter, MEANINGS } from "./signals";
import { stairs } from "./staircase";

const HEIGHT = 24;
const TALL = 40;
const ROOM = 3;
/** The height of a row is the unit's own range, or this share of the widest one, so that a still unit looks still. */
const LEAST = 0.05;

/** What the network keeps; `lit` is the place of a step among those drawn. */
export function Memory({ drawn: { count, memory }, lit }: { drawn: Drawn; lit: number }) {
  const { units, signal } = memory;
  const lines = units.map(({ unit, values }) => ({ name: `${letter(signal)} ${unit}`, values, unedited: null }));
  const told = `The ${signal.replaceAll("_", " ")} (${MEANINGS[signal]}), a line a unit.`;
  return <Lines {...{ lines, count, lit, told }} height={HEIGHT} line="spark" />;
}

/** An answer that is several numbers, were each step the last. */
export function Scores({ drawn: { count, scores }, lit }: { drawn: Drawn; lit: number }) {
  if (!scores.length) return null;
  return <Lines {...{ count, lit }} lines={scores} told="The output, if asked now." height={TALL} line="answer" />;
}

function Lines(props: {
  lines: readonly Line[];
  count: number;
  lit: number;
  told: string;
  height: number;
  line: string;
}) {
  const { lines, count, lit, told, height, line } = props;
  const ranges = lines.map(({ values, unedited }) => {
    const all = [...values, ...(unedited ?? [])];
    return [Math.min(0, ...all), Math.max(0, ...all)] as const;
  });
  const least = LEAST * Math.max(...ranges.map(([low, high]) => high - low)) || 1;
  const y = (row: number, value: number) => {
    const [low, high] = ranges[row];
    const size = Math.max(high - low, least);
    // What is smaller than a row stands in its middle.
    return row * height + height / 2 + ((height - 2 * ROOM) * ((high + low) / 2 - value)) / size;
  };
  const all = lines.length * height;
  const listed = lines.map(({ name, values }) => `${name} ${shown(values[lit])}`).join(", ");
  const rows = { "--row": `${height}px` };
  return (
    <>
      <div class="gutter units" style={rows} aria-hidden="true">
        {lines.map(({ name }) => (
          <span>{name}</span>
        ))}
      </div>
      <svg class="sparks cells" role="img" aria-label={`${told} At the chosen step: ${listed}.`} height={all}>
        <svg viewBox={`0 0 ${count} ${all}`} preserveAspectRatio="none" width="100%" height={all}>
          <path class="zero" d={lines.map((_, row) => `M0 ${y(row, 0).toFixed(2)}H${count}`).join("")} />
          {lines.map(({ unedited }, row) => unedited && <path class="unedited" d={stairs(unedited, (value) => y(row, value))} />)}
          {lines.map(({ values }, row) => (
            <path class={line} d={stairs(values, (value) => y(row, value))} />
          ))}
        </svg>
      </svg>
      <div class="gutter values" style={rows} aria-hidden="true">
        {lines.map(({ values }) => (
          <span>{shown(values[lit])}</span>
        ))}
      </div>
    </>
  );
}
