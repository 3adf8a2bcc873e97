// Prints what the page computes in each state of an explorer: the scores after the last step before and after the
// edits, and one sum over every signal after them.
//   node states.mjs FILE      a JSON file with `data`, as the page carries it, and `states`
import { readFileSync } from "node:fs";
import { engine, weighted } from "./golden.mjs";

const { data, states } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const first = engine.initial(data);
const found = states.map((change) => {
  const { before, after, error } = engine.outcomeOf(data, { ...first, ...change });
  if (error) throw new Error(`${JSON.stringify(change)}: ${error}`);
  return [before, after].map((run) => [...engine.scoresAt(run, -1), weighted(run)]);
});
console.log(JSON.stringify(found));
