// Presses each button of what a page suggests to try, and the handle, each on the page as it opens, and prints as JSON
// which of them change what is answered or drawn.
//   node tried.mjs PAGE.html
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { launch, open, watched } from "./browser.mjs";

const url = pathToFileURL(resolve(process.argv[2])).href;
const log = { requests: [], console: [], csp: [] };

/** Runs inside the page: the answer in the end, and the lines of all answers. */
function seen() {
  const said = [...document.querySelectorAll("#explorer-live .says strong:not(.no)")].at(-1).textContent;
  return JSON.stringify([said, [...document.querySelectorAll("#explorer-live path.answer")].map((one) => one.getAttribute("d"))]);
}

const browser = await launch();
try {
  const context = await watched(browser, url, log);
  const first = await open(context, url, log);
  const suggested = await first.getByRole("group", { name: "Try this" }).getByRole("button").allInnerTexts();
  const before = await first.evaluate(seen);
  const changed = {};
  for (const name of [...suggested, "Put this memory in here"]) {
    const page = await open(context, url, log);
    await page.getByRole("button", { name, exact: true }).click();
    changed[name] = (await page.evaluate(seen)) !== before;
    await page.close();
  }
  // A network's own memory put in at its own step is no change.
  const x = await first.locator("#explorer-live input.wide").first().inputValue();
  const own = await open(context, `${url}#${new URLSearchParams({ x, y: x, put: "all", from: "4", at: "4" })}`, log);
  changed["its own memory"] = (await own.evaluate(seen)) !== before;
  console.log(JSON.stringify({ changed, ...log }));
} finally {
  await browser.close();
}
