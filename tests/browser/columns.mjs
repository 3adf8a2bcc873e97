// Measures the columns of a page's live explorer for sequences of 1 to 32 symbols, and prints them as JSON.
//   node columns.mjs PAGE.html WIDTH
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { launch, open, watched } from "./browser.mjs";

const MOST = 32;
const [file, width] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const log = { requests: [], console: [], csp: [] };

/** Runs inside the page: for each panel the number of bits, and where they, the staircase and the lines begin and end. */
function columns() {
  const ends = (element) => {
    const { left, right } = element.getBoundingClientRect();
    return [left, right];
  };
  return [...document.querySelectorAll("#explorer-live .panel")].map((panel) => ({
    bits: panel.querySelectorAll(".bits button").length,
    drawn: Object.fromEntries([".bits", ".stairs > svg", ".sparks > svg"].map((part) => [part, ends(panel.querySelector(part))])),
    beyond: panel.getBoundingClientRect().right - document.documentElement.clientWidth,
  }));
}

const browser = await launch();
try {
  const context = await watched(browser, url, log);
  const page = await open(context, url, log);
  await page.setViewportSize({ width: Number(width), height: 900 });
  const found = [];
  for (let count = 1; count <= MOST; count++) {
    await page.getByLabel("Sequence", { exact: true }).fill("01".repeat(MOST).slice(0, count));
    found.push(await page.evaluate(columns));
  }
  console.log(JSON.stringify({ found, ...log }, null, 1));
} finally {
  await browser.close();
}
