// What a reader sees of a page before scrolling and at all, as JSON: node reading.mjs PAGE.html
// For each width: where the first figure begins, how high the page is, how many words and figures stand outside of
// closed folds (captions are words; the explorer, navigation and tables are none), and the numerals in its paragraphs.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isolated, launch, open } from "./browser.mjs";

const WINDOWS = { desk: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

/** Runs inside the page. */
function read() {
  const words = (text) => text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const prose = [...document.querySelectorAll("main p, header p")].filter(
    (one) => one.checkVisibility() && !one.closest("figure, table, .explorer, .cards, .neighbours"),
  );
  const said = prose.flatMap((one) => words(one.innerText));
  // An explorer and its drawings are used, not read; what a picture writes is a picture, and a table is looked up.
  const shown = document.body.cloneNode(true);
  document.body.append(shown);
  const unread = "svg, .explorer, script, nav, table, details:not([open]) > :not(summary)";
  for (const one of shown.querySelectorAll(unread)) one.remove();
  const all = words(shown.innerText).length;
  shown.remove();
  const drawn = [...document.querySelectorAll("figure svg")].filter(
    (one) => one.checkVisibility() && !one.closest(".explorer, nav"),
  );
  return {
    height: document.documentElement.scrollHeight,
    figures: new Set(drawn.map((one) => one.closest("figure"))).size,
    figure: document.querySelector("figure svg").getBoundingClientRect().top + scrollY,
    words: all,
    prose: said.length,
    numerals: said.filter((word) => /\d/.test(word)).length,
    smallest: Math.min(
      ...[...document.querySelectorAll("figure svg text")]
        .filter((one) => one.textContent.trim() && one.checkVisibility())
        .map((one) => {
          const box = one.closest("svg").viewBox.baseVal;
          return Number.parseFloat(getComputedStyle(one).fontSize) * (one.closest("svg").getBoundingClientRect().width / box.width);
        }),
    ),
  };
}

const url = pathToFileURL(resolve(process.argv[2])).href;
const browser = await launch();
const found = {};
for (const [name, viewport] of Object.entries(WINDOWS)) {
  const context = await isolated(browser, url, { viewport }, { requests: [] });
  const page = await open(context, url, { console: [] });
  found[name] = await page.evaluate(read);
  await context.close();
}
await browser.close();
console.log(JSON.stringify(found));
