"""What follows from a planted network's answers at each length, computed over all strings."""

from __future__ import annotations

import numpy as np

from tests.repo.oracle_network import LENGTH, Plain, last_of, ones_of

#: Lengths of the drift, of the law that is fitted, and how many bits were read before the last five of ten.
AROUND, LAW, LATE = range(6, 15), (8, 9, 10), range(6, 11)


def asked(bits: int) -> np.ndarray:
    """Return which strings of so many bits have at most ten ones and ten zeros."""
    ones = ones_of(bits)
    return (ones <= LENGTH) & (bits - ones <= LENGTH)


def excess(net: Plain, bits: int) -> float:
    """Return g(L): the mean of expected answer less ones."""
    return float((net.shown[bits] - ones_of(bits))[asked(bits)].mean())


def slope(net: Plain, lengths: tuple[int, ...] | range) -> float:
    """Return d of g(L) = d (10 - L) by least squares."""
    away = np.array([LENGTH - bits for bits in lengths])
    return float(away @ [excess(net, bits) for bits in lengths] / (away @ away))


def drift(net: Plain) -> float:
    """Return the drift over 6 to 14 bits."""
    return slope(net, AROUND)


def least_explained(net: Plain) -> float:
    """Return the smallest share of the variance of y between numbers of ones, at 8, 9, 11 and 12 bits."""
    shares = []
    for bits in (8, 9, 11, 12):
        ones, y = ones_of(bits)[asked(bits)], net.shown[bits][asked(bits)]
        between = sum((ones == n).mean() * (y[ones == n].mean() - y.mean()) ** 2 for n in np.unique(ones))
        shares.append(between / y.var())
    return float(min(shares))


def law_r_squared(net: Plain) -> float:
    """Return R2 of y at 12 bits by n1 - 2 d, d of 8 to 10 bits."""
    ones, y = ones_of(12)[asked(12)], net.shown[12][asked(12)]
    return float(1 - ((y - ones + 2 * slope(net, LAW)) ** 2).mean() / y.var())


def law_answers(net: Plain) -> float:
    """Return the share of the answers at 12 bits that are a whole number nearest to n1 - 2 d."""
    ones, given = ones_of(12)[asked(12)], net.answers(net.at[12])[0][asked(12)]
    return float((np.abs(given - (ones - 2 * slope(net, LAW))) <= 0.5 + 1e-6).mean())


def changes(net: Plain, bits: int, read: int) -> np.ndarray:
    """Return by how much y changes on a bit, the last of so many, in each context."""
    return (net.shown[bits] - np.repeat(net.shown[bits - 1], 2))[last_of(bits) == read]


def largest_effect_sd(net: Plain) -> float:
    """Return the larger sd over contexts of the change of y, on a 0 or on a 1."""
    spreads = []
    for read in (0, 1):
        each = [changes(net, bits, read) for bits in LATE]
        middle = np.mean([one.mean() for one in each])
        spreads.append(np.sqrt(np.mean([((one - middle) ** 2).mean() for one in each])))
    return float(max(spreads))


def speed(net: Plain, read: int) -> float:
    """Return the mean absolute change of y on a bit."""
    return float(np.mean([np.abs(changes(net, bits, read)).mean() for bits in LATE]))


ORACLE = {
    "16": largest_effect_sd,
    "17a": lambda net: abs(drift(net)),
    "17b": lambda net: float(min(abs(drift(net) - one) for one in (0, 0.5, 1)) > 0.1),
    "17c": least_explained,
    "19": lambda net: speed(net, 0),
    "19b": lambda net: speed(net, 1),
    "20": law_r_squared,
    "20b": law_answers,
    "20c": lambda net: abs(excess(net, 12) + 2 * slope(net, LAW)),
}
