"""The warning that a network's answers are mostly wrong, so that what follows its states says little."""

from __future__ import annotations

import numpy as np

from ...intervals import share_interval


def mostly_wrong(right: int, count: int, frequent: float) -> str:
    """Return a warning if answers are right clearly less often than the most frequent one would be; else nothing."""
    _, high = share_interval(right, count) or (0.0, 1.0)
    if high >= frequent:
        return ""
    return (
        f"The answers are mostly wrong ({right / count:.1%} right, the most frequent answer {frequent:.1%}); check "
        "the order of the scores (answers=), and whose head it is."
    )


def wrong_in(answers: np.ndarray, right: np.ndarray) -> str:
    """Return the warning of `mostly_wrong` for answers and the right answers, (sequence,) each."""
    return mostly_wrong(int(np.isclose(answers, right).sum()), len(right), frequent_share(right))


def frequent_share(right: np.ndarray) -> float:
    """Return the share of sequences whose right answer is the most frequent one."""
    return float(np.unique(right, return_counts=True)[1].max() / len(right))
