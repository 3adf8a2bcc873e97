"""How many files of the library a call runs through: `record`, and the study of README.

    python -m benchmarks.ways [--files]

A file counts where one of its functions was called before the call returned. Files that were only imported meanwhile,
as what a question needs that was not asked, are counted apart.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

import probe
from probe.command_line.shell import command, emit, run

from .speed import table

ROOT = Path(__file__).resolve().parents[1]
HOUSE = str(ROOT / "probe") + os.sep
README = ROOT / "README.md"


class Ways:
    """Notes through which files of the library calls run.

    Attributes:
        entered: for each call, by its name, how often each file was entered from another.
        imported: for each call, which files were imported before it returned.

    Args:
        **calls: the functions whose calls are followed.
    """

    def __init__(self, **calls: Callable[..., Any]) -> None:
        #: By the code of each function within what wraps it: its name, and how often it is wrapped.
        self._of = {code: (name, depth) for name, call in calls.items() for code, depth in [_inside(call)]}
        self.entered = {name: Counter[str]() for name in calls}
        self.imported = {name: set[str]() for name in calls}
        #: The call under way, if any: its frame, and its name; and the modules that are being imported.
        self._under_way: list[tuple[FrameType, str]] = []
        self._importing: list[FrameType] = []

    def __enter__(self) -> Ways:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and self._under_way and self._under_way[-1][0] is frame:
            _ = self._under_way.pop()
        if event == "return" and self._importing and self._importing[-1] is frame:
            _ = self._importing.pop()
        if event != "call":
            return
        if frame.f_code in self._of and not self._under_way:
            name, depth = self._of[frame.f_code]
            wrappers = list(islice(_outward(frame.f_back), depth + 1))
            if not _file(wrappers[-1]):  # called from outside
                self._under_way.append((frame, name))
                self.entered[name].update(map(_file, wrappers[:-1]))
        file = _file(frame)
        if file and frame.f_code.co_name == "<module>":
            self._importing.append(frame)
            for _, name in self._under_way:
                self.imported[name].add(file)
        elif file and not self._importing and file != _file(frame.f_back):
            for _, name in self._under_way:
                self.entered[name][file] += 1

    def only_imported(self, name: str) -> set[str]:
        """Return the files that were imported before a call returned, and of which nothing ran."""
        return self.imported[name] - self.entered[name].keys()


def _outward(frame: FrameType | None) -> Iterator[FrameType | None]:
    """Yield a frame and those that called it, and nothing else at the end."""
    while frame is not None:
        yield frame
        frame = frame.f_back
    yield None


def _file(frame: FrameType | None) -> str:
    """Return the file of the library that a frame runs, or nothing where it runs another."""
    name = "" if frame is None else frame.f_code.co_filename
    return name.removeprefix(HOUSE) if name.startswith(HOUSE) else ""


def _inside(call: Any) -> tuple[CodeType, int]:
    """Return the code of a function without what wraps it, and how often it is wrapped."""
    depth = 0
    while hasattr(call, "__wrapped__"):
        call, depth = call.__wrapped__, depth + 1
    return call.__code__, depth


def study_of_readme() -> str:
    """Return the lines of README that study the counter."""
    blocks = re.findall(r"^```python run\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if "probe.Study(" in block)
    return found


def ways_of_readme() -> Ways:
    """Run the lines of README that study the counter, and return through which files each call ran."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with Ways(record=probe.record, study=probe.Study.run) as ways:
                exec(compile(study_of_readme(), str(README), "exec"), {"torch": torch, "probe": probe})
        finally:
            os.chdir(before)
    return ways


app = command("python -m benchmarks.ways")


@app.default
def main(*, files: bool = False) -> None:
    """Print how many files of the library `record` and README's study run through.

    Args:
        files: print the files too, and how often each was entered from another.
    """
    torch.set_num_threads(1)
    ways = ways_of_readme()
    rows = ((name, str(len(each)), str(len(ways.only_imported(name)))) for name, each in ways.entered.items())
    emit(table(("call", "files", "only imported"), rows))
    for name, each in ways.entered.items() if files else ():
        listed = [*(f"{count:10,}  {file}" for file, count in sorted(each.items()))]
        listed += [f"{'imported':>10}  {file}" for file in sorted(ways.only_imported(name))]
        emit("\n".join([name, *listed]) + "\n")


if __name__ == "__main__":
    sys.exit(run(app))
