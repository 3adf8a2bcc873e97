"""What `rnn-probe report analyses/flipflop` runs: the page of the flip-flop's study."""

from __future__ import annotations

from pathlib import Path

from analyses.flipflop import page


def report(folder: Path, *, jobs: int) -> Path:
    """Write the page into a folder, and return its path.

    Args:
        folder: where it goes.
        jobs: how many cells are measured at a time, where measurements are missing.
    """
    return page.write(folder, jobs=jobs)
