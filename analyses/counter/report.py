"""What `rnn-probe report analyses/counter` runs: the pages of the counter's study, from its stored measurements."""

from __future__ import annotations

from pathlib import Path

from analyses.counter import QUESTIONS, answering
from reports.build_counter import write

FINDINGS, PAGE = "findings", "index.html"


def report(folder: Path, *, jobs: int) -> Path:
    """Answer every question, write the pages into a folder, and return the path of the first.

    Args:
        folder: where they go; the findings lie in `findings` beside them.
        jobs: how many processes answer at a time.

    Raises:
        ProbeError: networks or measurements are missing, damaged or stale, or the folder holds something else.
    """
    answering.answer(QUESTIONS, folder / FINDINGS, jobs)
    _ = write(folder / FINDINGS, folder)
    return folder / PAGE
