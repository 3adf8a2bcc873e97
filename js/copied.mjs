// Prints, for each state of an explorer, the Python that a reader copies what the page itself shows.
//   node copied.mjs FILE      a JSON file with `data`, as the page carries it, and `states`
import { readFileSync } from "node:fs";
import { engine } from "./golden.mjs";

const { data, states } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const found = states.map((change) => {
  const state = { ...engine.initial(data), ...change };
  const outcome = engine.outcomeOf(data, state);
  if (outcome.error) throw new Error(outcome.error);
  const { network, before, after } = outcome;
  const answers = [before, after].map((run) => [...engine.answersAt(run, -1, network)]);
  return { code: engine.pythonOf(data, state, network), before: answers[0], after: answers[1] };
});
console.log(JSON.stringify(found));
