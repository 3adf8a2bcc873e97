// The contrast of every stroke and letter of an explorer's drawings with the page, and how large the letters are.
import { isolated, MODES, open } from "./browser.mjs";

/** Runs inside the page: the lowest contrast of the strokes and of the letters in the panels and their key. */
function lowest() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((one, k) => (one * a + under[k] * (255 - a)) / 255);
  const between = (one, other) => {
    const [low, high] = [light(one), light(other)].toSorted((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgb(getComputedStyle(at).backgroundColor));
    return layers.reduceRight((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const all = [...document.querySelectorAll("#explorer-live :is(.networks, .key) *")].filter((one) => one.checkVisibility());
  // A line runs over the page, and over the column of the step that is lit.
  const lit = rgb(getComputedStyle(document.querySelector("#explorer-live .lit")).backgroundColor);
  const strokes = all
    .filter((one) => one.tagName === "path")
    .flatMap((one) => [behind(one), over(lit, behind(one))].map((under) => [one, under]))
    .map(([one, under]) => [between(over(rgb(getComputedStyle(one).stroke), under), under), one.getAttribute("class")]);
  const written = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const words = all
    .filter((one) => one.namespaceURI.endsWith("xhtml") && written(one))
    .map((one) => [between(over(rgb(getComputedStyle(one).color), behind(one)), behind(one)), one.textContent]);
  const least = (found) => found.toSorted(([a], [b]) => a - b)[0];
  return { strokes: least(strokes), count: strokes.length, letters: least(words), words: words.length };
}

/** Runs inside the page: the smallest letters of the explorer, in CSS pixels. */
export function letters() {
  const written = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const sizes = [...document.querySelectorAll("#explorer-live *")]
    .filter((one) => one.checkVisibility() && written(one))
    .map((one) => Number.parseFloat(getComputedStyle(one).fontSize));
  return { count: sizes.length, smallest: Math.min(...sizes) };
}

/** Return the lowest contrasts on the light and on the dark page, and on one whose lines and letters were made pale. */
export async function contrasts(browser, url) {
  const found = {};
  for (const mode of ["light", "dark"]) {
    const context = await isolated(browser, url, MODES[mode], { requests: [] });
    const page = await open(context, url, { console: [] });
    await page.locator("#explorer-live .bits button").first().focus();
    found[mode] = await page.evaluate(lowest);
    if (mode === "light") {
      await page.locator("#explorer-live .panel").first().evaluate((panel) => {
        panel.style.setProperty("--role", "#d5dae0");
        panel.style.setProperty("--ink", "#a3adb8");
      });
      found.pale = await page.evaluate(lowest);
    }
    await context.close();
  }
  return found;
}
