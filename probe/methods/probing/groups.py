"""Groups of sequences that belong together, such as those of one speaker: a probe is scored on other groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import ProbeError, check_has_numbers, several

#: The fewest folds that a probe can be given.
LEAST_FOLDS = 3
_WANTS = "one value for each sequence, (batch,), such as its speaker"


def group_codes(given: Any, batch: int) -> np.ndarray | None:
    """Return the number of each sequence's group, (sequence,), in the order in which groups first occur.

    Args:
        given: a value for each sequence, such as its speaker; None where each sequence stands for itself.
        batch: how many sequences there are.

    Raises:
        ProbeError: there is not one value for each sequence, one is missing, or all are the same.
    """
    if given is None:
        return None
    check_has_numbers(given, "groups")
    plain = given.detach().cpu() if isinstance(given, Tensor) else given
    values = [plain] if isinstance(plain, str) or not hasattr(plain, "__iter__") else _listed(plain)
    shape = getattr(plain, "shape", (len(values),))
    if isinstance(plain, str) or not hasattr(plain, "__iter__"):
        raise ProbeError(f"groups is one {type(given).__name__}; it needs {_WANTS}.")
    if tuple(shape) != (batch,):
        raise ProbeError(f"groups has the shape {tuple(shape)}; it needs {_WANTS}: ({batch},).")
    numbers = dict[Any, int]()
    for row, value in enumerate(values):
        if _is_missing(value):
            raise ProbeError(
                f"groups says {value!r} of sequence {row}; it needs {_WANTS}. A sequence that belongs to no "
                "other gets a value of its own."
            )
        try:
            numbers.setdefault(value, len(numbers))
        except TypeError as error:
            raise ProbeError(
                f"groups holds a {type(value).__name__} for sequence {row}; it needs {_WANTS}: a text or a number."
            ) from error
    if len(numbers) == 1:
        raise ProbeError(
            f"groups says {values[0]!r} of every sequence, so that no group can be held out. Give groups that "
            "differ, or leave groups out: then each sequence stands for itself."
        )
    return np.array([numbers[value] for value in values])


def _listed(given: Any) -> list[Any]:
    return given.tolist() if hasattr(given, "tolist") else list(given)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def check_folds(count: int, folds: int, *, what: str) -> None:
    """Raise where there are fewer groups than folds.

    Args:
        count: how many groups there are.
        folds: into how many parts they are cut.
        what: what there are so few groups of, in words.
    """
    if count < folds:
        fewer = f"; probe.linear_probe takes folds={count} as well" if count >= LEAST_FOLDS else ""
        raise ProbeError(
            f"{what} in {several(count, 'group')}, and whole groups lie in one of {folds} folds. Give sequences of "
            f"at least {folds} groups{fewer}."
        )


def folds_of(
    sequence: np.ndarray, groups: np.ndarray | None, parts: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each state, (state,), and its fold: a sequence is a group where no groups were given.

    Args:
        sequence: the sequence of each state, (state,).
        groups: the group of each sequence, (sequence,), or None.
        parts: how many folds there are.
        rng: what draws the folds.
    """
    if groups is None:
        there, place = np.unique(sequence, return_inverse=True)
        return sequence, (rng.permutation(len(there)) % parts)[place]
    group = np.unique(groups[sequence], return_inverse=True)[1]
    return group, group_folds(group, parts, rng)


def group_folds(group: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each state, (state,), where whole groups lie in one fold and folds are about equally large.

    The largest group comes first, each into the fold that has fewest states so far.

    Args:
        group: the group of each state, (state,).
        parts: how many folds there are.
        rng: what draws the order of groups of one size.

    Reference:
        scikit-learn's `GroupKFold`, which takes equally large groups in the order of their names.
    """
    _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    fold, filled = np.empty(len(sizes), dtype=int), np.zeros(parts)
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        fold[number] = np.argmin(filled)
        filled[fold[number]] += sizes[number]
    return fold[place]
