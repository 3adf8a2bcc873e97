// Takes the picture of a page's first screen: node picture.mjs PAGE.html PICTURE.png
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page, picture] = process.argv.slice(2);
if (!picture) {
  console.error("usage: node picture.mjs PAGE.html PICTURE.png");
  process.exit(2);
}
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const tab = await browser.newPage({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
await tab.goto(pathToFileURL(resolve(page)).href);
await tab.screenshot({ path: picture });
await browser.close();
