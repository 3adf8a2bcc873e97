"""Does a cell of the counter hold the count, if whoever reads it may do so in another way at each step?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS, PARTS, Cells, cells_of
from probe.evidence.measurements import measurement, tabulate
from probe.methods.probing.groups import by_sequence, folds
from probe.methods.probing.monotone import each_unit_read, each_unit_read_beside_a_clock
from probe.questions.question import Question
from probe.subjects.subject import Subject

NAME = "moving_zero"
READ = BOUNDS["read"]
#: At which numbers of bits a cell is read by a map of its own for each.
LATE = (7, 8, 9, 10)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how far one map reads n1 + g(t) off each cell of counters, g any function of the step.

    Metrics: `shifted_read` of each cell (`units`), the share of held-out prefixes of 1 to 10 bits that are read
    within a half, four folds drawn by the network's seed; `best_shifted_read`, the largest of a network;
    `best_stepwise_read`, the largest of the same share of a cell that is read by a map of its own after 7, 8, 9 and
    10 bits, their mean; `best_correlation`, the largest |r| of a cell with the ones, each number of bits of the same
    weight.
    """
    return tabulate(row for subject in subjects for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    cells, network = cells_of(subject)[0], subject.network
    split = _split(cells.bits, common.split_seed(network))
    ones = cells.ones.astype(float)
    read = each_unit_read_beside_a_clock(cells.values, ones, cells.bits, [split], cells.weight)
    for unit, value in enumerate(read.tolist()):
        yield measurement(NAME, "shifted_read", network, value, units=str(unit))
    yield measurement(NAME, "best_shifted_read", network, float(read.max()), units=str(int(read.argmax())))
    late = _by_step(cells, common.split_seed(network))
    yield measurement(NAME, "best_stepwise_read", network, float(late.max()), units=str(int(late.argmax())))
    size = np.abs(_correlations(cells))
    yield measurement(NAME, "best_correlation", network, float(size.max()), units=str(int(size.argmax())))


def _by_step(cells: Cells, seed: int) -> np.ndarray:
    """Return the mean share that each cell is read right by a map for each number of `LATE` bits, (unit,)."""
    found = []
    for bits in LATE:
        rows = np.flatnonzero(cells.bits == bits)
        ones, split = cells.ones[rows].astype(float), folds(len(rows), PARTS, seed=seed)
        found.append(each_unit_read(cells.values[rows], ones, [split], cells.weight[rows]))
    return np.mean(found, axis=0)


def _correlations(cells: Cells) -> np.ndarray:
    """Return the weighted correlation of each cell with the ones, (unit,); 0 where a cell does not vary."""
    covariance = np.cov(np.column_stack([cells.ones, cells.values]), rowvar=False, aweights=cells.weight)
    size = np.sqrt(np.diag(covariance))
    scale = size[0] * size[1:]
    return np.divide(covariance[0, 1:], scale, out=np.zeros_like(scale), where=scale > 1e-12)


def _split(bits: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return parts of the states: where one of them is held out the others have states of every length."""
    order = np.random.default_rng(seed).permutation(len(bits))
    fold = np.empty(len(bits), dtype=int)
    fold[order] = pd.Series(bits[order]).groupby(bits[order]).cumcount().to_numpy() % PARTS
    return by_sequence(fold)


QUESTION = Question(
    NAME,
    "Does a cell hold the count if its zero may move from step to step?",
    measure,
    version=3,
    roles=("trained", "own initialisation", "planted", "other"),
    text="A running count could have a zero that moves: the ones plus any function of the number of bits read. So we "
    "fit that function too. A reviewer asked for this after the networks had been measured, so it has no rule and no "
    "verdict.",
)
