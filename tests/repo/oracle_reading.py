"""What can be read off a planted network's states: correlations, monotone maps, linear probes, shares of variance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from scipy.optimize import isotonic_regression

from tests.repo.oracle_answers import drift
from tests.repo.oracle_network import LENGTH, Plain, ones_of

#: How often states are split here, by another generator than the study's.
SPLITS, SEED = 4, 4711
STEPS = range(1, LENGTH + 1)


def parts_of(size: int, parts: int, split: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield which states are fitted and which are scored, for each part that is held out."""
    order = np.random.default_rng([SEED, split]).permutation(size)
    for held_out in np.array_split(order, parts):
        yield np.setdiff1d(order, held_out), held_out


def monotone(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the knots, the values and the error of the monotone map of x to y that fits best, rising or falling."""
    knots, place = np.unique(x, return_inverse=True)
    mass = np.bincount(place, weight)
    mean = np.bincount(place, weight * y) / mass
    fits = [isotonic_regression(mean, weights=mass, increasing=way).x for way in (True, False)]
    errors = [float(weight @ (fit[place] - y) ** 2) for fit in fits]
    best = int(np.argmin(errors))
    return knots, fits[best], errors[best]


def largest_correlation(net: Plain) -> float:
    """Return the largest |r| of a cell with the count, means of each step taken off."""
    counts = [ones_of(bits) - bits / 2 for bits in STEPS]
    cells = [net.cells(net.at[bits]) - net.cells(net.at[bits]).mean(0) for bits in STEPS]
    together = np.mean([n @ c / len(n) for n, c in zip(counts, cells, strict=True)], axis=0)
    own = np.mean([(c**2).mean(0) for c in cells], axis=0)
    size = np.sqrt(own * np.mean([(n**2).mean() for n in counts]))
    return float(np.abs(together[size > 1e-9] / size[size > 1e-9]).max())


def _read_exactly(cells: np.ndarray, counts: np.ndarray, weight: np.ndarray, parts: int) -> float:
    """Return how often the cell that fits best gives the count after rounding, on states that were held out."""
    right = []
    for split in range(SPLITS):
        for fitted, other in parts_of(len(counts), parts, split):
            maps = [monotone(cell[fitted], counts[fitted], weight[fitted]) for cell in cells.T]
            best = int(np.argmin([error for _, _, error in maps]))
            found = np.rint(np.interp(cells[other, best], *maps[best][:2])) == counts[other]
            right.append(np.average(found, weights=weight[other]))
    return float(np.mean(right))


def by_step(net: Plain) -> float:
    """Return how exactly one cell is read after 7 to 10 bits, each step by its own map."""
    read = [_read_exactly(net.cells(net.at[bits]), ones_of(bits), np.ones(2**bits), 2) for bits in STEPS[6:]]
    return float(np.mean(read))


def pooled(net: Plain, by_prefix: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return cells, counts, bits and weights of all states after 1 to 10 bits; each step weighs alike, or state."""
    cells = np.concatenate([net.cells(net.at[bits]) for bits in STEPS])
    counts, bits = (np.concatenate([make(one) for one in STEPS]) for make in (ones_of, lambda n: np.full(2**n, n)))
    return cells, counts, bits, np.full(len(bits), 1 / len(bits)) if by_prefix else 1 / (LENGTH * 2.0**bits)


def target(net: Plain, name: str, counts: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Return what a cell may hold: the ones, the zeros, or n1 + d (10 - t)."""
    return {"ones": counts, "zeros": bits - counts, "drift": counts + drift(net) * (LENGTH - bits)}[name]


@cache
def read(net: Plain, name: str, by_prefix: bool = False) -> np.ndarray:
    """Return for each cell how often one map for all steps comes within a half of the target, (unit,)."""
    cells, counts, bits, weight = pooled(net, by_prefix)
    wanted, found = target(net, name, counts, bits), np.zeros((SPLITS, 4, net.units))
    for split in range(SPLITS):
        for part, (fitted, other) in enumerate(parts_of(len(counts), 4, split)):
            for unit, cell in enumerate(cells.T):
                knots, values, _ = monotone(cell[fitted], wanted[fitted], weight[fitted])
                near = np.abs(np.interp(cell[other], knots, values) - wanted[other]) < 0.5
                found[split, part, unit] = np.average(near, weights=weight[other])
    return found.mean((0, 1))


def lasts(net: Plain, name: str, by_prefix: bool = False) -> np.ndarray:
    """Return for each cell how often the map of 1 to 10 bits holds at 11 and 12 bits, (unit,)."""
    cells, counts, bits, weight = pooled(net, by_prefix)
    wanted, found = target(net, name, counts, bits), np.zeros((2, net.units))
    weights = np.zeros(2)
    for row, more in enumerate((11, 12)):
        later = target(net, name, ones_of(more), np.full(2**more, more))
        inside = (later >= wanted.min() - 1e-9) & (later <= wanted.max() + 1e-9)
        for unit, cell in enumerate(cells.T):
            knots, values, _ = monotone(cell, wanted, weight)
            given = np.interp(net.cells(net.at[more])[:, unit], knots, values)
            found[row, unit] = (np.abs(given - later) < 0.5)[inside].mean()
        weights[row] = inside.sum() if by_prefix else 1
    return np.average(found, axis=0, weights=weights)


def best_read(net: Plain, by_prefix: bool = False) -> float:
    """Return how often the ones are read off the best cell."""
    return float(read(net, "ones", by_prefix).max())


def _held_out_r_squared(states: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return R2 of each target by least squares on halves, scored on the other halves, (target,)."""
    found = []
    for split in range(SPLITS):
        for fitted, other in parts_of(len(states), 2, split):
            design = np.column_stack([np.ones(len(states)), states])
            weight = np.linalg.lstsq(design[fitted], wanted[fitted])[0]
            missed = ((wanted[other] - design[other] @ weight) ** 2).mean(0)
            found.append(1 - missed / wanted[other].var(0))
    return np.mean(found, axis=0)


def last_r_squared(net: Plain) -> float:
    """Return the smaller R2 of the count after ten bits, read from c and from h."""
    counts = ones_of(LENGTH)[:, None]
    return float(min(_held_out_r_squared(part(net.at[LENGTH]), counts)[0] for part in (net.cells, net.hidden)))


def selectivity(net: Plain) -> float:
    """Return R2 of the count from h less the mean R2 of sums of the bits whose signs nearly cancel."""
    rng, signs = np.random.default_rng(SEED), []
    while len(signs) < 200:
        drawn = rng.choice([-1, 1], LENGTH)
        signs += [drawn] if abs(drawn.sum()) <= 2 else []
    bits = np.arange(2**LENGTH)[:, None] >> np.arange(LENGTH - 1, -1, -1) & 1
    wanted = np.column_stack([ones_of(LENGTH), bits @ np.transpose(signs)]).astype(float)
    found = _held_out_r_squared(net.hidden(net.at[LENGTH]), wanted)
    return float(found[0] - found[1:].mean())


def between_counts(net: Plain) -> float:
    """Return the share of the variance of h after ten bits that lies between counts."""
    hidden, counts = net.hidden(net.at[LENGTH]), ones_of(LENGTH)
    means = np.stack([hidden[counts == n].mean(0) for n in range(LENGTH + 1)])[counts.astype(int)]
    return float(means.var(0).sum() / hidden.var(0).sum())


ORACLE = {
    "1a": largest_correlation,
    "1b": by_step,
    "2": last_r_squared,
    "3": selectivity,
    "4": between_counts,
    "III.1c": best_read,
    "27h": best_read,
}
