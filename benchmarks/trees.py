"""One tree of this repository in a process of its own, which does tasks when it is asked to.

The process imports `probe` from the tree's folder, and the tasks from the tree that this file stands in. It reads
questions from stdin and answers each one with a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from .peers.environments import ONE_THREAD, ROOT

#: What a tree's process runs: this file's `serve`, whatever folder it is started in.
CODE = "import sys; sys.path[0] = {root!r}; from benchmarks.trees import serve; serve({folder!r})"


class TreeError(Exception):
    """A tree failed in a task, or two trees do not agree."""


class Tree:
    """A tree as the parent sees it.

    Args:
        name: what it is called in messages.
        folder: where its `probe` is.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        code = CODE.format(root=str(ROOT), folder=str(folder))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, **question: Any) -> Any:
        """Return the answer to a question, which is what a method of `Worker` is called with.

        Raises:
            TreeError: the tree failed; with its own words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"its process ended with {self._process.wait()}"}
        if "error" in answer:
            raise TreeError(f"{self.name}: {answer['error']}")
        return answer["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)


class Worker:
    """What a tree's own process can do; holds one task at a time."""

    def __init__(self) -> None:
        self._tasks = import_module("benchmarks.tasks")
        self._harness = import_module("benchmarks.peers.harness")
        self._torch = import_module("torch")
        self._torch.set_num_threads(1)
        self._call: Any = None
        self._often = 1

    def make(self, group: str, name: str, results: str) -> None:
        """Make a task, do it once, and keep its results in a file."""
        self._call = None
        self._call = self._tasks.GROUPS[group][name]().call
        self._torch.save(self._call(), results)

    def differ(self, results: str) -> float | str:
        """Return the largest difference from another tree's results, or in words how their shapes differ."""
        torch = self._torch
        found, wanted = self._call(), torch.load(results)
        shapes = [tuple(value.shape) for value in found], [tuple(value.shape) for value in wanted]
        if shapes[0] != shapes[1]:
            return f"shapes {shapes[0]} and {shapes[1]}"
        if any(not torch.equal(a.isnan(), b.isnan()) for a, b in zip(found, wanted, strict=True)):
            return "NaN at different places"
        return max(float((a - b).nan_to_num().abs().max()) for a, b in zip(found, wanted, strict=True))

    def warm(self) -> float:
        """Choose how many calls a slice has, and return its CPU seconds."""
        self._often = self._harness.repeats_of(self._call)
        return self._often * self.time()

    def time(self) -> float:
        """Return the CPU seconds of one call in a slice of calls; short ones come after one that is not timed."""
        if self._often > 1:
            self._call()
        return self._harness.seconds(self._call, self._often)


def imported(folder: Path) -> None:
    """Import `probe` from a folder, and let everything else come from the tree of this file.

    Raises:
        ImportError: `probe` came from elsewhere.
    """
    sys.path[0] = str(folder)
    found = import_module("probe").__file__
    if found is None or not Path(found).is_relative_to(folder):
        raise ImportError(f"probe comes from {found} instead of {folder}.")
    sys.path[0] = str(ROOT)


def serve(folder: str) -> None:
    """Answer questions about the tree of a folder until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not stand between answers
    worker = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if worker is None:
                imported(Path(folder).resolve())
                worker = Worker()
            with import_module("torch").no_grad():
                answer = {"answer": getattr(worker, question.pop("do"))(**question)}
        except Exception as error:  # noqa: BLE001 - what a task raises is the parent's to tell
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
