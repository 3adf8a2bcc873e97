// Uses a page's live explorer as a reader does, by keyboard alone, and prints as JSON what came of it.
//   node explore.mjs PAGE.html GOLDEN_FOLDER HOSTILE_HASH
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { axe, launch, open, overflow, watched } from "./browser.mjs";
import { walk } from "./keyboard.mjs";

const TYPED = "111011";
const MORE = "More: every number, and edits of any gate or state";
const [file, folder, hostile] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const log = { requests: [], console: [], csp: [] };

/** Press Tab until a control with this label is reached, and say after how many. */
async function reach(page, label) {
  for (let count = 1; count < 80; count++) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const at = document.activeElement;
      return (at.closest("label") ?? at).querySelector("span")?.textContent ?? at.getAttribute("aria-label") ?? at.textContent;
    });
    if (found.trim() === label) return count;
  }
  throw new Error(`Tab reaches no ${label}`);
}

const status = (page) => page.locator("#explorer-live [role=status]").first().innerText();
/** The numbers of a row of the table of signals, by its head. */
const row = (page, head) =>
  page.evaluate((wanted) => {
    const rows = [...document.querySelectorAll("#explorer-live tr")];
    const found = rows.find((one) => one.querySelector("th")?.textContent === wanted);
    return [...found.querySelectorAll("td")].map((cell) => Number(cell.textContent.replace("\u2212", "-")));
  }, head);

/** The words of a row of the table of signals, by its head. */
const words = (page, head) =>
  page.locator("#explorer-live tr", { has: page.locator(`th:text-is("${head}")`) }).last().locator("td").allInnerTexts();

/** The table of programs as rows of words, its head first. */
const programs = (page) =>
  page.getByRole("region", { name: "What programs would answer" }).locator("tr").evaluateAll((rows) =>
    rows.map((found) => [...found.children].map((cell) => cell.firstChild.textContent)),
  );

/** What the page's own engine gives for a string, at one signal's unit. */
const computed = (page, [string, signal, unit]) =>
  page.evaluate(([text, place, number]) => {
    const data = JSON.parse(document.getElementById("explorer-data").textContent);
    const network = rnnProbe.openNetwork(data.networks[0]);
    const run = rnnProbe.run(network, [...text].map((bit) => Float64Array.of(Number(bit))));
    const { units } = network.layers[0];
    return [...text].map((_, step) => run.layers[0][(step * 10 + place) * units + number]);
  }, [string, signal, unit]);

async function byKeyboard(page) {
  const found = { tabs: await reach(page, "Sequence") };
  await page.keyboard.press("Control+A");
  await page.keyboard.type(TYPED);
  found.typed = await status(page);
  found.expected = await computed(page, [TYPED, 8, 3]);
  await reach(page, MORE);
  await page.keyboard.press("Enter");
  found.cell = await row(page, "c 3");
  found.programs = await programs(page);
  found.after = await words(page, "ones");
  await reach(page, "Add an edit");
  await page.keyboard.press("Enter");
  found.added = await status(page);
  await page.keyboard.press("Shift+Tab");
  const label = () => page.evaluate(() => document.activeElement.textContent);
  found.remove = await label();
  for (const text of ["1.5", "3", "3"]) {
    await page.keyboard.press("Shift+Tab"); // value, steps (the third), units (c 3)
    await page.keyboard.press("Control+A");
    await page.keyboard.type(text);
  }
  found.edited = await status(page);
  found.clamped = await row(page, "c 3");
  found.outlined = await page.locator(".edited").allInnerTexts();
  found.edited_programs = await programs(page);
  found.hash = await page.evaluate(() => location.hash);
  await reach(page, "Remove edit 1");
  await page.keyboard.press("Enter");
  found.removed = await status(page);
  found.focus = await label();
  return found;
}

const LINK = "Copy link to this";

/** Copy the address by keyboard, where the clipboard takes it and where it refuses. */
async function linked(page) {
  const found = {};
  const told = () => page.locator(".copies").evaluate((one) => {
    const box = one.querySelector("textarea");
    const chosen = box === document.activeElement ? box.value.slice(box.selectionStart, box.selectionEnd) : "";
    return { said: one.querySelector("[role=status]").textContent, chosen, text: box.value, fixed: box.readOnly };
  });
  for (const refused of [false, true]) {
    await page.evaluate((refuse) => {
      const writeText = (text) => (refuse ? Promise.reject(Error("no")) : ((window.written = text), Promise.resolve()));
      Object.defineProperty(navigator, "clipboard", { value: { writeText }, configurable: true });
      document.activeElement.blur();
    }, refused);
    await reach(page, LINK);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => !["", "Below."].includes(document.querySelector(".copies [role=status]").textContent));
    found[refused ? "refused" : "copied"] = await told();
    // What is changed makes the copy old.
    await page.locator("#explorer-live .bits button").first().click();
    await page.locator("#explorer-live .bits button").first().click();
    found.gone = await page.locator(".copies textarea").count();
  }
  found.written = await page.evaluate(() => window.written);
  return found;
}

/** Whether the handle is pressed, and the sequence whose memory it puts in. */
const handle = (page) =>
  page.locator("#explorer-live .handle").evaluate((one) => [
    one.querySelector("button").getAttribute("aria-pressed"),
    ...[...one.querySelectorAll("input.wide")].map((input) => input.value),
  ]);

/** Press the buttons of what the author suggests to try, by keyboard, and read what each of them sets. */
async function suggested(page) {
  await page.evaluate(() => document.activeElement.blur());
  const found = [];
  for (const button of await page.getByRole("group", { name: "Try this" }).getByRole("button").allInnerTexts()) {
    await reach(page, button);
    await page.keyboard.press("Enter");
    found.push({
      button,
      focus: await page.evaluate(() => document.activeElement.textContent),
      sequence: await page.locator("#explorer-live input.wide").first().inputValue(),
      second: await page.locator("#explorer-live .edits input.wide").evaluateAll((inputs) => inputs.map((input) => input.value)),
      handle: await handle(page),
      status: await status(page),
      programs: await programs(page),
      images: await page.locator("main img").count(),
    });
  }
  return found;
}

/** The committed golden file on this browser's own arithmetic. */
const golden = (page) =>
  page.evaluate(
    ([text, numbers]) => {
      const { networks, strings, cases } = JSON.parse(text);
      const opened = networks.map(rnnProbe.openNetwork);
      const found = { runs: 0, largest: 0, answers: 0 };
      let place = 0;
      for (const { network, edits } of cases) {
        const given = edits.map(rnnProbe.editFromJson);
        strings.forEach((string, row) => {
          const { inputs } = opened[network].layers[0];
          const x = [...string].map((bit) => Float64Array.from([Number(bit), (1 - Number(bit)) / 2].slice(0, inputs)));
          const run = rnnProbe.run(opened[network], x, given, { row, batch: strings.length });
          const scores = rnnProbe.scoresAt(run, -1);
          const expected = Float64Array.from(numbers.slice(place, place + scores.length));
          found.answers += Number(rnnProbe.argmax(scores) !== rnnProbe.argmax(expected));
          scores.forEach((score, k) => {
            const off = Math.abs(score - expected[k]) / Math.max(1, Math.abs(expected[k]));
            found.largest = Math.max(found.largest, off <= Infinity ? off : Infinity);
          });
          place += scores.length + 1; // the sum over all values follows them
          found.runs++;
        });
      }
      return found;
    },
    [readFileSync(join(folder, "runs.json"), "utf8"), doubles(readFileSync(join(folder, "runs.f64")))],
  );

const doubles = (bytes) => [...new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))];

/** In a frame that may run scripts and nothing else: no address to write, no clipboard. */
async function inFrame(browser) {
  const page = await browser.newPage();
  page.on("console", (message) => log.console.push(`frame: ${message.text()}`));
  page.on("pageerror", (error) => log.console.push(`frame: ${error}`));
  await page.setContent('<iframe sandbox="allow-scripts" style="width:1000px;height:700px"></iframe>');
  await page.locator("iframe").evaluate((frame, html) => (frame.srcdoc = html), readFileSync(resolve(file), "utf8"));
  const frame = page.frameLocator("iframe");
  await frame.locator("input.wide").fill(TYPED);
  const typed = await frame.locator("[role=status]").first().innerText();
  await frame.getByRole("button", { name: "Copy as Python" }).click();
  const box = frame.locator("textarea");
  await box.waitFor();
  const selected = await box.evaluate((area) => area.selectionEnd - area.selectionStart === area.value.length);
  const found = { typed, selected, code: (await box.inputValue()).slice(0, 20) };
  await frame.getByRole("button", { name: "13 bits" }).click();
  found.links = await frame.getByRole("button", { name: LINK }).count();
  found.tried = await frame.locator("[role=status]").first().innerText();
  await page.close();
  return found;
}

const browser = await launch();
try {
  const context = await watched(browser, url, log);
  const page = await open(context, url, log);
  const found = { keyboard: await byKeyboard(page) };
  found.golden = await golden(page);
  found.suggested = await suggested(page);
  await page.getByLabel("Signals").selectOption("scores");
  found.probabilities = await Promise.all(Array.from({ length: 11 }, (_, count) => row(page, String(count))));
  const fresh = await open(context, url, log);
  found.first = await linked(fresh);
  const again = await open(context, `${url}${found.keyboard.hash}`, log);
  found.linked = await status(again);
  found.link = await linked(again);
  found.shared = await status(await open(context, found.link.written, log));
  const crowded = `${url}${found.keyboard.hash}&edit=${encodeURIComponent('["resample",0,"input_gate","all","0","1"]')}`;
  found.axe = await axe(browser, crowded);
  found.overflow = await overflow(browser, crowded);
  found.walk = await walk(browser, crowded);
  const attacked = await open(context, `${url}${hostile}`, log);
  found.attacked = {
    status: await status(attacked),
    images: await attacked.locator("main img").count(),
    error: await attacked.locator(".wrong").count(),
  };
  await context.close();
  found.frame = await inFrame(browser);
  console.log(JSON.stringify({ ...found, ...log }, null, 1));
} finally {
  await browser.close();
}
