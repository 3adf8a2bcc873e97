// Takes away what the menus of a page's figures offer, on a dark screen: node menus.mjs PAGE.html FOLDER
// FOLDER receives the files. Printed as JSON: by figure the words of its menu without scripts and with them, the files,
// and what its line of Python left on the clipboard; and what the page asked for, said and violated.
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isolated, launch, MODES, open, watched } from "./browser.mjs";

const [file, folder] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const browser = await launch();
const words = (page) => page.locator(".menu").evaluateAll((all) => all.map((one) => one.innerText.trim().split(/\s+/).join(" ")));
const bare = await isolated(browser, url, { viewport: MODES.light.viewport, javaScriptEnabled: false }, { requests: [] });
const unscripted = await words(await open(bare, url, { console: [] }));

const log = { requests: [], console: [], csp: [] };
const context = await watched(browser, url, log);
await context.grantPermissions(["clipboard-read", "clipboard-write"]);
const page = await open(context, url, log);
await page.emulateMedia({ colorScheme: "dark" });
const scripted = await words(page);
const figures = [];
for (const [place, menu] of (await page.locator(".menu").all()).entries()) {
  const files = [];
  for (const label of ["SVG", "PNG", "CSV"]) {
    const link = menu.getByText(label, { exact: true });
    if (!(await link.count())) continue;
    const [taken] = await Promise.all([page.waitForEvent("download"), link.click()]);
    files.push(taken.suggestedFilename());
    await taken.saveAs(join(folder, files.at(-1)));
  }
  let copied = null;
  if (await menu.locator("details").count()) {
    await menu.locator("summary").click();
    await menu.getByText("Copy", { exact: true }).click();
    await menu.getByText("Copied", { exact: true }).waitFor();
    copied = await page.evaluate(() => navigator.clipboard.readText());
  }
  figures.push([unscripted[place], scripted[place], files.join(" "), copied]);
}
await browser.close();
console.log(JSON.stringify({ figures, ...log }));
