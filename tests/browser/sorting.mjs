// Sorts the first sortable table of a page by each of its columns, and prints what it shows as JSON:
//   node sorting.mjs PAGE.html
// For each column the states after 0 to 3 presses: the rows' first cells, and each head's aria-sort.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { DESK, launch, open, watched } from "./browser.mjs";

/** Runs inside the page: the order of the rows, what the heads say, and what has the focus. */
function state(table) {
  return {
    rows: [...table.tBodies[0].rows].map((row) => row.cells[0].innerText),
    heads: [...table.tHead.rows[0].cells].map((head) => head.getAttribute("aria-sort")),
    focus: document.activeElement.closest("th")?.innerText ?? null,
  };
}

const url = pathToFileURL(resolve(process.argv[2])).href;
const browser = await launch();
const log = { requests: [], console: [], csp: [] };

/** Presses each head three times, and returns the states, those before it first. */
async function pressed(table, press) {
  const found = {};
  await table.evaluate((one) => one.closest("details")?.setAttribute("open", ""));
  for (const button of await table.locator("thead button").all()) {
    const states = [await table.evaluate(state)];
    for (let times = 0; times < 3; times++) {
      await press(button);
      states.push(await table.evaluate(state));
    }
    found[await button.innerText()] = states;
  }
  return found;
}

const context = await watched(browser, url, log);
const page = await open(context, url, log);
const table = page.locator("table.sortable").first();
const enter = async (button) => {
  await button.focus();
  await page.keyboard.press("Enter");
};
const space = async (button) => {
  await button.focus();
  await page.keyboard.press("Space");
};
const found = {
  clicked: await pressed(table, (button) => button.click()),
  entered: await pressed(table, enter),
  spaced: await pressed(table, space),
};
// Two columns one after the other: the second is what counts.
const [first, , last] = await table.locator("thead button").all();
await first.click();
await last.click();
found.second = await table.evaluate(state);
await page.emulateMedia({ media: "print" });
found.printed = await table.locator("thead").innerText();
found.printedButtons = await table.locator("thead button").evaluateAll((all) => all.filter((one) => one.checkVisibility()).length);
await context.close();

const silent = await browser.newContext({ viewport: DESK, offline: true, javaScriptEnabled: false });
const unscripted = await open(silent, url, log);
found.unscripted = await unscripted.locator("button").count();
await silent.close();

/** A frame with nothing but these rights; in one it may run scripts, and in the other it may not. */
for (const [name, rights] of Object.entries({ sandboxed: "allow-scripts", refused: "" })) {
  const outside = await browser.newContext({ viewport: DESK, offline: true });
  const around = await outside.newPage();
  await around.setContent(`<iframe sandbox="${rights}" style="width:1000px;height:700px"></iframe>`);
  const show = (frame, html) => {
    const loaded = new Promise((done) => frame.addEventListener("load", done, { once: true }));
    frame.srcdoc = html;
    return loaded.then(() => {});
  };
  await around.locator("iframe").evaluate(show, readFileSync(new URL(url), "utf8"));
  const inside = around.frameLocator("iframe").locator("table.sortable").first();
  found[name] = await pressed(inside, (button) => button.click());
  await outside.close();
}
await browser.close();
console.log(JSON.stringify({ ...found, log }));
