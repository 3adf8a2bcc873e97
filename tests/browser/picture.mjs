// Takes the picture of a page's title and first figure, without prose: node picture.mjs PAGE.html PICTURE.png
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page, picture] = process.argv.slice(2);
if (!page || !picture) {
  console.error("usage: node picture.mjs PAGE.html PICTURE.png");
  process.exit(2);
}
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const tab = await browser.newPage({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
await tab.goto(pathToFileURL(resolve(page)).href);
// The page's policy allows no other style sheet, so each element is hidden through its own style.
await tab.locator("header :is(.lead, .pills, figcaption, details)").evaluateAll((elements) => {
  for (const element of elements) element.style.display = "none";
});
const heading = await tab.locator("h1").boundingBox();
const figure = await tab.locator("figure").first().boundingBox();
const margin = 16;
await tab.screenshot({
  path: picture,
  fullPage: true,
  clip: {
    x: figure.x - margin,
    y: heading.y - margin,
    width: figure.width + 2 * margin,
    height: figure.y + figure.height - heading.y + 2 * margin,
  },
});
await browser.close();
