// A walk through a page by keyboard alone: what Tab never reaches, and where nobody sees that it has the focus.
import { DESK, isolated, open } from "./browser.mjs";

const MOST = 3000;

/** Runs inside the page: everything that a reader can use, as far as it is shown. */
function usable() {
  const wanted = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
  return [...document.querySelectorAll(wanted)].filter((one) => one.checkVisibility() && !one.disabled);
}

/** Runs inside the page after each Tab: marks what has the focus, and says whether it is folded or seen before. */
function arrived() {
  const at = document.activeElement;
  const seen = (window.reached ??= new Map());
  if (at === document.body || seen.has(at)) return { end: true };
  const { outlineStyle, outlineWidth } = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && box.width > 0;
  seen.set(at, outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2 && inside);
  return { folded: at.matches("details:not([open]) > summary") };
}

/** Runs inside the page: of how many buttons, or choices of one kind, what has the focus is one stop of Tab. */
function row() {
  const at = document.activeElement;
  if (at.type === "radio") return document.getElementsByName(at.name).length;
  return at.closest("[role=toolbar]")?.querySelectorAll("button").length ?? 0;
}

/** Presses the right arrow through a row that is one stop of Tab, and marks each that gets the focus. */
async function along(page) {
  // Home goes to the first button of a toolbar; elsewhere it scrolls the page away.
  if (await page.evaluate(() => document.activeElement.closest("[role=toolbar]") !== null)) await page.keyboard.press("Home");
  await page.evaluate(arrived);
  for (let rest = (await page.evaluate(row)) - 1; rest > 0; rest--) {
    await page.keyboard.press("ArrowRight");
    await page.evaluate(arrived);
  }
}

/** Tabs through a page, opens with Enter what is folded, and returns the stops, what was not reached and not seen. */
export async function walk(browser, url) {
  const context = await isolated(browser, url, { viewport: DESK }, { requests: [] });
  const page = await open(context, url, { console: [] });
  for (let stop = 0; stop < MOST; stop++) {
    await page.keyboard.press("Tab");
    const { end, folded } = await page.evaluate(arrived);
    if (end) break;
    if (folded) await page.keyboard.press("Enter");
    await along(page);
  }
  const found = await page.evaluate(`(${report})((${usable})())`);
  await context.close();
  return found;
}

/** Runs inside the page at the end of the walk. */
function report(all) {
  const words = (one) => one.getAttribute("aria-label") ?? one.textContent;
  const name = (one) => `${one.tagName.toLowerCase()} ${words(one).trim().slice(0, 60)}`;
  const seen = window.reached ?? new Map();
  return {
    stops: seen.size,
    // The skip link, where there is one; that it is seen is what is asked of every stop.
    first: seen.keys().next().value?.getAttribute("href") ?? null,
    unreached: all.filter((one) => !seen.has(one)).map(name),
    unseen: [...seen].filter(([, visible]) => !visible).map(([one]) => name(one)),
    folded: document.querySelectorAll("details:not([open])").length,
  };
}
