// The memory, a line a unit, in the columns of the steps, and each unit's value at the step that is lit.

import type { Drawn } from "./drawn";
import { shown } from "./outcome";
import { letter, MEANINGS } from "./signals";
import { stairs } from "./staircase";

const HEIGHT = 24;
const ROOM = 3;
/** The height of a row is the unit's own range, or this share of the widest one, so that a still unit looks still. */
const LEAST = 0.05;

/** `lit` is the place of a step among those drawn. */
export function Sparklines({ drawn, lit }: { drawn: Drawn; lit: number }) {
  const { count, memory } = drawn;
  const { units, signal } = memory;
  const ranges = units.map(({ values }) => [Math.min(0, ...values), Math.max(0, ...values)] as const);
  const least = LEAST * Math.max(...ranges.map(([low, high]) => high - low)) || 1;
  const y = (row: number, value: number) => {
    const [low, high] = ranges[row];
    const size = Math.max(high - low, least);
    // What is smaller than a row stands in its middle.
    return row * HEIGHT + HEIGHT / 2 + ((HEIGHT - 2 * ROOM) * ((high + low) / 2 - value)) / size;
  };
  const height = units.length * HEIGHT;
  const name = signal.replaceAll("_", " ");
  const listed = units.map(({ unit, values }) => `${letter(signal)} ${unit} ${shown(values[lit])}`).join(", ");
  return (
    <>
      <div class="gutter units" aria-hidden="true">
        {units.map(({ unit }) => (
          <span>
            {letter(signal)} {unit}
          </span>
        ))}
      </div>
      <svg
        class="sparks cells"
        role="img"
        aria-label={`The ${name} (${MEANINGS[signal]}), a line a unit. At the chosen step: ${listed}.`}
        height={height}
      >
        <svg viewBox={`0 0 ${count} ${height}`} preserveAspectRatio="none" width="100%" height={height}>
          <path class="zero" d={units.map((_, row) => `M0 ${y(row, 0).toFixed(2)}H${count}`).join("")} />
          {units.map(({ values }, row) => (
            <path class="spark" d={stairs(values, (value) => y(row, value))} />
          ))}
        </svg>
      </svg>
      <div class="gutter values" aria-hidden="true">
        {units.map(({ values }) => (
          <span>{shown(values[lit])}</span>
        ))}
      </div>
    </>
  );
}
