"""How many files of the library a call runs through: `record`, and the study of README.

    python -m benchmarks.ways [--files]

A file counts where one of its functions was called, or its module was imported, before the call returned.
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

    Args:
        **calls: the functions whose calls are followed.
    """

    def __init__(self, **calls: Callable[..., Any]) -> None:
        #: By the code of each function within what wraps it: its name, and how often it is wrapped.
        self._of = {code: (name, depth) for name, call in calls.items() for code, depth in [_inside(call)]}
        self.entered = {name: Counter[str]() for name in calls}
        #: The call under way, if any: its frame, and its name.
        self._under_way: list[tuple[FrameType, str]] = []

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
        if event != "call":
            return
        if frame.f_code in self._of and not self._under_way:
            name, depth = self._of[frame.f_code]
            wrappers = list(islice(_outward(frame.f_back), depth + 1))
            if not _file(wrappers[-1]):  # called from outside
                self._under_way.append((frame, name))
                self.entered[name].update(map(_file, wrappers[:-1]))
        file = _file(frame)
        if file and file != _file(frame.f_back):
            for _, name in self._under_way:
                self.entered[name][file] += 1


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


def ways_of_readme() -> dict[str, Counter[str]]:
    """Run the lines of README that study the counter, and return the files that each call ran through."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with Ways(record=probe.record, study=probe.Study.run) as ways:
                exec(compile(study_of_readme(), str(README), "exec"), {"torch": torch, "probe": probe})
        finally:
            os.chdir(before)
    return ways.entered


app = command("python -m benchmarks.ways")


@app.default
def main(*, files: bool = False) -> None:
    """Print how many files of the library `record` and README's study run through.

    Args:
        files: print the files too, and how often each was entered from another.
    """
    torch.set_num_threads(1)
    entered = ways_of_readme()
    emit(table(("call", "files"), ((name, str(len(each))) for name, each in entered.items())))
    for name, each in entered.items() if files else ():
        emit("\n".join([name, *(f"{count:10,}  {file}" for file, count in sorted(each.items()))]) + "\n")


if __name__ == "__main__":
    sys.exit(run(app))
