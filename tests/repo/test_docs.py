"""The code of the pages in docs/ runs as it stands there, and prints what they say that it prints.

A block is run if its fence says ```` ```python run ````; the blocks of a page share one namespace, in order. What a
block prints is compared with the block ```` ```text printed ```` that follows it, as doctest would: `...` in the page
stands for anything. A block that prints and shows nothing fails too.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repo.packages_files import G2P, read

ROOT = Path(__file__).resolve().parents[2]
#: A fenced block: its indentation, its language and marks, its content.
FENCE = re.compile(r"^```(\w*)([^\n`]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python run" in page.read_text())
#: What a page reads beside it, out of a package that is downloaded: package, and path in its wheel.
NEEDED = {"foreign-network.md": (G2P, "g2p_en/checkpoint20.npz")}


@dataclass(frozen=True)
class Block:
    """A block of a page that is run.

    Attributes:
        line: the line of the page on which its code begins.
        code: what is run.
        printed: what the page says that it prints.
    """

    line: int
    code: str
    printed: str


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that are run, in order.

    Raises:
        ValueError: the page shows what a block printed without a block that is run right before it.
    """
    found: list[Block] = []
    end = -1
    for fence in FENCE.finditer(text):
        language, marks, content = fence.groups()
        line = text[: fence.start(3)].count("\n") + 1
        if (language, marks.split()) == ("python", ["run"]):
            found.append(Block(line, content, ""))
            end = fence.end()
        elif (language, marks.split()) == ("text", ["printed"]):
            if end < 0 or text[end : fence.start()].strip():
                raise ValueError(f"line {line}: no block that is run stands right before what is printed")
            found[-1] = Block(found[-1].line, found[-1].code, content)
            end = -1
    return found


def run(page: str, text: str) -> None:
    """Run a page's blocks in one namespace and compare what they print.

    Raises:
        AssertionError: a block printed something else than the page shows.
    """
    names: dict = {"__name__": "page"}
    for block in blocks(text):
        printed = io.StringIO()
        # Empty lines before the code, so that an error names the page's own line.
        code = compile("\n" * (block.line - 1) + block.code, page, "exec", dont_inherit=True)
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        example = doctest.Example(block.code, block.printed, lineno=block.line)
        checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
        same = checker.check_output(example.want, printed.getvalue(), flags)
        assert same, f"{page}:{block.line}\n" + checker.output_difference(example, printed.getvalue(), flags)


def marked(page: Path) -> object:
    """Return a page as a parameter, marked where it needs a package."""
    return pytest.param(page, id=page.name, marks=[pytest.mark.packages] * (page.name in NEEDED))


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block runs after those before it, its assertions hold, and its output is the page's."""
    text = page.read_text()
    if page.name in NEEDED:
        package, path = NEEDED[page.name]
        (tmp_path / Path(path).name).write_bytes(read(package, path))
    monkeypatch.chdir(tmp_path)
    run(f"docs/{page.name}", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_that_runs_shows_no_code_that_does_not(page: Path) -> None:
    """On such a page each block of Python is marked to be run: a reader cannot tell the others apart."""
    languages = [fence.group(1) for fence in FENCE.finditer(page.read_text())]
    assert languages.count("python") == len(blocks(page.read_text())) > 0


def test_the_pages_that_run_are_found() -> None:
    """The list that the tests above go through is not empty."""
    assert {page.name for page in PAGES} >= {"coming-from.md", "fused-hooks.md"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python run\nprint(1)\n```\n\n```text printed\n2\n```\n", AssertionError),
        ("```python run\nprint(1)\n```\n", AssertionError),
        ("```python run\nx = 1\n```\n\n```text printed\n1\n```\n", AssertionError),
        ("```python run\nassert 1 > 2\n```\n", AssertionError),
        ("```python run\nx = 1\n```\n\nand\n\n```text printed\n1\n```\n", ValueError),
        ("```python run\nx = 1\n```\n\n```python run\nprint(y)\n```\n", NameError),
    ],
)
def test_the_rule_would_notice(text: str, error: type[Exception]) -> None:
    """The control arm: wrong, hidden and missing output is found, and so is a claim that does not hold."""
    with pytest.raises(error):
        run("a page", text)


def test_what_is_right_passes() -> None:
    """Blocks share a namespace, other fences are left alone, and dots stand for what differs between machines."""
    text = "```python run\nx = 1.25\n```\n\n```sh\nexit 1\n```\n\n```python run\nprint(x, 'a')\n```\n"
    text += "\n```text printed\n1... a\n```\n"
    run("a page", text)
    assert [block.line for block in blocks(text)] == [2, 10]
