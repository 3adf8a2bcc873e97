"""Finds sequences that are nearly copies of one another, although a probe takes them for independent ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

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
