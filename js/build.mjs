// Bundles src/ into the one file that pages carry, and puts the licence of what is bundled beside it.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const LARGEST = 60_000;
const here = (path) => new URL(path, import.meta.url).pathname;
const out = here("../probe/explorer/explorer.js");
const { outputFiles } = await build({
  entryPoints: [here("src/main.tsx")],
  absWorkingDir: here("."),
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "rnnProbe",
  target: "es2022",
  // Bytes that mean the same whatever a file is served as.
  charset: "ascii",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  write: false,
});
const text = outputFiles[0].text;
if (text.length > LARGEST) throw new Error(`explorer.js has ${text.length} bytes; ${LARGEST} are allowed`);
if (/<\/script|<!--/i.test(text)) throw new Error("explorer.js holds what would end a <script> early");
writeFileSync(out, text);
const { version } = JSON.parse(readFileSync(here("node_modules/preact/package.json"), "utf8"));
const licence = readFileSync(here("node_modules/preact/LICENSE"), "utf8");
writeFileSync(
  here("../probe/explorer/explorer.licences.txt"),
  `explorer.js contains preact ${version} (https://preactjs.com), under this licence:\n\n${licence.trim()}\n`,
);
console.log(`probe/explorer/explorer.js ${text.length} bytes`);
