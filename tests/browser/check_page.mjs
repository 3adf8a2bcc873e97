// Opens one built page in Chromium with the network blocked and prints, as JSON, everything wrong with it.
//   node check_page.mjs PAGE.html [--out DIR] [--pdf FILE]      DIR receives light.png, dark.png and phone.png
// Exit code: 0 nothing wrong, 1 something wrong, 2 usage, 3 the check itself failed.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { axe, DESK, isolated, launch, MODES, open, overflow, PHONE, quiet, SHEET, sheets } from "./browser.mjs";
import { walk } from "./keyboard.mjs";

const TALLEST = 8000;

/** The words of an element; what the live explorer puts in place of its example's table is left out. */
const words = async (main) => {
  const live = main.locator("#explorer-live");
  // What a script adds under a figure are ways to take it away.
  await main.evaluate((own) => own.querySelectorAll(".menu button").forEach((one) => (one.hidden = true)));
  const text = await main.innerText();
  return (await live.count()) ? text.replace(await live.innerText(), "") : text;
};

/** The text of <main> with scripts, without them, and inside a sandboxed frame. */
async function texts(browser, url) {
  let example = "";
  const read = async (options) => {
    const context = await isolated(browser, url, { viewport: DESK, ...options }, { requests: [] });
    const page = await open(context, url, { console: [] });
    const live = page.locator("#explorer-live");
    example = (await live.count()) ? await live.innerText() : "";
    const text = await words(page.locator("main"));
    await context.close();
    return text;
  };
  const scripted = await read({});
  const unscripted = await read({ javaScriptEnabled: false });
  const context = await browser.newContext({ viewport: DESK, offline: true });
  const page = await context.newPage();
  // The frame is as wide as the window of the other readings, so that the same text is laid out.
  await page.setContent(`<iframe sandbox style="width:${DESK.width}px;height:800px;border:0"></iframe>`);
  const source = readFileSync(new URL(url), "utf8");
  await page.locator("iframe").evaluate((frame, html) => (frame.srcdoc = html), source);
  const sandboxed = await page.frameLocator("iframe").locator("main");
  const inside = await words(sandboxed);
  await context.close();
  return {
    characters: scripted.length,
    // How much of the explorer is read without scripts.
    example: example.length,
    unscripted: unscripted === scripted,
    sandboxed: inside === scripted,
  };
}

/** Runs inside the page, laid out for print: what would be cut off or stay folded. */
function printFaults() {
  const right = document.documentElement.clientWidth;
  const name = (element) => `${element.tagName.toLowerCase()} ${element.textContent.trim().slice(0, 40)}`;
  const clipped = [...document.querySelectorAll("table, svg, pre, p, dd, h1, h2, h3, figcaption")]
    .filter((element) => element.checkVisibility())
    .filter((element) => {
      const box = element.getBoundingClientRect();
      return box.right > right + 1 || box.left < -1;
    })
    .map(name);
  const scrolling = [...document.querySelectorAll("main *")]
    .filter((element) => ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX))
    .filter((element) => element.namespaceURI.endsWith("xhtml") && element.scrollWidth > element.clientWidth + 1)
    .map(name);
  // A download link is of no use on paper; a paragraph of nothing else may vanish.
  const links = (element) => [...element.querySelectorAll("a[download]")].map((link) => link.textContent).join("");
  const folded = [...document.querySelectorAll("details > :not(summary)")]
    // A page may leave folds out of print altogether.
    .filter((element) => getComputedStyle(element.closest("details")).display !== "none")
    .filter((element) => element.textContent.trim() !== links(element).trim())
    .filter((element) => !element.checkVisibility() || element.getBoundingClientRect().height === 0)
    .map(name);
  // The explorer's bits are what it reads, on paper too.
  const controls = [...document.querySelectorAll("nav, .skip, a[download], button:not(.bits button), input, select")]
    .filter((element) => element.checkVisibility())
    .map(name);
  return { clipped: [...clipped, ...scrolling], folded, controls };
}

/** Runs inside the page: all that must come out on paper, whether it is folded on the screen or not. */
function printedTexts() {
  // A column's head is a button on the screen, and words on paper.
  const controls = ".controls, .handle:has([aria-pressed=false]), .edits, .copies, .pointed, .menu, a[download], button:not(th button), label";
  const fold = (element) => element.closest("details");
  // A page may leave folds out of print altogether.
  const left = (element) => fold(element) !== null && getComputedStyle(fold(element)).display === "none";
  return [...document.querySelectorAll("main :is(tr, p, li, figcaption, pre), dd")]
    .filter((element) => !element.closest(controls) && !left(element))
    .map((element) => {
      const copy = element.cloneNode(true);
      // A thumbnail only decorates.
      for (const other of copy.querySelectorAll(`${controls}, .thumbnail`)) other.remove();
      return copy.textContent;
    });
}

async function print(browser, url, path) {
  const context = await isolated(browser, url, { viewport: SHEET }, { requests: [] });
  const page = await open(context, url, { console: [] });
  await page.emulateMedia({ media: "print" });
  const faults = await page.evaluate(printFaults);
  faults.texts = await page.evaluate(printedTexts);
  const pdf = await page.pdf({ format: "A4", path });
  faults.sheets = sheets(pdf);
  await context.close();
  return faults;
}

async function shoot(browser, url, out) {
  mkdirSync(out, { recursive: true });
  const phone = { viewport: PHONE, colorScheme: "light" };
  for (const [name, options] of Object.entries({ light: MODES.light, dark: MODES.dark, phone })) {
    const context = await isolated(browser, url, options, { requests: [] });
    const page = await open(context, url, { console: [] });
    // Chromium cannot paint a picture of any height.
    const height = await page.evaluate((most) => Math.min(document.documentElement.scrollHeight, most), TALLEST);
    const clip = { x: 0, y: 0, width: options.viewport.width, height };
    await page.screenshot({ path: join(out, `${name}.png`), fullPage: true, clip });
    await context.close();
  }
}

function wrong(report) {
  const faults = [];
  for (const name of ["requests", "console", "csp"]) if (report[name].length) faults.push(name);
  for (const [mode, rules] of Object.entries(report.axe)) if (rules.length) faults.push(`axe ${mode}`);
  if (report.overflow > 0) faults.push("overflow");
  if (!report.texts.characters || !report.texts.unscripted) faults.push("text without scripts");
  if (!report.texts.sandboxed) faults.push("text in a sandbox");
  for (const name of ["clipped", "folded", "controls"]) if (report.print[name].length) faults.push(`print ${name}`);
  for (const name of ["unreached", "unseen"]) if (report.keyboard[name].length) faults.push(`keyboard ${name}`);
  if (report.keyboard.folded) faults.push("keyboard folded");
  if (report.keyboard.first !== "#main") faults.push("skip link");
  return faults;
}

function asked(args) {
  try {
    const options = { out: { type: "string" }, pdf: { type: "string" } };
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    return positionals.length === 1 ? { file: positionals[0], ...values } : null;
  } catch {
    return null;
  }
}

async function main(args) {
  const given = asked(args);
  if (!given) {
    console.error("usage: node check_page.mjs PAGE.html [--out DIR] [--pdf FILE]");
    return 2;
  }
  const { file, out, pdf } = given;
  const url = pathToFileURL(resolve(file)).href;
  const browser = await launch();
  try {
    if (out) await shoot(browser, url, resolve(out));
    const report = { bytes: statSync(file).size, ...(await quiet(browser, url)) };
    report.axe = await axe(browser, url);
    report.overflow = await overflow(browser, url);
    report.texts = await texts(browser, url);
    report.print = await print(browser, url, pdf && resolve(pdf));
    report.keyboard = await walk(browser, url);
    report.wrong = wrong(report);
    console.log(JSON.stringify(report, null, 1));
    return report.wrong.length ? 1 : 0;
  } finally {
    await browser.close();
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error);
  process.exitCode = 3;
}
