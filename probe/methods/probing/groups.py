"""Which sequences a probe is scored on: those of other groups than it was fitted on, such as those of other speakers.

Sequences that are nearly copies of one another are found, too: a probe takes them for independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ProbeError, check_has_numbers, several

#: The fewest distinct states that half can be held out of: fewer than some five a weight of a probe on the 24
#: numbers of a 12-unit state, and a held-out score says more about the split than about the network.
LEAST_STATES = 128
#: The fewest folds that a probe can be given.
LEAST_FOLDS = 3
_WANTS = "one value for each sequence, (batch,), such as its speaker"
#: What is said of such sequences, after their number.
NEARLY_EQUAL = (
    "sequences are nearly equal to one of another fold. A probe was then fitted on copies of what it is scored on, "
    "and reads any value that these share, be it noise. If they are copies or noisy trials of one sequence, say "
    "which belong together: groups=, a value for each sequence; whole groups lie in one fold."
)
#: Sequences are near copies up to these distances, in shares of the distance between two others.
NEAR = (1e-2, 1e-3, 1e-4, 1e-5)
#: Copies lie apart from all else: within so many times the distance there are fewer than twice as many.
FURTHER = 10
#: So many of the sequences at least must have a near copy, as a share and as a number: two may be close by chance.
LEAST_SHARE, LEAST_NUMBER = 0.05, 3
#: Distances are measured along so many random directions, and among so many sequences.
DIRECTIONS, MOST = 8, 10_000


def folds(size: int, parts: int, *, seed: int = 0, groups: np.ndarray | None = None) -> list[np.ndarray]:
    """Return one seeded permutation of `size` points cut into parts, for scoring each on a fit of the others.

    The points must be distinct states (`probe.methods.probing.prefixes`): a state that stands in two parts is scored
    on its own training example. Where each has a group, (point,), whole groups are in one part.
    """
    if groups is not None:
        return by_sequence(group_folds(groups, parts, np.random.default_rng(seed)))
    return np.array_split(np.random.default_rng(seed).permutation(size), parts)


def by_sequence(fold: np.ndarray) -> list[np.ndarray]:
    """Return the states of each part where all states of a sequence are in the same one.

    Args:
        fold: the part of each state, (state,).
    """
    return [np.flatnonzero(fold == number) for number in np.unique(fold)]


def training_rows(parts: list[np.ndarray], held_out: int) -> np.ndarray:
    """Return the points of all parts but one."""
    return np.concatenate([part for number, part in enumerate(parts) if number != held_out])


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


def near_copies(
    blocks: Sequence[Float[np.ndarray, "sequence number"]], part: np.ndarray
) -> Bool[np.ndarray, " sequence"]:
    """Return which sequences have a near copy in another part; none where sequences merely lie densely.

    Densely sampled sequences, such as those of one number each, have close neighbours too, but ever more of them as
    the distance grows. Around copies there is a gap. Distances are those along a few random directions, in which
    neighbours are found without comparing all pairs.

    Args:
        blocks: what makes a sequence, such as its inputs and its initial state; each counts in its own unit.
        part: the part of each sequence, (sequence,).

    Reference:
        Grassberger & Procaccia 1983, Measuring the strangeness of strange attractors: how the number of close pairs
        grows with the distance. Johnson & Lindenstrauss 1984: distances along random directions.
    """
    rng = np.random.default_rng(0)
    found = np.zeros(len(part), dtype=bool)
    rows = np.sort(rng.permutation(len(part))[:MOST])
    scaled = [block[rows] / size for block in blocks if (size := _usual_distance(block[rows], rng)) > 0]
    if not scaled:
        return found
    values = np.concatenate(scaled, axis=1)
    along = rng.normal(size=(values.shape[1], DIRECTIONS)) / np.sqrt(DIRECTIONS)
    points, own = values @ along, np.unique(part[rows], return_inverse=True)[1]
    for near in NEAR:
        close = _in_other_parts(points, own, near)
        if np.count_nonzero(close) < max(LEAST_SHARE * len(rows), LEAST_NUMBER):
            break  # at a smaller distance there are fewer
        if _in_other_parts(points, own, FURTHER * near).sum() < 2 * close.sum():
            found[rows] = close > 0
            break
    return found


def _usual_distance(block: np.ndarray, rng: np.random.Generator) -> float:
    """Return the distance that nine of ten pairs of sequences lie within; that of most is 0 where most are copies."""
    orders = [rng.permutation(len(block)) for _ in range(4)]
    return float(np.quantile([np.linalg.norm(block - block[order], axis=1) for order in orders], 0.9))


def _in_other_parts(points: np.ndarray, part: np.ndarray, distance: float) -> np.ndarray:
    """Return how many points of other parts lie within a distance of each, (point,)."""
    from scipy.spatial import KDTree

    found = KDTree(points).query_ball_point(points, distance, return_length=True)
    sizes = np.bincount(part)
    for number in np.flatnonzero(sizes > 1):
        own = np.flatnonzero(part == number)
        found[own] -= KDTree(points[own]).query_ball_point(points[own], distance, return_length=True)
    alone = sizes[part] == 1
    found[alone] -= 1
    return found
