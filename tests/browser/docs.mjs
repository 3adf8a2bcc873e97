// Opens every page of the built documentation from its folder, on a desk and on a phone, and searches it there. Prints
// as JSON: code that is `cut` off on the desk, pages `beyond` the phone's window, what is `asked` of hosts, the page that
// search `found` for "saturated gates", by how many pixels the `control`, a line of 100 letters, is cut off, and how many
// requests are `noticed` where one is made.
import { readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";

// A window of 1,300 pixels less a scroll bar.
const DESK = { width: 1285, height: 900 };
const PHONE = { width: 390, height: 844 };
const [root] = process.argv.slice(2);
const folder = `${pathToFileURL(root)}/`;
const names = readdirSync(root, { recursive: true }).filter((name) => /\.html$/.test(name));
const report = { pages: 0, cut: [], beyond: [], asked: [], found: "", thumbnails: 0, control: 0, noticed: 0 };

const browser = await launch();
const context = await browser.newContext({ viewport: DESK, offline: true });
await context.route("**/*", (route) => {
  const url = route.request().url();
  if (url.startsWith(folder) || url.startsWith("data:")) return route.continue();
  report.asked.push(url);
  return route.abort();
});
const page = await context.newPage();
const cut = () =>
  page.$$eval("pre, code", (blocks) =>
    blocks
      .filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth)
      .map((one) => [one.scrollWidth - one.clientWidth, one.innerText.slice(0, 60)]),
  );

for (const name of names.filter((name) => name !== "404.html" && !name.startsWith("gallery/")).sort()) {
  report.pages += 1;
  await page.setViewportSize(DESK);
  await page.goto(folder + name);
  report.cut.push(...(await cut()).map((one) => [name, ...one]));
  await page.setViewportSize(PHONE);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) report.beyond.push([name, wide]);
}

await page.setViewportSize(DESK);
await page.goto(`${folder}start.html`);
await page.$eval("pre > code", (code) => code.append(`\n${"x".repeat(100)}`));
report.control = (await cut())[0]?.[0] ?? 0;

await page.fill("[data-md-component=search-query]", "saturated gates");
await page.click(".md-search-result__link:not([href*='start.html'])");
await page.waitForURL((url) => !url.pathname.endsWith("start.html"));
report.found = page.url().slice(folder.length).split("?")[0];
report.thumbnails = await page.$$eval(
  ".thumbnails a",
  (links) => links.filter((link) => document.getElementById(link.hash.slice(1))).length,
);
const before = report.asked.length;
await page.evaluate(() => fetch("https://example.org/x").catch(() => null));
report.noticed = report.asked.splice(before).length;
await browser.close();
console.log(JSON.stringify(report));
