// What every check in a real browser shares: Chromium with the network blocked, and what a page must not do in it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
export const PHONE = { width: 375, height: 800 };
// A4 less the margins that Chromium prints with, in CSS pixels.
export const SHEET = { width: 718, height: 1040 };
export const DESK = { width: 1280, height: 900 };
export const MODES = {
  light: { viewport: DESK, colorScheme: "light" },
  dark: { viewport: DESK, colorScheme: "dark" },
  narrow: { viewport: { width: 390, height: 844 }, colorScheme: "light" },
  forced: { viewport: DESK, forcedColors: "active" },
};

/** How many pages a PDF has. */
export const sheets = (pdf) => (pdf.toString("latin1").match(/\/Type\s*\/Page\b(?!s)/g) ?? []).length;

/** A context that can reach the page's own file and nothing else; `log` collects what it tried. */
export async function isolated(browser, url, options, log) {
  const context = await browser.newContext({ ...options, offline: true, serviceWorkers: "block" });
  await context.route("**/*", (route) => {
    if (route.request().url() === url.split("#")[0]) return route.continue();
    log.requests.push(route.request().url().slice(0, 200));
    return route.abort();
  });
  return context;
}

export async function open(context, url, log) {
  const page = await context.newPage();
  page.on("console", (message) => log.console.push(`${message.type()}: ${message.text().slice(0, 300)}`));
  page.on("pageerror", (error) => log.console.push(`uncaught: ${String(error).slice(0, 300)}`));
  page.on("dialog", (dialog) => {
    log.console.push(`dialog: ${dialog.message().slice(0, 300)}`);
    return dialog.dismiss();
  });
  await page.goto(url, { waitUntil: "load" });
  return page;
}

/** Chromium, with the fresh profile folder that Playwright gives each launch. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

/** An isolated context whose log collects what violates the page's own policy too. */
export async function watched(browser, url, log) {
  const context = await isolated(browser, url, { viewport: DESK }, log);
  await context.exposeFunction("reportViolation", (text) => log.csp.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.reportViolation(`${event.violatedDirective}: ${event.blockedURI || event.sample}`),
    );
  });
  return context;
}

/** What the page asks for, says and violates, with its own policy in force. */
export async function quiet(browser, url) {
  const log = { requests: [], console: [], csp: [] };
  const context = await watched(browser, url, log);
  const page = await open(context, url, log);
  await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  await page.mouse.wheel(0, 20000);
  await page.waitForTimeout(200);
  await context.close();
  return log;
}

/** axe-core needs to run inside the page, so that this context alone goes without the policy. */
export async function axe(browser, url) {
  const found = {};
  const log = { requests: [], console: [] };
  const context = await isolated(browser, url, { bypassCSP: true }, log);
  const page = await open(context, url, log);
  await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  await page.evaluate(readFileSync(AXE, "utf8"));
  for (const [mode, { viewport, ...media }] of Object.entries(MODES)) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme: "light", forcedColors: "none", ...media });
    found[mode] = await page.evaluate(violations);
  }
  await context.close();
  return found;
}

/** Runs inside the page. What passes is left there: of a long page it takes seconds to hand over. */
export async function violations(context) {
  const result = await window.axe.run(context ?? document, { resultTypes: ["violations"] });
  return result.violations.map((rule) => ({
    rule: rule.id,
    help: rule.help,
    nodes: rule.nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`.slice(0, 400)),
  }));
}

/** Pixels by which the page is wider than its window, details closed and opened. */
export async function overflow(browser, url) {
  const log = { requests: [], console: [] };
  const context = await isolated(browser, url, { viewport: PHONE }, log);
  const page = await open(context, url, log);
  const measure = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const closed = await page.evaluate(measure);
  await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  const opened = await page.evaluate(measure);
  await context.close();
  return Math.max(closed, opened);
}
