// The answer, were each step the last, as a staircase against what is right, in the columns of the steps.

import { type Drawn, stepWord, worded } from "./drawn";
import type { Data } from "./state";

const HEIGHT = 112;
const ROOM = 12;
/** Up to so many steps, and letters, an answer is written below its column. */
const WRITTEN = 16;
const LETTERS = 3;

/** Return the path of a staircase, a column of width 1 for each value. */
export function stairs(values: readonly number[], y: (value: number) => number): string {
  return values.map((value, k) => `${k ? "V" : "M0 "}${y(value).toFixed(2)}H${k + 1}`).join("");
}

/** Return the lowest and the highest value that the axis has room for. */
function bounds({ answers, truth, unedited, outcome: { network } }: Drawn): [number, number] {
  const all = [...(answers ?? []), ...(truth ?? []), ...(unedited ?? [])];
  const { softmax, scores } = network.embedded;
  const classes = softmax ? [0, scores - 1] : [];
  const [low, high] = [Math.min(...all, ...classes), Math.max(...all, ...classes)];
  return high > low ? [low, high] : [low - 1, high + 1];
}

/** Return the sentence that says what the staircases show. */
export function inWords(drawn: Drawn, data: Data): string {
  const { answers, truth, wrong, start, outcome: { network } } = drawn;
  const word = stepWord(data.networks[drawn.place]);
  const listed = (values: readonly number[]) => values.map((value) => worded(value, network, data)).join(", ");
  const after = `If asked after each ${word}, from ${word} ${start + 1} on: ${listed(answers ?? [])}.`;
  if (!truth) return after;
  const places = wrong.flatMap((one, k) => (one ? [start + k + 1] : []));
  const judged = places.length ? `Wrong after ${word} ${places.join(", ")}.` : "Nowhere wrong.";
  return `${after} Right (${data.truth}): ${listed(truth)}. ${judged}`;
}

export function Staircase({ drawn, data }: { drawn: Drawn; data: Data }) {
  const { answers, unedited, truth, wrong, count, outcome: { network } } = drawn;
  if (!answers) return null;
  const [low, high] = bounds(drawn);
  const y = (value: number) => ROOM + ((HEIGHT - 2 * ROOM) * (high - value)) / (high - low);
  const words = (value: number) => worded(value, network, data);
  const written = count <= WRITTEN && [...answers, ...(truth ?? [])].every((value) => words(value).length <= LETTERS);
  return (
    <>
      <div class="gutter axis" aria-hidden="true">
        <span>{words(high)}</span>
        <span>{words(low)}</span>
      </div>
      <svg class="stairs cells" role="img" aria-label={inWords(drawn, data)} height={HEIGHT}>
        <svg viewBox={`0 0 ${count} ${HEIGHT}`} preserveAspectRatio="none" width="100%" height={HEIGHT}>
          {unedited && <path class="unedited" d={stairs(unedited, y)} />}
          <path class="answer" d={stairs(answers, y)} />
          {truth && <path class="truth" d={stairs(truth, y)} />}
        </svg>
        {wrong.map((one, k) =>
          one ? (
            <svg class="no" overflow="visible" x={`${(100 * (k + 0.5)) / count}%`} y={y(answers[k])}>
              <path d="M-4-4L4 4M4-4L-4 4" />
            </svg>
          ) : null,
        )}
      </svg>
      <span class="gutter" />
      {written && <Written label="says" values={answers.map(words)} wrong={wrong} />}
      {written && truth && <Written label="right" values={truth.map(words)} wrong={[]} />}
    </>
  );
}

/** A row of answers, each below its column; for eyes alone, the drawing says them too. */
function Written(props: { label: string; values: readonly string[]; wrong: readonly boolean[] }) {
  return (
    <>
      <span class={`gutter ${props.label}`} aria-hidden="true">
        {props.label}
      </span>
      <div class={`written cells ${props.label}`} aria-hidden="true">
        {props.values.map((value, k) => (
          <span class={props.wrong[k] ? "no" : ""}>{value}</span>
        ))}
      </div>
      <span class="gutter" />
    </>
  );
}
