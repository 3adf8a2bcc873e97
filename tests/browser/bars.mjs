// The bars of a page that is read on a desk, with its folds as they are, then opened, and on paper: node bars.mjs PAGE.html
// Printed as JSON: how much of its column each figure uses, where what must stand on the first screen ends, tables that
// are wider than their frame, captions that stand twice, links up and aside, what the page says of itself, how many
// sheets it has in print, and which numbers of its tables are broken there.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { DESK, isolated, launch, open, SHEET, sheets } from "./browser.mjs";

/** Runs inside the page. */
function measure() {
  const name = (one) => one.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  const shown = (found) => [...document.querySelectorAll(found)].filter((one) => one.checkVisibility());
  const said = (key) => document.querySelector(`meta[name="${key}"], meta[property="${key}"]`)?.content ?? null;
  const end = (found) => Math.max(0, ...shown(found).map((one) => one.getBoundingClientRect().bottom + scrollY));
  const figures = shown("figure.plot").map((figure) => {
    const boxes = [...figure.querySelectorAll(".picture svg")].map((one) => one.getBoundingClientRect());
    const [left, right] = [Math.min(...boxes.map((one) => one.left)), Math.max(...boxes.map((one) => one.right))];
    return { caption: name(figure.querySelector("figcaption")), share: (right - left) / figure.clientWidth };
  });
  return {
    figures,
    ends: Object.fromEntries(["h1", ".lead", "header figure", "#explorer-bits", "header .cards"].map((one) => [one, end(one)])),
    up: shown("nav.way a").map((one) => one.getAttribute("href")),
    beside: shown("nav.neighbours a").map((one) => one.getAttribute("href")),
    description: said("description"),
    picture: said("og:image"),
  };
}

/** Runs inside the page, all folds opened. */
function opened() {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const name = (one) => one.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  // A caption without its number and its title.
  const every = [...document.querySelectorAll("figcaption > bdi:last-child")].map((one) => one.textContent.trim()).filter(Boolean);
  const frames = [...document.querySelectorAll(".scroll")].filter((one) => one.checkVisibility() && !one.closest(".explorer"));
  return {
    wide: frames.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.scrollWidth - one.clientWidth}: ${name(one)}`),
    twice: every.filter((one, place) => every.indexOf(one) < place),
  };
}

/** Runs inside the page, laid out for print: the numbers of tables that stand on two lines. */
function broken() {
  const found = [];
  for (const cell of [...document.querySelectorAll("td, th")].filter((one) => one.checkVisibility())) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const number of texts.currentNode.data.matchAll(/(?<![\p{L}\d])[\u2212-]?\d[\d.,]*(?![\p{L}\d])/gu)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, number.index);
        range.setEnd(texts.currentNode, number.index + number[0].length);
        if (new Set([...range.getClientRects()].map((one) => Math.round(one.top))).size > 1) found.push(number[0]);
      }
    }
  }
  return found;
}

const url = pathToFileURL(resolve(process.argv[2])).href;
const browser = await launch();
const context = await isolated(browser, url, { viewport: DESK }, { requests: [] });
const page = await open(context, url, { console: [] });
const found = { ...(await page.evaluate(measure)), ...(await page.evaluate(opened)) };
await context.close();
const paper = await isolated(browser, url, { viewport: SHEET }, { requests: [] });
const printed = await open(paper, url, { console: [] });
await printed.emulateMedia({ media: "print" });
found.broken = await printed.evaluate(broken);
found.sheets = sheets(await printed.pdf({ format: "A4" }));
await browser.close();
console.log(JSON.stringify(found));
