// Runs the built script's engine on a golden file that Python made (tests/repo/golden_runs.py) and compares.
//   node golden.mjs FOLDER     prints what was found as JSON; exit code 1 where anything differs
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

export const TOLERANCE = 1e-12;
const script = readFileSync(new URL("../probe/explorer/explorer.js", import.meta.url), "utf8");
/** The engine in the very file that pages carry. */
export const engine = new Function(`${script}\nreturn rnnProbe;`)();

/** A string as the golden networks read it: the bit, and for a second feature half of what is missing to one. */
function encode(string, features) {
  return [...string].map((bit) => Float64Array.from([Number(bit), (1 - Number(bit)) / 2].slice(0, features)));
}

const WEIGHTS = Float64Array.from({ length: 100_000 }, (_, index) => ((index * 7919) % 1009) / 1009 - 0.5);

/** The sum of all values of a run, layer x step x signal x unit, each with a weight of its own. */
export function weighted(run) {
  let sum = 0;
  let index = 0;
  for (const values of run.layers) for (let k = 0; k < values.length; k++) sum += values[k] * WEIGHTS[index++];
  return sum;
}

/**
 * Compare all runs of a golden folder, each difference relative to max(1, |value|), as Recording.max_error is.
 *
 * `change` may spoil an edit, for the control arm.
 */
export function compare(folder, change = (edit) => edit) {
  const golden = JSON.parse(readFileSync(join(folder, "runs.json"), "utf8"));
  const bytes = readFileSync(join(folder, "runs.f64"));
  const expected = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const found = { runs: 0, largest: 0, largest_sum: 0, answers: 0, milliseconds: 0 };
  const networks = golden.networks.map(engine.openNetwork);
  let place = 0;
  const differ = (value) => {
    const wanted = expected[place++];
    const off = Math.abs(value - wanted) / Math.max(1, Math.abs(wanted));
    return off <= Infinity ? off : Infinity; // what is no number is no agreement
  };
  for (const { network: which, edits: texts } of golden.cases) {
    const edits = texts.map((text) => change(engine.editFromJson(text)));
    const network = networks[which];
    golden.strings.forEach((string, row) => {
      const inputs = encode(string, network.layers[0].inputs);
      const start = performance.now();
      const run = engine.run(network, inputs, edits, { row, batch: golden.strings.length });
      found.milliseconds += performance.now() - start;
      const scores = engine.scoresAt(run, -1);
      const answer = engine.argmax(expected.subarray(place, place + scores.length));
      found.answers += Number(engine.argmax(scores) !== answer);
      for (const score of scores) found.largest = Math.max(found.largest, differ(score));
      found.largest_sum = Math.max(found.largest_sum, differ(weighted(run)));
      found.runs++;
    });
  }
  if (place !== expected.length) throw new Error(`${place} numbers were compared; the file has ${expected.length}`);
  found.wrong = found.largest > TOLERANCE || found.largest_sum > TOLERANCE || found.answers > 0;
  return found;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const found = compare(process.argv[2]);
  console.log(JSON.stringify(found));
  process.exitCode = found.wrong ? 1 : 0;
}
