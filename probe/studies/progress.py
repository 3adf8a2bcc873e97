"""Shows on stderr how far long work is: a bar in a terminal or a notebook, and a line a question in a log."""

from __future__ import annotations

import contextlib
import html
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import ProbeError
from ..subjects.concepts import brief

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Progress:
    """How far a run of a study is.

    Attributes:
        question: the name of the question, such as `reading-depth`; while several networks are measured, the
            network's name; at last the path of the page.
        number: its number, from 1.
        of: how many there are.
        state: `started`, `answered`, `not asked` (the page says why), or `kept` (an earlier run of the same study has
            measured it); of the page `writing`, of each question then, and at last of the page, `written`.
        seconds: how long that took, where it is done.
    """

    question: str
    number: int
    of: int
    state: str
    seconds: float = 0.0


Report = Callable[[Progress], None]
#: What `progress=` may be: `auto`, a function that is called, or nothing.
Progressing: TypeAlias = "Callable[[Progress], None] | Literal['auto', False] | None"
#: Letters of a line in a log, at most.
WIDTH = 120


@contextmanager
def shown(progress: Progressing = "auto") -> Iterator[Callable[[Progress], None]]:
    """Give a function that is told how far work is, and shows it as `progress` says, see `Study.run`.

    Raises:
        ProbeError: `progress` is something else.
    """
    if callable(progress):
        yield progress
    elif progress is None or progress is False or (progress == "auto" and sys.stderr is None):
        yield lambda _: None
    elif progress != "auto":
        raise ProbeError(
            f"progress is {brief(progress)}; give 'auto' for a bar or lines on stderr, a function of a Progress, or "
            "None for silence."
        )
    else:
        console = _console()
        if console.is_jupyter:
            yield _in_a_notebook()
        elif sys.stderr.isatty() and not console.is_dumb_terminal:
            with _bar(console) as tell:
                yield tell
        else:
            yield _lines()


def _console() -> Console:
    """Return a console on stderr; rich draws a number when it is imported, which moves no generator here."""
    state = random.getstate()
    from rich.console import Console

    random.setstate(state)
    return Console(stderr=True)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # What others print to stdout stands above the bar where both are this terminal, and else stays as it is.
    beside = sys.stdout is not None and sys.stdout.isatty()
    with Bars(*columns, console=console, redirect_stdout=beside) as bars:
        task = bars.add_task("preparing", total=None)
        yield lambda one: bars.update(task, description=_said(one), completed=_done(one), total=one.of)


def _in_a_notebook() -> Callable[[Progress], None]:
    """Return what redraws one bar below a cell."""
    from IPython.display import display

    start, place = time.monotonic(), list[Any]()

    def tell(one: Progress) -> None:
        text = f"{_done(one)}/{one.of}, {time.monotonic() - start:.0f} s: {_said(one)}"
        bar = f'<progress value="{_done(one)}" max="{one.of}"></progress> {html.escape(text)}'
        drawn = {"text/plain": text, "text/html": bar}
        if place:
            place[0].update(drawn, raw=True)
        else:
            place.append(display(drawn, raw=True, display_id=True))

    return tell


def _lines() -> Callable[[Progress], None]:
    """Return what writes one line of each question, with its time, as soon as it is answered."""
    seen = set[str]()

    def tell(one: Progress) -> None:
        if one.state == "started" or one.question in seen:
            return
        if one.state != "writing":
            seen.add(one.question)
        took = f"{one.seconds:.1f} s" if one.state in ("answered", "written") else one.state
        line = f"{one.number:>{len(str(one.of))}} of {one.of}  {took:>9}  {one.question}"
        with contextlib.suppress(OSError, ValueError):  # nobody listens: the work goes on
            sys.stderr.write((line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}...") + "\n")
            sys.stderr.flush()

    return tell


def _said(one: Progress) -> str:
    """Return what is done, in so few letters that a bar has room beside it."""
    shortened = f"...{one.question[-30:]}" if len(one.question) > 33 else one.question
    return f"{shortened}: {one.state}"


def _done(one: Progress) -> int:
    return one.number - (one.state == "started")
