"""The code of README and of the pages in docs/ runs as it stands there, and prints what they say that it prints.

What a fence says of its block stands in docs_blocks.py. No block of code is left out: each is run, saved as a file
that another one uses, or names what runs it elsewhere. A page that downloads something is a test marked `packages`:
`python -m pytest -m packages tests/repo/test_docs.py`.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
import re
import runpy
import tomllib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import painted
import pictured
import pytest
from notebooks import execute
from PIL import Image

import probe
from benchmarks.gallery import GALLERY, PAGE, START, made, scripts, small
from probe import plots
from probe.command_line import PACKAGES
from probe.command_line.main import app
from tests.repo.docs_blocks import ROOT, blocks, run, undecided

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Write whole reports.
LONG = ("index.md", "study.md", "start.md")
#: README's code is run in test_front_door.py.
RUN = [page for page in PAGES[1:] if any(block.run for block in blocks(page.read_text()))]


def named(page: Path) -> str:
    """Return a page's path in docs/, or that of README in the checkout."""
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def marked(page: Path) -> object:
    """Return a page as a parameter, marked where it downloads something or takes long."""
    network = any(block.network for block in blocks(page.read_text()))
    marks = [pytest.mark.packages] * network + [pytest.mark.exhaustive] * (named(page) in LONG)
    return pytest.param(page, id=named(page), marks=marks)


@pytest.mark.parametrize("page", [marked(page) for page in RUN])
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block runs after those before it, its assertions hold, and its output is the page's.

    The pictures of the first page are those that its code draws; the page shows each.
    """
    monkeypatch.chdir(tmp_path)
    run(str(page.relative_to(ROOT)), page.read_text(), tmp_path)
    if page == START:
        pictures = sorted(tmp_path.glob("*.png"))
        folder = START.with_suffix("")
        assert [one.name for one in pictures] == sorted(one.name for one in folder.iterdir())
        for picture in pictures:
            assert alike(small(picture), (folder / picture.name).read_bytes()), "run `make gallery`"
            assert f"(start/{picture.name})" in page.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "docs/notebooks").iterdir()), ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_minute_and_its_values_show_themselves(path: Path, tmp_path: Path) -> None:
    """Of a processor, without a warning. It is committed as nobody ran it, and installs nothing where `probe` is."""
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert execute(notebook, tmp_path) <= 60
    shown = [[output.output_type for output in cell.outputs] for cell in code]
    assert shown[0] == []
    # A plot displays itself, and all else is the result of its cell.
    assert all({"execute_result", "display_data"} & set(kinds) for kinds in shown[1:])


def test_no_code_of_a_page_is_left_out() -> None:
    """Each block of code is run, saved for another one, or says what runs it: readers cannot tell others apart.

    A fence that the site's builder gets has a language and at most a title; nothing else of a page changes.
    """
    for page in PAGES:
        text = page.read_text()
        assert undecided(text) == [], named(page)
        code = [line for block in blocks(text) if block.language != "text" for line in block.code.splitlines()]
        assert max(map(len, code), default=0) <= 96, named(page)
        for number, block in enumerate(blocks(text)):
            later = [other.code for other in blocks(text)[number + 1 :] if other.run or other.title]
            assert not block.title or any(block.title in code for code in later), f"nothing uses {block.title}"
            if block.elsewhere:
                file, _, word = block.elsewhere.partition(": ")
                assert word, f"{block.elsewhere!r} names no word of a file"
                assert word in (ROOT / file).read_text()
        built = hook().on_page_markdown(text.replace(hook().HELP, ""))
        fences = re.findall(r"^```(\w.*)$", built, flags=re.MULTILINE)
        assert all(re.fullmatch(r'\w+( title="[^"]+")?', fence) for fence in fences), named(page)
        assert len(built.splitlines()) == len(text.splitlines())


WRONG = [
    ("```python run\nprint(1)\n```\n\n```text printed\n2\n```\n", AssertionError),
    ("```python run\nprint(1)\n```\n", AssertionError),
    ("```python run\nassert 1 > 2\n```\n", AssertionError),
    ("```python run\nx = 1\n```\n\nand\n\n```text printed\n1\n```\n", ValueError),
    ("```python ran\nx = 1\n```\n", ValueError),
    ("```sh run\necho 1\n```\n\n```text printed\n2\n```\n", AssertionError),
    ("```sh run\nfalse\ntrue\n```\n", AssertionError),
]


def test_the_rule_would_notice(tmp_path: Path) -> None:
    """The control arm: wrong, hidden and missing output is found, and so is a claim that does not hold."""
    for text, error in WRONG:
        with pytest.raises(error):
            run("a page", text, tmp_path)
    assert undecided("```python\nx = 1\n```\n\n```text\nx\n```\n\n```sh\nls\n```\n") == [2, 10]


#: Rooms of the library whose modules the reference has all of, and those that have names of their own.
ROOMS = ("methods.abstraction", "methods.causal", "methods.decomposition", "methods.probing")
NAMED = ("", ".evidence", ".examples", ".explorer", ".hooks", ".plots", ".questions", ".recurrent", ".report")
#: Packages whose modules the reference has all of by itself.
WHOLE = {"probe.questions.answers", "probe.questions.interventions", "probe.questions.states"}


def test_the_reference_has_everything_that_is_public() -> None:
    """Each name of `probe` and of rooms that have names of their own, and each module of the rooms for questions."""
    pages = (page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    found = {name for text in pages for name in re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)}
    wanted = {f"probe{room}.{name}" for room in NAMED for name in importlib.import_module(f"probe{room}").__all__}
    for room in ROOMS:
        modules = pkgutil.iter_modules([str(ROOT / "probe" / room.replace(".", "/"))])
        wanted |= {f"probe.{room}.{module.name}" for module in modules} - {"probe.methods.probing.targets"}
    assert wanted | WHOLE <= found


def test_the_front_door_is_small_and_one_page_shows_it_all() -> None:
    """At most 30 names, each on the page with all of them, with a block of code that runs and shows it."""
    _, *entries = (ROOT / "docs/reference/names.md").read_text().split("\n::: ")
    shown = {entry.split()[0]: "".join(block.code for block in blocks(entry) if block.run) for entry in entries}
    assert len(probe.__all__) <= 30
    shown = {name: code.lower() for name, code in shown.items()}
    assert [one for one in probe.__all__ if not re.search(rf"\b{one.lower()}\b", shown.get(f"probe.{one}", ""))] == []


@cache
def hook() -> Any:
    """Return the names of the site builder's hook, which belongs to no package."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs/marks.py")))


ASKED = ["https://a.org/1.js", "//a.org/2.css", "https://a.org/3", "https://a.org/4.png", "https://a.org/5.css"]
ASKING = """<script src="https://a.org/1.js"></script> <link rel="stylesheet" href="//a.org/2.css">
<link href=https://a.org/3 rel=preconnect> a { background: url('https://a.org/4.png') } @import "https://a.org/5.css";
<a href="https://a.org">x</a><link rel="canonical" href="https://a.org/p">
<script src="x.js"></script><img src="data:image/png;base64,//8=">"""


def test_a_site_that_asks_another_host_is_refused(tmp_path: Path) -> None:
    """What a browser loads by itself is found in whatever folder, a link that a reader may follow is not."""
    assert hook().loaded(ASKING) == ASKED
    link, colab = "[a](notebooks/a.ipynb)", "https://colab.research.google.com/github/me/a/blob/main/docs"
    assert hook().in_colab(link, "https://github.com/OWNER/a") == link
    assert f"in Colab]({colab}/notebooks/a.ipynb)" in hook().in_colab(link, "https://github.com/me/a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/page.html").write_text("<img src=https://a.org/x.png>")
    with pytest.raises(ValueError, match=r"page\.html loads https://a\.org/x\.png"):
        hook().on_post_build({"site_dir": str(tmp_path)})


def test_what_is_cited_is_this_version_and_every_command_is_explained() -> None:
    """CITATION.cff; docs/commands.md names what `make help` and `rnn-probe` list and what `python -m` runs, no more.

    The control arm: without the mention of any of them, or with one more, that is seen.
    """
    assert f"\nversion: {probe.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]) == ["rnn-probe"]
    there = {f"make {one}" for one in re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.M)}
    there |= {f"rnn-probe {name}" for name in app if not name.startswith("-")} | {"python -m probe"}
    for file in [file for folder in PACKAGES for file in (ROOT / folder).rglob("*.py")]:
        if re.search("^if __name__", file.read_text(), flags=re.M):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            there.add(f"python -m {name.removesuffix('.__main__')}")
    page, named = (ROOT / "docs/commands.md").read_text(), r"`((?:make|rnn-probe|python -m) [a-z_.-]+)"
    assert set(re.findall(named, page)) == there
    assert all(set(re.findall(named, page.replace(f"`{one}", "`"))) != there for one in there)
    assert set(re.findall(named, page + "`make up`")) != there


#: Other processors round a value differently, and a line then stands a fraction of a pixel elsewhere.
SEEN, SHARE = 64, 0.01


def alike(one: bytes, other: bytes) -> bool:
    """Return whether two pictures are of one size and differ visibly in fewer than one of a hundred pixels."""
    first, second = (np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), dtype=int) for each in (one, other))
    return first.shape == second.shape and float((np.abs(first - second).max(axis=2) > SEEN).mean()) < SHARE


def rounded(html: str) -> str:
    """Return a text without its last digits."""
    return re.sub(r"(\d\.\d)\d+", r"\1", html)


@pytest.mark.parametrize("name", scripts())
def test_a_script_makes_the_committed_picture(name: str, tmp_path: Path) -> None:
    """In an empty folder; otherwise `make gallery` writes it again. None weighs over 40 kB, or lacks a dot."""
    picture = made(name, scripts()[name], tmp_path)
    drawn = painted.figures()
    assert len(drawn) == (picture.suffix == ".png" and not name.startswith("seaborn"))
    assert [fault for figure in drawn for fault in pictured.faults(figure, picture.read_bytes())] == []
    committed = (GALLERY / picture.name).read_bytes()
    assert len(committed) < 40_000
    if picture.suffix == ".png":
        assert alike(small(picture), committed), "run `make gallery`"
    else:
        assert rounded(picture.read_text()) == rounded(committed.decode()), "run `make gallery`"


def test_the_page_shows_every_picture_and_the_gallery_has_every_plot() -> None:
    """With what is seen on it in words; a script calls each public function of `probe.plots`."""
    pictures = re.findall(r"!\[[^\]]{20,}\]\(gallery/(\w+\.png)\)|src=\"gallery/(\w+\.html)\"", PAGE.read_text())
    assert sorted("".join(one) for one in pictures) == sorted(file.name for file in GALLERY.iterdir())
    assert len(pictures) == len(scripts())
    code = "\n".join(scripts().values())
    drawing = [name for name in plots.__all__ if name.islower() and name != "table"]
    assert [name for name in drawing if not re.search(rf"plots?\.{name}\(", code)] == []
