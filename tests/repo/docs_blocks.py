"""The fenced blocks of the pages in docs/: which are run, which are files that are saved, and what they print.

What the fence says after its language decides, and the site's builder takes it off (docs/marks.py):

- ```` ```python run ````: run; all of a page share one namespace, in order;
- ```` ```sh run ````: run by sh in the page's folder, with `python`, `pip` and `rnn-probe` of this interpreter;
- ```` ```sh run network ````: the same, and it downloads, so that the whole page is a test marked `packages`;
- ```` ```python title="words.py" ````, in any language: saved in the page's folder, and used by a later block;
- ```` ```text printed ````: what the block right before it prints; `...` stands for anything, as in doctest;
- ```` ```sh elsewhere=".ci/run: clean_room" ````: not run here, but by that file of the checkout, at that word.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: A fenced block: its language and marks, its content.
FENCE = re.compile(r"^```(\w*)([^\n`]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
VALUE = re.compile(r' (title|elsewhere)="([^"\n]*)"')
#: What a reader could run or save: such a block says what becomes of it. All others are text to look at.
CODE = ("python", "py", "pycon", "sh", "bash", "shell", "console", "toml", "yaml", "json")
RUN = ("python", "sh")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line on which its content begins, the content, its marks, and what the page says of it."""

    line: int
    language: str
    code: str
    run: bool = False
    network: bool = False
    title: str = ""
    elsewhere: str = ""
    printed: str = ""


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page in order, without those that show what another one prints.

    Raises:
        ValueError: no block that is run stands right before what is printed, or a mark means nothing.
    """
    found: list[Block] = []
    end = -1
    for fence in FENCE.finditer(text):
        language, marks, content = fence.groups()
        line = text[: fence.start(3)].count("\n") + 1
        values, words = dict(VALUE.findall(marks)), VALUE.sub("", marks).split()
        if (language, words) == ("text", ["printed"]):
            if end < 0 or text[end : fence.start()].strip():
                raise ValueError(f"line {line}: no block that is run stands right before what is printed")
            found[-1] = replace(found[-1], printed=content)
            end = -1
            continue
        if words not in ([], ["run"], ["run", "network"]) or (words and language not in RUN):
            raise ValueError(f"line {line}: {language} {' '.join(words)} means nothing")
        found.append(Block(line, language, content, bool(words), "network" in words, **values))
        end = fence.end() if words else -1
    return found


def undecided(text: str) -> list[int]:
    """Return the lines of the blocks of code that are neither run nor saved nor run elsewhere."""
    code = [block for block in blocks(text) if block.language in CODE]
    return [block.line for block in code if not (block.run or block.title or block.elsewhere)]


def shell(code: str, folder: Path) -> str:
    """Run the lines of a shell block, where this interpreter's programs come first, and return what they print.

    Raises:
        AssertionError: one of them failed; the message has what it wrote to stderr.
    """
    # A warning of another program is its own affair: pytest's filters are not set in it.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONWARNINGS", "PYTHONHOME")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    programs = str(Path(sys.executable).parent) + os.pathsep + kept.get("PATH", "")
    given: dict[str, Any] = {
        "env": kept | {"PATH": programs, "PYTHONPATH": path, "NO_COLOR": "1"},
        "cwd": folder,
        "stdin": subprocess.DEVNULL,
    }
    done = subprocess.run(
        ["sh", "-eu", "-c", code], **given, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{code}failed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def run(page: str, text: str, folder: Path) -> dict[str, Any]:
    """Run a page's blocks in a folder, which must be the current one; return the names that they leave.

    Raises:
        AssertionError: a block printed something else than the page shows, or a shell block failed.
    """
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(text):
        if block.title:
            (folder / block.title).write_text(block.code)
        if not block.run:
            continue
        if block.language == "sh":
            printed = shell(block.code, folder)
        else:
            caught = io.StringIO()
            # Empty lines before the code, so that an error names the page's own line.
            code = compile("\n" * (block.line - 1) + block.code, page, "exec", dont_inherit=True)
            with contextlib.redirect_stdout(caught):
                exec(code, names)
            printed = caught.getvalue()
        example = doctest.Example(block.code, block.printed, lineno=block.line)
        checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
        same = checker.check_output(example.want, printed, flags)
        assert same, f"{page}:{block.line}\n" + checker.output_difference(example, printed, flags)
    return names
