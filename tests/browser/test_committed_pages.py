"""The pages that readers open, and the page of a study, in a real Chromium: every bar of a page, on a phone too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from torch import nn

from benchmarks import study_pages
from benchmarks.gallery import GALLERY
from probe import Concept, Readout, Study
from probe.plots.style import COLUMN_WIDTH, SMALL, new_figure, style
from probe.report import Figure, Page, Section, figure_to_svg
from tests.browser.tools import PAGES, ROOT, STANDARD_BYTES, checked, hard_to_read, need, run

NEEDS = ("Chromium", "pypdf")
FIRST = ROOT / "reports" / "counter" / "index.html"
#: The others have the same parts; all are opened in Firefox.
ALWAYS = (FIRST, FIRST.with_name("how.html"))
MARKS = {True: (), False: pytest.mark.exhaustive}
CASES = [pytest.param(one, id=f"{one.parent.name}-{one.stem}", marks=MARKS[one in ALWAYS]) for one in PAGES]


@pytest.mark.parametrize("path", CASES)
def test_a_committed_page_passes_every_check(path: Path, tmp_path: Path) -> None:
    """No fault, every row and paragraph whole in its PDF, and no letter of a picture too small or cut on a phone."""
    report = checked(path, tmp_path / "page.pdf")
    assert report["bytes"] < STANDARD_BYTES
    assert (report["keyboard"]["stops"] >= 8, len(report["print"]["texts"]) > 5) == (True, True)
    assert hard_to_read(path) == []


@pytest.mark.parametrize("path", [path for path in PAGES if path.parent == FIRST.parent], ids=lambda one: one.stem)
def test_a_page_of_the_counter_shows_before_it_tells(path: Path) -> None:
    """Few words, figures as wide as their column, tables in their frame, few sheets, and ways up and aside.

    The first page has its finding on the first screen, and few numerals; a phone's reader can read its letters.
    """
    first, found, read = path == FIRST, run("bars.mjs", path), run("reading.mjs", path)
    assert max(seen["words"] for seen in read.values()) <= (900 if first else 500)
    assert len(found["figures"]) <= (7 if first else 4)
    assert [one for one in found["figures"] if one["share"] < 0.85] == []
    assert (found["wide"], found["twice"], found["broken"]) == ([], [], [])
    assert found["sheets"] <= (5 if first else 8)
    assert found["description"]
    assert "../index.html" in found["up"]
    assert first or ("index.html" in found["up"] and found["beside"])
    if first:
        assert [end for end in found["ends"].values() if not 0 < end <= 900] == []
        for width, highest in (("desk", 350), ("phone", 700)):
            seen = read[width]
            assert (seen["figure"] < highest, seen["prose"] > 250, seen["smallest"] >= 11) == (True, True, True)
            assert seen["numerals"] <= 0.05 * seen["prose"]


def test_words_and_figures_are_counted_outside_of_closed_folds(tmp_path: Path) -> None:
    """Captions are words; what is folded, tables, navigation, the explorer and the words of pictures are none."""
    picture = '<figure><svg viewBox="0 0 9 9"><text>no word</text></svg><figcaption>two words</figcaption></figure>'
    parts = {
        f"<main><p>three more words</p>{picture}</main>": (5, 1),
        f"<details open><summary>one</summary><p>two</p>{picture}</details>": (4, 1),
        f"<details><summary>one</summary><p>not this</p>{picture}</details>": (1, 0),
        "<table><tr><td>not this</td></tr></table><nav>nor this</nav>": (0, 0),
        f'<div class="explorer"><p>not this</p>{picture}</div>': (0, 0),
    }
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>t</title><body>{''.join(parts)}</body>", encoding="utf-8")
    for seen in run("reading.mjs", page).values():
        assert (seen["words"], seen["figures"]) == tuple(map(sum, zip(*parts.values(), strict=True)))
        assert seen["height"] > 0


def test_the_page_of_a_study_passes_every_check(tmp_path: Path) -> None:
    """Of an untrained network with a number and a category as concepts, whose name is markup, and an explorer.

    The same bars while a script runs; without it, and on paper, its example's numbers are there.
    """
    x = np.random.default_rng(0).integers(0, 2, (60, 6, 1)).astype(np.float32)
    concepts = {
        "ones": lambda one: np.cumsum(one[:, 0]),
        "<last> & first": Concept(lambda one: ["both" if step[0] == one[0, 0] == 1 else "not both" for step in one]),
    }
    readout, network = Readout("ones", function=nn.Linear(12, 7)), nn.LSTM(1, 12, batch_first=True)
    Study(network, x, concepts, readout=readout, programs={"sum": sum}).run(tmp_path)
    report = checked(tmp_path / "index.html", tmp_path / "page.pdf")
    assert (report["bytes"] < STANDARD_BYTES, report["texts"]["example"] > 500) == (True, True)
    assert hard_to_read(tmp_path / "index.html") == []


SHORT = ("README's LSTM", "a language model")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS[name in SHORT]) for name in study_pages.PAGES], ids=lambda name: name
)
def test_a_page_of_somebody_elses_network_is_short(name: str, tmp_path: Path) -> None:
    """Words, pictures and height outside of folds, and no caption twice, as `benchmarks.study_pages` counts."""
    need(*NEEDS)
    found = study_pages.seen(study_pages.written(name, tmp_path))
    assert study_pages.holds(found), found
    assert found["words"] > 200


def test_the_documentation_is_read_and_searched_without_a_server(tmp_path: Path) -> None:
    """No code is cut off, as a line of 100 letters would be; pictures have their thumbnails; no host is asked."""
    need("Chromium", "material", "mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    seen = run("docs.mjs", tmp_path)
    assert (seen["cut"], seen["beyond"], seen["asked"]) == ([], [], [])
    assert (seen["found"], seen["thumbnails"]) == ("gallery.html", len(list(GALLERY.iterdir())))
    assert (seen["pages"] > 30, seen["control"] > 0, seen["noticed"]) == (True, True, 1)
    assert [page.name for page in tmp_path.rglob("*.html") if "8&lt;" in page.read_text()] == []


def test_what_a_page_suggests_to_try_changes_what_is_seen() -> None:
    """Each button changes an answer that is drawn or told, so does the handle; a network's own memory does not."""
    for path in [path for path in PAGES if 'id="explorer-data"' in path.read_text()]:
        changed = run("tried.mjs", path)["changed"]
        assert changed.pop("its own memory") is False
        assert len(changed) > 3
        assert all(changed.values()), changed


PICTURES = {
    "as figures are": (COLUMN_WIDTH, SMALL, 0.5, []),
    "small letters": (COLUMN_WIDTH, SMALL - 1, 0.5, ["letters"]),
    "out of its frame": (COLUMN_WIDTH, SMALL, 0.5, ["window"]),
    "a word over the edge": (COLUMN_WIDTH, SMALL, 0.95, ["cut"]),
}


def test_a_picture_that_is_hard_to_read_is_found(tmp_path: Path) -> None:
    """A usual figure in its frame passes; smaller letters, a figure without its frame and a cut word do not."""
    blocks = []
    for name, (width, size, x, _) in PICTURES.items():
        with style(), matplotlib.rc_context({"svg.fonttype": "none"}):
            figure, axes = new_figure(width=width)
            axes[0, 0].set_axis_off()
            text = figure.text(x, 0.5, "some of these words", fontsize=size)
            text.set_in_layout(False)
            svg = figure_to_svg(figure, name=name.replace(" ", "-"))
        blocks.append(Figure(svg, f"{name}: 1 line.", "A line of words.", name))
    page = Page("A page", "Words.", [Section("Words", blocks, key="words")]).write(tmp_path / "page.html")
    html = page.read_text()
    framed = list(re.finditer('class="picture wide"', html))[list(PICTURES).index("out of its frame")]
    page.write_text(f'{html[: framed.start()]}class="lost"{html[framed.end() :]}')
    found = [tuple(fault.split(": ")[:2]) for fault in hard_to_read(page)]
    assert found == [(fault, name) for name, (*_, faults) in PICTURES.items() for fault in faults]
