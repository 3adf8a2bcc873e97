// Uses the drawings of a page's live explorer, and prints as JSON what they show beside what the page's engine computes.
//   node drawings.mjs PAGE.html
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { contrasts, letters } from "./contrast.mjs";
import { launch, open, overflow, PHONE, watched } from "./browser.mjs";

const [file] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const log = { requests: [], console: [], csp: [] };
const MEMORY = "#x=0110101101&y=0000000000&put=all&from=6&at=6";

const status = (page) => page.locator("#explorer-live [role=status]").first().innerText();
const sequence = (page) => page.getByLabel("Sequence", { exact: true }).inputValue();

/** Runs inside the page: what each panel shows, its paths as the numbers they stand for. */
function panels() {
  const steps = (path, height) => {
    // A staircase begins at its first value; each V goes to the next one's.
    const heights = [...path.getAttribute("d").matchAll(/(?:M0 |V)(-?[\d.]+)/g)].map(([, y]) => Number(y));
    const [high, low] = height;
    return heights.map((y) => high - ((y - 12) / (112 - 24)) * (high - low));
  };
  return [...document.querySelectorAll("#explorer-live .panel")].map((panel) => {
    const axis = [...panel.querySelectorAll(".axis span")].map((one) => Number(one.textContent));
    const drawn = (name) => {
      const path = panel.querySelector(`.stairs path.${name}`);
      return path && steps(path, axis);
    };
    const bits = [...panel.querySelectorAll(".bits button")].map((one) => one.getBoundingClientRect());
    const column = (element) => {
      const { left, right } = element.getBoundingClientRect();
      return bits.findIndex((bit) => (left + right) / 2 > bit.left && (left + right) / 2 < bit.right);
    };
    const lit = panel.querySelector(".lit");
    return {
      name: panel.querySelector(".name").textContent,
      reads: [...panel.querySelectorAll(".bits button")].map((one) => one.textContent).join(""),
      answers: drawn("answer"),
      unedited: drawn("unedited"),
      truth: drawn("truth"),
      wrong: [...panel.querySelectorAll(".stairs .no path")].map(column),
      written: [...panel.querySelectorAll(".written.says span")].map((one) => [one.textContent, one.className]),
      described: panel.querySelector(".stairs").getAttribute("aria-label"),
      memory: panel.querySelector(".sparks").getAttribute("aria-label"),
      reading: panel.querySelector(".reading").textContent,
      values: [...panel.querySelectorAll(".values span")].map((one) => Number(one.textContent.replace("\u2212", "-"))),
      lines: panel.querySelectorAll(".sparks .spark").length,
      units: [...panel.querySelectorAll(".units span")].map((one) => Number(one.textContent.split(" ")[1])),
      bold: [...panel.querySelectorAll(".sparks .spark")].map((one) => Number.parseFloat(getComputedStyle(one).strokeWidth) > 2),
      pointed: panel.querySelector(".pointed").textContent,
      marked: [...panel.querySelectorAll(".units .at")].map((one) => one.textContent),
      height: panel.getBoundingClientRect().height,
      lit: lit && [column(lit), Math.abs(lit.getBoundingClientRect().width - bits[0].width) < 1],
      put: panel.querySelectorAll(".put").length,
    };
  });
}

/** Runs inside the page: what the legend and the panels' names say, each with its colour. */
function legend() {
  const coloured = (all) => [...all].map((one) => [one.textContent, getComputedStyle(one).borderInlineStartColor]);
  const [words, names] = [".key .look", ".panel .name"].map((part) => document.querySelectorAll(`#explorer-live ${part}`));
  return { words: coloured(words), names: coloured(names) };
}

/** Runs inside the page: what the engine computes for the networks of the panels. */
function engine([string, names]) {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  return names.map((name) => {
    const network = rnnProbe.openNetwork(data.networks.find((one) => one.name === name));
    const run = rnnProbe.run(network, [...string].map((bit) => Float64Array.of(Number(bit))));
    const { family, units } = network.layers[0];
    const [place, count] = family === "lstm" ? [8, 10] : [7, 8];
    return {
      answers: [...string].map((_, step) => rnnProbe.argmax(rnnProbe.scoresAt(run, step))),
      memory: [...string].map((_, step) => [...run.layers[0].slice((step * count + place) * units).slice(0, units)]),
    };
  });
}

const computed = async (page, string) =>
  page.evaluate(engine, [string, await page.locator("#explorer-live .panel .name").allInnerTexts()]);

/** Click a bit of the second panel, then use the keys in the first. */
async function bits(page) {
  const found = { before: await sequence(page) };
  const second = page.locator("#explorer-live .panel").nth(1).locator(".bits button");
  await second.nth(2).click();
  found.clicked = await sequence(page);
  found.status = await status(page);
  found.reads = (await page.evaluate(panels)).map(({ reads }) => reads);
  found.focus = await page.evaluate(() => document.activeElement.dataset.step);
  const first = page.locator("#explorer-live .panel").first().locator(".bits button");
  await first.nth(4).focus();
  const pressed = {};
  for (const key of ["ArrowRight", "ArrowLeft", "0", "1", "End", "Home", "Delete", "Backspace", "Enter", "x"]) {
    await page.keyboard.press(key);
    pressed[key] = [await sequence(page), await page.evaluate(() => document.activeElement.dataset.step)];
  }
  found.pressed = pressed;
  await page.getByRole("button", { name: "One bit more" }).click();
  found.more = await sequence(page);
  await page.getByRole("button", { name: "One bit fewer" }).click();
  found.fewer = await sequence(page);
  found.hash = await page.evaluate(() => location.hash);
  const above = page.locator("#explorer-bits");
  await above.getByRole("button", { name: "Add a bit" }).click();
  await above.locator(".bits button").first().click();
  found.above = [await sequence(page), await above.locator("p").innerText(), (await above.boundingBox()).height];
  return found;
}

/** Light a step with the mouse over a line, with the focus, and with a finger. */
async function lit(context) {
  const page = await open(context, url, log);
  const shown = () => page.evaluate(panels);
  const found = { before: await shown() };
  const over = async (panel, part, column, share = 0.5) => {
    const drawing = page.locator("#explorer-live .panel").nth(panel).locator(part);
    await drawing.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await drawing.boundingBox();
    return [x + (width * (column + 0.5)) / 10, y + height * share];
  };
  await page.mouse.move(...(await over(0, ".sparks", 3, 2.5 / 12)));
  found.hovered = await shown();
  await page.mouse.move(...(await over(2, ".stairs", 6)));
  found.other = await shown();
  await page.mouse.move(2, 2);
  found.left = await shown();
  await page.locator("#explorer-live .bits button").nth(1).focus();
  found.focused = await shown();
  found.computed = await computed(page, "0110101101");
  await page.close();
  return found;
}

/** Put a memory in by keyboard alone. */
async function handle(context) {
  const page = await open(context, url, log);
  const button = page.getByRole("button", { name: "Put this memory in here" });
  await button.focus();
  await page.keyboard.press("Enter");
  const found = { pressed: await button.getAttribute("aria-pressed"), open: await page.evaluate(() => location.hash) };
  await page.keyboard.press("Tab");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("0000000000");
  await page.keyboard.press("Tab"); // what is put in
  for (const steps of [7, 7]) {
    await page.keyboard.press("Tab");
    await page.keyboard.press("Home");
    for (let step = 1; step < steps; step++) await page.keyboard.press("ArrowRight");
  }
  found.hash = await page.evaluate(() => location.hash);
  found.panels = await page.evaluate(panels);
  found.status = await status(page);
  found.told = await page.locator("#explorer-live .handle .note").innerText();
  found.key = await page.locator("#explorer-live .key").innerText();
  await page.locator("#explorer-live .handle select").selectOption("u3");
  found.one = await page.evaluate(panels);
  await button.click();
  found.off = await page.evaluate(panels);
  const linked = await open(context, url + MEMORY, log);
  found.linked = await linked.evaluate(panels);
  await page.close();
  await linked.close();
  return found;
}

/** The tables that stand under More, before and after it is opened by keyboard. */
async function more(context) {
  const page = await open(context, url, log);
  const shown = () =>
    page.locator("#explorer-live caption").evaluateAll((all) => all.filter((one) => one.checkVisibility()).map((one) => one.textContent));
  const found = { before: await shown(), heads: [] };
  await page.locator("#explorer-live summary").focus();
  await page.keyboard.press("Enter");
  found.after = await shown();
  found.heads = await page.locator("#explorer-live th[scope=rowgroup]").allInnerTexts();
  found.steps = await page.locator("#explorer-live table").last().locator("thead th").allInnerTexts();
  await page.locator("#explorer-live .bits button").first().click();
  found.stays = await shown();
  await page.close();
  return found;
}

/** The same page on a phone, touched: panels one below the other, and the letters' sizes. */
async function phone(browser) {
  const context = await browser.newContext({ viewport: { ...PHONE, width: 390 }, hasTouch: true, offline: true });
  const page = await open(context, url + MEMORY, log);
  const boxes = await page.locator("#explorer-live .panel").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
  const drawing = page.locator("#explorer-live .panel").first().locator(".sparks");
  await drawing.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await drawing.boundingBox();
  await page.touchscreen.tap(x + width * 0.55, y + height * (8.5 / 12));
  const found = { boxes, touched: await page.evaluate(panels), letters: await page.evaluate(letters) };
  await context.close();
  return found;
}

/** Runs inside the page: for strings of 1 to 32 bits the most pixels between a bit and its place in a drawing below. */
async function aligned() {
  let most = 0;
  for (let count = 1; count <= 32; count++) {
    location.hash = `#x=${"01".repeat(16).slice(0, count)}&put=all&at=1`;
    await new Promise((done) => addEventListener("hashchange", done, { once: true }));
    for (const panel of document.querySelectorAll("#explorer-live .panel")) {
      const bits = [...panel.querySelectorAll(".bits button")].map((one) => one.getBoundingClientRect());
      const paths = [...panel.querySelectorAll(".answer, .truth, .spark")];
      if (bits.length !== count || paths.length < 14 || !bits[0].width) return Infinity;
      for (const path of paths) {
        const place = path.getScreenCTM();
        bits.forEach(({ x, width }, k) => {
          most = Math.max(most, Math.abs(x + width / 2 - new DOMPoint(k + 0.5, 0).matrixTransform(place).x));
        });
      }
    }
  }
  return most;
}

const PRESSES = 200;

/**
 * What a key pressed at a bit takes until the page is laid out anew, in the time of a loop of plain arithmetic that runs
 * beside each press; and with a handler that wastes as much as `slow` such loops take. Of each the lower quartile, since
 * another program on the same core only adds.
 */
function presses([count, slow]) {
  const loop = () => {
    let sum = 0;
    for (let i = 0; i < 200_000; i++) sum = sum * 0.5 + Math.tanh(i / 1000);
    return sum;
  };
  const timed = (work) => {
    const start = performance.now();
    work();
    return performance.now() - start;
  };
  const quartile = (values) => values.toSorted((a, b) => a - b)[values.length >> 2];
  const waste = () => {
    for (let again = 0; again < slow; again++) loop();
  };
  if (slow) document.addEventListener("keydown", waste);
  for (let again = 0; again < 20; again++) loop();
  const [pressed, loops] = [[], []];
  for (let press = 0; press < count; press++) {
    const button = document.querySelectorAll("#explorer-live .bits button")[press % 10];
    button.focus();
    loops.push(timed(loop));
    pressed.push(
      timed(() => {
        button.dispatchEvent(new KeyboardEvent("keydown", { key: String(((press / 10) | 0) % 2), bubbles: true, cancelable: true }));
        void document.body.offsetHeight;
      }),
    );
  }
  document.removeEventListener("keydown", waste);
  return { press: quartile(pressed), loop: quartile(loops), loops: quartile(pressed) / quartile(loops), count: pressed.length };
}

const browser = await launch();
try {
  const context = await watched(browser, url, log);
  const page = await open(context, url, log);
  const found = { shown: await page.evaluate(panels), computed: await computed(page, "0110101101") };
  found.legend = await page.evaluate(legend);
  found.bits = await bits(page);
  found.lit = await lit(context);
  found.handle = await handle(context);
  found.more = await more(context);
  const sheet = await open(context, url, log);
  found.aligned = [];
  for (const [width, media] of [[1280, "screen"], [390, "screen"], [700, "print"]]) {
    await sheet.setViewportSize({ width, height: 900 });
    await sheet.emulateMedia({ media });
    found.aligned.push(await sheet.evaluate(aligned));
  }
  await sheet.close();
  const timing = await open(context, url, log);
  found.speed = await timing.evaluate(presses, [PRESSES, 0]);
  found.slow = await timing.evaluate(presses, [40, 20]);
  await context.close();
  found.phone = await phone(browser);
  found.overflow = await overflow(browser, url + MEMORY);
  found.contrast = await contrasts(browser, url + MEMORY);
  console.log(JSON.stringify({ ...found, ...log }, null, 1));
} finally {
  await browser.close();
}
