"""List every sentence of the counter's pages with a number, formula or count, and what stands behind it.

    python -m benchmarks.sentences [--draw 40] [--seed 0]

For each it prints the page, the claims or measurements that it rests on, and their weight: over what the number is a
mean, share or median. A line of a claim rests on that claim, which `reports/counter/findings.json` has; what all
others rest on stands in `sentences.csv`, and the command fails where a sentence has no row there. Pictures and
tables are not read: the numbers behind a picture are a file of its page.
"""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from probe.command_line.shell import Whole, command, emit, run

PAGES = Path(__file__).parents[1] / "reports" / "counter"
SOURCES = Path(__file__).with_suffix(".csv")
#: Elements that hold a sentence, those without an end, and those of which nothing is read.
HOLDS = {"p", "li", "h1", "h2", "h3", "figcaption"}
ENDLESS = {"br", "img", "meta", "link", "input", "hr", "wbr"}
UNREAD = {"svg", "script", "style", "table", "nav", "button", "form", "select", "footer"}
#: A number as digits or a word. A bit is none: "a 1", "1s".
NUMBER = re.compile(
    r"\d|\b(?:no|none|neither|nor|half|twice|tenth|most|few|nearly|two|three|four|five|six|seven|eight|nine|ten|eleven|"
    r"twelve|twenty|hundred)\b",
    re.IGNORECASE,
)
BIT = re.compile(r"\b[Aa] [01]\b(?!\.\d)|\b[01]s\b")
#: What numbers figures and tables, and counts what is folded.
LABEL = re.compile(r"(?:Figure|Table) \d+\.")
#: Digits in a row of the sources stand as #.
DIGITS = re.compile(r"[\u2212-]?\d[\d.,]*\d|\d")
#: How a verdict is counted, on a page or on the list of all.
COUNTED = re.compile(r"\d+ (?:claims(?::| with a rule:)|[✓✗○?] )")


@dataclass(frozen=True)
class Said:
    """A sentence with a number, where it stands, and what it rests on; `rests_on` is empty where no row says it."""

    page: str
    sentence: str
    rests_on: str
    weight: str


class Sentences(HTMLParser):
    """Collects the text of each element that holds a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.holds: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a text where an element holds one."""
        if tag in ENDLESS:
            return
        self.open.append("svg" if "explorer" in (dict(attrs).get("class") or "") else tag)
        if tag in HOLDS and not UNREAD & {*self.open}:
            self.holds = []

    def handle_endtag(self, tag: str) -> None:
        """End an element, and the text that it held."""
        if self.open:
            _ = self.open.pop()
        if tag in HOLDS and self.holds is not None:
            self.texts.append(" ".join("".join(self.holds).split()))
            self.holds = None

    def handle_data(self, data: str) -> None:
        """Add to the text that is open."""
        if self.holds is not None and not UNREAD & {*self.open}:
            self.holds.append(data)


app = command("python -m benchmarks.sentences")


@app.default
def main(*, draw: Whole = 0, seed: Whole = 0) -> int:
    """List the sentences with what they rest on, and fail where one has no row.

    Args:
        draw: how many to draw at random; 0 lists all.
        seed: which ones are drawn.
    """
    every = [one for path in sorted(PAGES.glob("*.html")) for one in said_of(path)]
    shown = random.Random(seed).sample(every, min(draw, len(every))) if draw else every
    for one in shown:
        emit(f"{one.page}: {one.sentence}\n    {one.rests_on or 'NO ROW'}: {one.weight}")
    without = sum(not one.rests_on for one in every)
    emit(f"{len(every)} sentences with a number, {without} without a row in {SOURCES.name}.")
    return 1 if without else 0


def said_of(path: Path) -> Iterator[Said]:
    """Yield each sentence of a page that has a number, with what it rests on."""
    claims = json.loads((PAGES / "findings.json").read_text(encoding="utf-8"))["claims"]
    by_sentence = {claim["sentence"]: claim for claim in claims}
    by_sentence |= {claim["sentence"].partition(" (")[0] + ".": claim for claim in claims}
    rows = sources()
    reader = Sentences()
    reader.feed(path.read_text(encoding="utf-8"))
    for text in reader.texts:
        claim = next((one for words, one in by_sentence.items() if words in text), None)
        if claim is not None:
            yield Said(path.name, text, claim["key"], claim["definition"])
            continue
        if COUNTED.match(text):
            yield Said(path.name, text, "verdicts of findings.json", "each claim counts once")
            continue
        if " True in " in text:
            yield Said(path.name, text, text.partition(". ")[0], "as it says itself")
            continue
        for sentence in re.split(r"(?<=[.!?:]) (?=[A-Z“]|\d+[a-z]\b|\d+%)", LABEL.sub("", text).strip()):
            if NUMBER.search(BIT.sub("", sentence)):
                yield Said(path.name, sentence, *rows.get(begun(sentence, rows), ("", "")))


def sources() -> dict[str, tuple[str, str]]:
    """Return what sentences rest on and their weight, by how each begins."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return {row["begins"]: (row["rests on"], row["weight"]) for row in csv.DictReader(file)}


def begun(sentence: str, rows: dict[str, tuple[str, str]]) -> str:
    """Return the longest beginning in the rows that a sentence has; the sentence itself where there is none."""
    plain = DIGITS.sub("#", sentence)
    return max((words for words in rows if plain.startswith(words)), key=len, default=plain)


if __name__ == "__main__":
    sys.exit(run(app))
