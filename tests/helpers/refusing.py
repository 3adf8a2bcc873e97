"""Messages of errors stand in messages.txt, beside this file: each once, which --messages writes anew.

A test says that a call is refused, and no words. So a message is reworded by one command, and reviewed as one diff.
"""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import probe

FILE = Path(__file__).with_name("messages.txt")
#: What differs between machines and runs, and what stands for it: folders, addresses, numbers that were computed.
VARIES = {
    re.escape(str(FILE.parents[1])): "TESTS",
    re.escape(str(Path(probe.__file__).parents[1])): "ROOT",
    rf"{re.escape(tempfile.gettempdir())}/(pytest-of\S+?-\d+/|[^/]+/(?=test_|popen))?(popen-gw\d+/)?[\w.-]+": "PATH",
    r"\b([a-z_]+\.)+(?=test_\w+\.)": "",
    r"\b0x[0-9a-f]+\b|(?<=sha256 )[0-9a-f]{8}\b|\b[0-9a-f]{64}\b": "#",
    r"(?<![\w.])-?\d+(\.\d{3,}(e[+-]?\d+)?|(\.\d+)?e[+-]?\d+)\b": "#",
    r"\btest_\w+\.py, line \d+": "TEST",
    r"(?<=thread ')[^']+(?=')": "THREAD",
    r"\b[\d,]+(?= bytes\b)": "#",
    r"https://\S+/howto/recurrence\.html": "help(probe.register)",
    r"\n": r"\\n",
}


def plain(text: str, error: BaseException | None = None) -> str:
    """Return a message in one line, as it is on every machine: others have other words in other versions."""
    while error := error and (error.__cause__ or error.__context__):
        raised = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__)][-1:]
        words = str(error).partition("\n")[0]
        if len(words) > 10 and not "".join(raised).startswith("raise "):
            text = text.replace(str(error), "WORDS").replace(words, "WORDS")
    for pattern, name in VARIES.items():
        text = re.sub(pattern, name, text)
    if re.search(r"\(allowed: |\(by ", text):  # how far apart two computations are, and where
        text = re.sub(r"(?<![\w.[])\d+(\.\d+)?\b", "#", text)
    return text


def parsed(text: str) -> dict[str, list[str]]:
    """Return the messages of each test. Below a message stand, indented, the tests that hear it, and as which."""
    rows: dict[str, dict[int, str]] = {}
    message = ""
    for line in text.splitlines():
        if line.startswith("  "):
            number, _, test = line[2:].partition(" ")
            rows.setdefault(test, {})[int(number)] = message
        else:
            message = line
    return {test: [heard[number] for number in sorted(heard)] for test, heard in rows.items()}


def written(rows: dict[str, list[str]]) -> str:
    """Return the text of which `parsed` gives these rows."""
    places: dict[str, list[str]] = {}
    for test in sorted(rows):
        for number, message in enumerate(rows[test], 1):
            places.setdefault(message, [message]).append(f"  {number} {test}")
    return "".join(f"{line}\n" for message in sorted(places) for line in places[message])


@cache
def sources() -> str:
    """Return the code of all tests."""
    return "\n".join(file.read_text(encoding="utf-8") for file in FILE.parents[1].glob("*/test_*.py"))


class Messages:
    """The rows of the file, and what the tests of this run hear."""

    def __init__(self) -> None:
        self.rows = parsed(FILE.read_text(encoding="utf-8"))
        self.heard: dict[str, list[str]] = {}
        self.passed: set[str] = set()
        self.there: set[str] = set()
        self.config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep what the command line asks for."""
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep which tests there are, before some are left out."""
        self.there = {item.nodeid.partition("::")[2] for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep which tests went through: the others may not have heard all of their messages."""
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid.partition("::")[2])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what was heard, with --messages; rows of tests that are no longer there go."""
        if not session.config.getoption("messages") or not self.passed & self.there:
            return
        with FileLock(Path(tempfile.gettempdir()) / "messages-of-probe.lock"):
            rows = parsed(FILE.read_text(encoding="utf-8"))
            rows |= {test: self.heard.get(test, []) for test in self.passed & self.there}
            rows = {test: said for test, said in rows.items() if self.is_there(test, session.config.args)}
            FILE.write_text(written(rows), encoding="utf-8")

    def is_there(self, test: str, args: list[str]) -> bool:
        """Return whether a test was collected; of those that were not asked for, whether a file defines it."""
        name = test.partition("[")[0]
        asked = not any("::" in one for one in args) and any(name == one.partition("[")[0] for one in self.there)
        return test in self.there or (not asked and f"\ndef {name}(" in sources())

    def hear(self, text: str, error: BaseException | None = None) -> None:
        """Compare a text, which may be that of an error, with the next row of the test that runs.

        What is said several times in a row is one row.
        """
        __tracebackhide__ = True
        assert self.config is not None
        file, _, test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0].partition("::")
        heard = self.heard.setdefault(test, [])
        if heard[-1:] != [plain(text, error)]:
            heard.append(plain(text, error))
        row = dict(enumerate(self.rows.get(test, []), 1)).get(len(heard))
        if row != heard[-1] and not self.config.getoption("messages"):
            file = os.path.relpath(self.config.rootpath / file, self.config.invocation_params.dir)
            pytest.fail(
                f"Message {len(heard)} of {test} is another one than in {FILE.name}.\n  said: {heard[-1]}\n"
                f"  row:  {'(there is none)' if row is None else row}\n"
                f"If it is meant, write it with `python -m pytest {file} --messages`, and look at the diff."
            )


MESSAGES = Messages()
said = MESSAGES.hear


@contextmanager
def refused(kind: type[Exception] = probe.ProbeError) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error, and its message as it stands in the file."""
    __tracebackhide__ = True
    with pytest.raises(kind) as error:
        yield error
    said(str(error.value), error.value)


@contextmanager
def warned(kind: type[Warning] = UserWarning) -> Iterator[pytest.WarningsRecorder]:
    """Expect warnings, and their messages as they stand in the file."""
    __tracebackhide__ = True
    with pytest.warns(kind) as warnings:
        yield warnings
    for one in warnings:
        said(str(one.message))


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Bring --messages, once, however many conftest.py ask for it."""
    if not pluginmanager.hasplugin("messages"):
        pluginmanager.register(MESSAGES, "messages")
        parser.addoption("--messages", action="store_true", help=f"write the messages of tests into {FILE.name}")
