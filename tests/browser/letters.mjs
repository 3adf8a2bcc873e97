// The letters of a page's pictures on a phone, as JSON: node letters.mjs PAGE.html
// All folded parts are open. For each picture: how large its smallest letters are shown, and what is cut off sideways.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isolated, launch, MODES, open } from "./browser.mjs";

/** Runs inside the page. */
function measure() {
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  const right = document.documentElement.clientWidth;
  // CSS pixels a unit of the drawing, along a line of letters that may stand upright.
  const scale = (text) => {
    const matrix = text.getScreenCTM();
    return Math.hypot(matrix.a, matrix.b);
  };
  const size = (text) => Number.parseFloat(getComputedStyle(text).fontSize) * scale(text);
  return [...document.querySelectorAll("main svg, header svg")]
    .filter((svg) => svg.checkVisibility() && !svg.closest("[aria-hidden]"))
    .map((svg) => {
      const letters = [...svg.querySelectorAll("text")]
        .filter((text) => text.textContent.trim() && text.checkVisibility())
        .map((text) => ({ text: text.textContent.trim(), size: size(text), box: text.getBoundingClientRect() }));
      const frame = svg.getBoundingClientRect();
      const within = svg.closest(".wide, .scroll")?.getBoundingClientRect() ?? { left: 0, right };
      const smallest = letters.reduce((one, other) => (other.size < one.size ? other : one), { size: Infinity });
      return {
        picture: svg.closest("figure")?.id || svg.id,
        title: svg.querySelector("title")?.textContent ?? "",
        width: frame.width,
        natural: svg.viewBox.baseVal.width,
        smallest: smallest.size,
        letters: smallest.text ?? "",
        // Beyond the window or the box that the picture scrolls in, and beyond the picture's own edge.
        cut: Math.max(frame.right - Math.min(within.right, right), Math.max(within.left, 0) - frame.left),
        beyond: Math.max(0, ...letters.map(({ box }) => Math.max(box.right - frame.right, frame.left - box.left))),
        lost: letters.filter(({ box }) => box.right > frame.right + 1 || box.left < frame.left - 1).map(({ text }) => text),
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
