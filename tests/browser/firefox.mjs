// Opens built pages in Firefox with the network blocked, and prints as JSON what each asks for, says and violates;
// where a page has an explorer, what it answers before and after a string is typed by keyboard alone.
//   node firefox.mjs PAGE.html...
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const TYPED = "111011";
// Every request that leaves this machine goes to a proxy that is not there; the browser's own errands are off.
const NOWHERE = {
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9,
  "network.proxy.allow_hijacking_localhost": true,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

/** Press Tab until the box of the sequence has the focus, and say after how many. */
async function reach(page) {
  for (let count = 1; count < 400; count++) {
    await page.keyboard.press("Tab");
    const focused = () => document.activeElement.closest("label")?.querySelector("span")?.textContent;
    if ((await page.evaluate(focused)) === "Sequence") return count;
  }
  throw new Error("Tab reaches no sequence");
}

const status = (page) => page.$eval("#explorer-live [role=status]", (element) => element.innerText);

async function explored(page) {
  const before = await status(page);
  const tabs = await reach(page);
  await page.keyboard.down("Control");
  await page.keyboard.press("a");
  await page.keyboard.up("Control");
  await page.keyboard.type(TYPED);
  return { before, tabs, typed: await status(page), hash: await page.evaluate(() => location.hash) };
}

async function visit(browser, file) {
  const url = pathToFileURL(resolve(file)).href;
  const found = { requests: [], console: [], csp: [] };
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 900 });
  page.on("request", (request) => {
    const asked = request.url();
    if (asked !== url && !asked.startsWith("data:")) found.requests.push(asked.slice(0, 200));
  });
  page.on("console", (message) => found.console.push(`${message.type()}: ${message.text().slice(0, 300)}`));
  page.on("pageerror", (error) => found.console.push(`uncaught: ${String(error).slice(0, 300)}`));
  page.on("dialog", (dialog) => {
    found.console.push(`dialog: ${dialog.message().slice(0, 300)}`);
    return dialog.dismiss();
  });
  await page.evaluateOnNewDocument(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
      window.violations.push(`${event.violatedDirective}: ${event.blockedURI || event.sample}`),
    );
  });
  await page.goto(url, { waitUntil: "load" });
  if (await page.$("#explorer-live [role=status]")) found.explorer = await explored(page);
  await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await new Promise((done) => setTimeout(done, 200));
  const width = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.overflow = await page.evaluate(width);
  found.words = await page.$eval("main", (main) => main.innerText.length);
  found.csp = await page.evaluate(() => window.violations);
  await page.close();
  return found;
}

const files = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
  headless: true,
  extraPrefsFirefox: NOWHERE,
});
try {
  const pages = {};
  for (const file of files) pages[file] = await visit(browser, file);
  console.log(JSON.stringify({ version: await browser.version(), pages }, null, 1));
} finally {
  await browser.close();
}
