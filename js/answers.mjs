// Prints what the page's programs answer to strings after each symbol, and which of eleven classes agree at the end.
//   node answers.mjs FILE      a JSON file with `programs`, as a page carries them, and `strings`
import { readFileSync } from "node:fs";
import { engine } from "./golden.mjs";

const { programs, strings } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const found = programs.map((program) =>
  strings.map((string) => {
    const answers = engine.programAnswers(program, string);
    return { answers, agrees: Array.from({ length: 11 }, (_, place) => engine.agrees(answers.at(-1), place)) };
  }),
);
console.log(JSON.stringify(found));
