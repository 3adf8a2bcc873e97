"""What the tests in a browser need of the machine, and how they run the scripts of this folder."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: The pages that readers open.
PAGES = sorted((ROOT / "reports").rglob("*.html"))
#: A standard page stays below so many bytes.
STANDARD_BYTES = 500_000
#: How many CSS pixels high the smallest letters of a picture are at the least, on a phone.
SMALLEST = 11


def need(name: str = "Chromium", *packages: str) -> None:
    """Skip the test that asks where a browser or packages are missing; in CI, fail it."""
    reason = missing(name, *packages)
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI must run the browser tests, but {reason}")
    if reason:
        pytest.skip(reason)


def missing(name: str, *packages: str) -> str | None:
    """Return what is missing here, and how to get it; the browser's name in capitals is the variable of its place."""
    if shutil.which("node") is None:
        return "node is not installed; install Node.js 20 or later"
    driver = {"Chromium": "playwright-core", "Firefox": "puppeteer-core"}[name]
    if not (HERE / "node_modules" / driver).is_dir():
        return f"{driver} is not in tests/browser/node_modules; run `make browser`"
    package = {"Chromium": "chromium", "Firefox": "firefox-esr"}[name]
    browser = os.environ.get(name.upper(), f"/usr/bin/{package}")
    if shutil.which(browser) is None:
        return f"there is no {name} at {browser}; install the package `{package}` or set {name.upper()}"
    lacking = [package for package in packages if importlib.util.find_spec(package) is None]
    return f"{' and '.join(lacking)} cannot be imported; run `make setup`" if lacking else None


def run(script: str, *arguments: str | Path) -> dict[str, Any]:
    """Return what a script of this folder prints as JSON, whether it finds faults or none."""
    command = ["node", str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def lost_on_paper(texts: list[str], pdf: Path) -> list[str]:
    """Return which texts of a page do not stand whole in its PDF; spaces and ligatures do not count."""
    from pypdf import PdfReader

    printed = _squeezed("".join(page.extract_text() for page in PdfReader(pdf).pages))
    return [text for text in texts if _squeezed(text) not in printed]


def checked(page: Path, pdf: Path | None = None) -> dict[str, Any]:
    """Return what the checker says of a page that must keep every bar, also when it is printed."""
    report = run("check_page.mjs", page, *(["--pdf", pdf] if pdf else []))
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert pdf is None or lost_on_paper(report["print"]["texts"], pdf) == []
    return report


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def hard_to_read(page: Path) -> list[str]:
    """Return what a phone's reader cannot read in the pictures of a page: `letters`, `cut` or `window`, and where."""
    faults = []
    for one in run("letters.mjs", page)["pictures"]:
        if one["size"] is not None and one["size"] < SMALLEST:
            faults.append(f"letters: {one['title']}: {one['small']!r} is {one['size']:.1f} pixels high")
        if one["cut"]:
            faults.append(f"cut: {one['title']}: {one['cut'][:3]}")
        if one["beyond"] > 1:
            faults.append(f"window: {one['title']}: {one['beyond']:.0f} pixels lie outside of it")
    return faults
