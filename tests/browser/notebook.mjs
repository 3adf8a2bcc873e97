// Opens an executed notebook in Chromium with the network blocked, and prints as JSON how each value shows itself.
//   node notebook.mjs NOTEBOOK.html
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { AXE, launch, open, PHONE, violations, watched } from "./browser.mjs";

const TYPED = "111011";
const [file] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const log = { requests: [], console: [], csp: [] };

/** What every value shows: its size, its words, and how much of a frame's page does not fit into it. */
async function shown(page) {
  const found = [];
  for (const element of await page.locator(".rnn-probe, iframe").all()) {
    await element.scrollIntoViewIfNeeded();
    const { width, height } = await element.boundingBox();
    const frame = await (await element.elementHandle()).contentFrame();
    const inside = frame ? frame.locator("body") : element;
    const entry = { width, height, frame: Boolean(frame), words: await inside.innerText() };
    if (frame) {
      entry.content = await frame.evaluate(() => document.documentElement.getBoundingClientRect().height);
      entry.sandbox = await element.getAttribute("sandbox");
      entry.overflow = await frame.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
    }
    found.push(entry);
  }
  return found;
}

/** Types a string into the explorer in its frame, which may neither write an address nor the clipboard. */
async function used(page) {
  const frame = page.frameLocator('iframe[sandbox="allow-scripts"]').first();
  const status = () => frame.locator("[role=status]").first().innerText();
  const before = await status();
  await frame.locator("input.wide").fill(TYPED);
  const typed = await status();
  await frame.getByRole("button", { name: "Copy as Python" }).click();
  const code = frame.locator("textarea");
  await code.waitFor();
  const selected = await code.evaluate((area) => area.selectionEnd - area.selectionStart === area.value.length);
  const address = await frame.locator("main").evaluate(() => {
    try {
      history.replaceState(null, "", "#x=1");
      return "written";
    } catch (error) {
      return error.name;
    }
  });
  return { before, typed, selected, address };
}

/** axe-core on the values alone: the rest is the notebook's. */
async function axe(page) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  await page.evaluate(readFileSync(AXE, "utf8"));
  return page.evaluate(violations, { include: [[".rnn-probe"]] });
}

const browser = await launch();
try {
  const context = await watched(browser, url, log);
  const page = await open(context, url, log);
  const found = { shown: await shown(page), used: await used(page) };
  found.columns = await page
    .locator(".rnn-probe tbody th")
    .evaluateAll((all) => [...new Set(all.map((head) => getComputedStyle(head).textAlign))]);
  found.axe = await axe(page);
  await page.setViewportSize(PHONE);
  found.wider = await page
    .locator(".rnn-probe, iframe")
    .evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).length);
  await context.close();
  console.log(JSON.stringify({ ...found, ...log }, null, 1));
} finally {
  await browser.close();
}
