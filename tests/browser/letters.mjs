// The letters of a page's pictures on a phone, as JSON: node letters.mjs PAGE.html
// All folds are open. For each picture: how high its smallest letters are in CSS pixels, what is cut off sideways,
// and how far it, or the frame that it scrolls in, reaches beyond the window.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isolated, launch, MODES, open } from "./browser.mjs";

/** Runs inside the page. */
function measure() {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const window = document.documentElement.clientWidth;
  // How many CSS pixels a unit of the drawing has along a line of letters, which may stand upright.
  const scale = ({ a, b }) => Math.hypot(a, b);
  const letters = (svg) =>
    [...svg.querySelectorAll("text")]
      .filter((text) => text.textContent.trim() && text.checkVisibility())
      .map((text) => ({
        words: text.textContent.trim(),
        size: Number.parseFloat(getComputedStyle(text).fontSize) * scale(text.getScreenCTM()),
        box: text.getBoundingClientRect(),
      }));
  // A thumbnail only decorates, and a screen reader does not hear of it.
  return [...document.querySelectorAll("svg")]
    .filter((svg) => svg.checkVisibility() && !svg.closest("[aria-hidden]"))
    .map((svg) => {
      const [edge, every] = [svg.getBoundingClientRect(), letters(svg)];
      const seen = (svg.closest(".wide") ?? svg).getBoundingClientRect();
      const cut = every.filter(({ box }) => box.left < edge.left - 1 || box.right > edge.right + 1);
      return {
        title: svg.querySelector("title")?.textContent ?? svg.id,
        letters: every.length,
        small: every.reduce((least, one) => (one.size < least.size ? one : least), { size: Infinity }).words ?? "",
        size: every.length ? Math.min(...every.map((one) => one.size)) : null,
        cut: cut.map(({ words }) => words),
        beyond: Math.max(seen.right - window, -seen.left, 0),
      };
    });
}

const url = pathToFileURL(resolve(process.argv[2])).href;
const browser = await launch();
const context = await isolated(browser, url, { viewport: MODES.narrow.viewport }, { requests: [] });
const page = await open(context, url, { console: [] });
const pictures = await page.evaluate(measure);
await browser.close();
console.log(JSON.stringify({ pictures }));
