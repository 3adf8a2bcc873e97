// Lines in the columns of the steps, one below the other, each with its value at the step that is lit: the memory, a
// line a unit, and an answer of several numbers.

import { Component } from "preact";
import type { Drawn, Line } from "./drawn";
import { shown } from "./outcome";
import { letter, MEANINGS } from "./signals";
import { stairs } from "./staircase";

const HEIGHT = 24;
const TALL = 40;
const ROOM = 3;
/** The height of a row is the unit's own range, or this share of the widest one, so that a still unit looks still. */
const LEAST = 0.05;

interface Kept {
  readonly drawn: Drawn;
  /** The place of a step among those drawn. */
  readonly lit: number;
  /** What a step is called. */
  readonly word: string;
}

/** What the network keeps, and in words the value at the lit step of the line that was pointed at last. */
export class Memory extends Component<Kept> {
  override state = { row: 0 };

  point = ({ clientY, currentTarget }: PointerEvent) => {
    const { top } = (currentTarget as Element).getBoundingClientRect();
    this.setState({ row: Math.floor((clientY - top) / HEIGHT) });
  };

  override render({ drawn: { count, memory, start }, lit, word }: Kept) {
    const { units, signal, sorted } = memory;
    const lines = units.map(({ unit, ...line }) => ({ ...line, name: `${letter(signal)} ${unit}`, unedited: null }));
    const at = Math.max(0, Math.min(this.state.row, lines.length - 1));
    const { name, values } = lines[at];
    const told = `The ${signal.replaceAll("_", " ")} (${MEANINGS[signal]}), a line a unit. ${sorted}.`;
    return (
      <>
        <p class="wide pointed">
          {name} after {word} {start + lit + 1}: <strong>{values[lit].toPrecision(4).replace("-", "\u2212")}</strong>
        </p>
        <Lines {...{ lines, count, lit, told, at }} height={HEIGHT} line="spark" point={this.point} />
      </>
    );
  }
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
  /** The line whose value is told, and what chooses another. */
  at?: number;
  point?: (event: PointerEvent) => void;
}) {
  const { lines, count, lit, told, height, line, at, point } = props;
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
        {lines.map(({ name, bold }, row) => (
          <span class={`${bold ? "bold" : ""} ${row === at ? "at" : ""}`}>{name}</span>
        ))}
      </div>
      <svg class="sparks cells" role="img" aria-label={`${told} At the chosen step: ${listed}.`} height={all} onPointerMove={point} onPointerDown={point}>
        <svg viewBox={`0 0 ${count} ${all}`} preserveAspectRatio="none" width="100%" height={all}>
          <path class="zero" d={lines.map((_, row) => `M0 ${y(row, 0).toFixed(2)}H${count}`).join("")} />
          {lines.map(({ unedited }, row) => unedited && <path class="unedited" d={stairs(unedited, (value) => y(row, value))} />)}
          {lines.map(({ values, bold }, row) => (
            <path class={bold ? `${line} bold` : line} d={stairs(values, (value) => y(row, value))} />
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
