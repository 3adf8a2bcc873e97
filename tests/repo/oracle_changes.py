"""What a planted network answers when its state is changed: exchanged, replaced by means, erased, disturbed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from tests.repo.oracle_network import HEADLINE, LENGTH, Plain, ones_of
from tests.repo.oracle_reading import SEED, lasts, parts_of, read
from tests.repo.oracle_shares import unit_shares

#: How many bits follow the headline step, how often states or noise are drawn, on how many pairs of halves is erased,
#: and by how many orders of the labels.
AFTER, DRAWS, HALVES, ORDERS = LENGTH - HEADLINE, 8, 8, 12
Erased = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[np.ndarray, np.ndarray, np.random.Generator], Erased]
SUFFIXES, PREFIXES = ones_of(AFTER), ones_of(HEADLINE)


def patched_score(net: Plain, mixed: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Return the interchange score of all pairs of strings of seven bits that differ in the count.

    With nothing put in no answer is the target, and with the whole state every answer is.

    Args:
        net: the network.
        mixed: what stands in the run, of the bases' states and the sources'.
    """
    base, source = np.divmod(np.arange(len(PREFIXES) ** 2), len(PREFIXES))
    changed = PREFIXES[base] != PREFIXES[source]
    base, source = base[changed], source[changed]
    given = net.ends(mixed(net.at[HEADLINE][base], net.at[HEADLINE][source]), AFTER)[0]
    return float((given.reshape(len(base), -1) == PREFIXES[source][:, None] + SUFFIXES).mean())


def score_along(net: Plain, directions: np.ndarray) -> float:
    """Return the score where the source's part along directions is put in, (number,) or (number, direction)."""
    q = np.linalg.qr(directions.reshape(2 * net.units, -1))[0]
    return patched_score(net, lambda base, source: base + (source - base) @ q @ q.T)


def score_of_unit(net: Plain, unit: int) -> float:
    """Return the score where a unit's c and h are put in."""
    own = np.isin(np.arange(2 * net.units), net.unit(unit))
    return patched_score(net, lambda base, source: np.where(own, source, base))


def least_squares(net: Plain) -> np.ndarray:
    """Return the least-squares weight of the count, (number,), from what float32 can tell of the states."""
    states = net.at[HEADLINE] - net.at[HEADLINE].mean(0)
    left, size, right = np.linalg.svd(states, full_matrices=False)
    told = size > np.finfo(np.float32).eps * np.abs(net.at[HEADLINE]).max() * np.sqrt(states.size)
    return right[told].T @ ((left[:, told].T @ (PREFIXES - PREFIXES.mean())) / size[told])


def reading_directions(net: Plain) -> np.ndarray:
    """Return two directions that carry the count, (number, 2): what the head reads, in c and in h.

    The delay line keeps nothing in c, and moves on what it holds in h: there it is least squares, in c and in h.
    """
    read = net.head[1] - net.head[0]
    if net.name.startswith("delay-line"):
        cells, hidden = net.cells(least_squares(net)), net.hidden(least_squares(net))
    else:
        cells = hidden = read / np.linalg.norm(read)
    return np.stack([np.r_[cells, 0 * cells], np.r_[0 * hidden, hidden]], 1)


def class_mean_ratio(net: Plain) -> float:
    """Return the worst accuracy over 1 to 9 bits where states are the mean of their count, the two ends left out."""
    worst = 1.0
    for bits in range(2, LENGTH):
        states, counts = net.at[bits], ones_of(bits)
        inner = np.flatnonzero((counts > 0) & (counts < bits))
        means = np.stack([states[counts == n].mean(0) for n in range(bits + 1)])[counts.astype(int)]
        given = net.ends(means[inner], LENGTH - bits)[0].reshape(len(inner), -1)
        worst = min(worst, float((given == counts[inner, None] + ones_of(LENGTH - bits)).mean()))
    return worst


def steered(net: Plain) -> float:
    """Return how often the answer is the target where a state moves to the class mean of one count more or less."""
    states, hits = net.at[HEADLINE], []
    means = np.stack([states[n == PREFIXES].mean(0) for n in range(HEADLINE + 1)])
    for change in (-1, 1):
        rows = np.flatnonzero((PREFIXES + change >= 0) & (PREFIXES + change <= HEADLINE))
        counts = PREFIXES[rows].astype(int)
        moved = states[rows] + means[counts + change] - means[counts]
        given = net.ends(moved, AFTER)[0].reshape(len(rows), -1)
        hits.append((given == counts[:, None] + change + SUFFIXES).ravel())
    return float(np.concatenate(hits).mean())


def _bits(place: int) -> np.ndarray:
    """Return a bit of every string of ten, each string as often as it is drawn."""
    return np.repeat((np.arange(2**LENGTH) >> (LENGTH - 1 - place) & 1).astype(float), DRAWS)


def noisy_accuracy(net: Plain) -> float:
    """Return the accuracy with noise of .1 sd in every number after every step, by draws of its own."""
    rng, states = np.random.default_rng(SEED), np.zeros((DRAWS * 2**LENGTH, 2 * net.units))
    for place in range(LENGTH):
        states = net.step(states, _bits(place))
        states += 0.1 * net.at[place + 1].std(0) * rng.standard_normal(states.shape)
    return float((net.answers(states)[0] == np.repeat(ones_of(LENGTH), DRAWS)).mean())


def kept_alone(net: Plain, unit: int | None) -> float:
    """Return the accuracy where all units but one, or all, have the state of another string after every bit."""
    heard, near = np.tile(net.heard, 2), net.audible
    rng, states = np.random.default_rng(SEED), np.zeros((DRAWS * 2**LENGTH, 2 * near.units))
    own = np.isin(np.arange(2 * net.units), [] if unit is None else net.unit(unit))[heard]
    for place in range(LENGTH):
        states = near.step(states, _bits(place))
        size = 2 ** (place + 1)
        prefix = np.repeat(np.arange(2**LENGTH) >> (LENGTH - 1 - place), DRAWS)
        other = (prefix + rng.integers(1, size, len(prefix))) % size
        states = np.where(own, states, net.at[place + 1][:, heard][other])
    return float((near.answers(states)[0] == np.repeat(ones_of(LENGTH), DRAWS)).mean())


@cache
def alone(net: Plain) -> np.ndarray:
    """Return what each unit keeps alone of the way from none to all, (unit,); what nothing hears keeps nothing."""
    none, found = kept_alone(net, None), np.zeros(net.units)
    for unit in np.flatnonzero(net.heard):
        found[unit] = (kept_alone(net, int(unit)) - none) / (1 - none)
    return found


def on_class_means(net: Plain) -> float:
    """Return the accuracy where every state becomes the nearest class mean of its step, in units of each sd."""
    states = np.zeros((2**LENGTH, 2 * net.units))
    for place in range(LENGTH):
        states = net.step(states, (np.arange(2**LENGTH) >> (LENGTH - 1 - place) & 1).astype(float))
        every, counts = net.at[place + 1], ones_of(place + 1)
        means = np.stack([every[counts == n].mean(0) for n in range(place + 2)])
        varies = every.std(0) > 1e-9
        far = ((states[:, None] - means)[:, :, varies] / every.std(0)[varies]) ** 2
        states = means[far.sum(2).argmin(1)]
    return float((net.answers(states)[0] == ones_of(LENGTH)).mean())


def leace(states: np.ndarray, labels: np.ndarray) -> Erased:
    """Return the eraser of labels: x - S (S' C+ S)+ S' C+ (x - mean), S = Cov(x, one-hot), C = Cov(x).

    Reference:
        Belrose et al. 2023, LEACE, section 4: the oblique projection of least change.
    """
    centre, columns = states.mean(0), labels[:, None] == np.unique(labels)
    columns = columns - columns.mean(0)
    together = (states - centre).T @ columns / len(states)
    inverse = np.linalg.pinv((states - centre).T @ (states - centre) / len(states), rcond=1e-14, hermitian=True)
    inner = np.linalg.pinv(together.T @ inverse @ together, rcond=1e-9, hermitian=True)
    away = together @ inner @ together.T @ inverse
    return lambda x: x - (x - centre) @ away.T


def erased(net: Plain, *, shuffled: bool) -> np.ndarray:
    """Return by how much the accuracy after erasing is above the floor, 0 below it, for each pair of halves.

    Args:
        net: the network.
        shuffled: whether the labels are those of other states; the mean over several orders.
    """

    def made(states: np.ndarray, labels: np.ndarray, order: np.random.Generator) -> Erased:
        return leace(states, order.permutation(labels) if shuffled else labels)

    return _above_the_floor(net, made, orders=ORDERS if shuffled else 1)


def projected(net: Plain) -> np.ndarray:
    """Return the same where the mean is put in along what the head reads, in c and in h, or else least squares."""
    q = np.linalg.qr(reading_directions(net))[0]

    def made(states: np.ndarray, labels: np.ndarray, order: np.random.Generator) -> Erased:
        return lambda x: x - (x - states.mean(0)) @ q @ q.T

    return _above_the_floor(net, made)


def _above_the_floor(net: Plain, made: Maker, orders: int = 1) -> np.ndarray:
    """Return the accuracy above that of the best constant answer given what follows, C(7, 3) / 128, by halves."""
    floor, found = (PREFIXES == 3).mean(), []
    for split in range(HALVES):
        hits, order = [], np.random.default_rng([SEED, split])
        for fitted, other in parts_of(len(PREFIXES), 2, split):
            for _ in range(orders):
                changed = made(net.at[HEADLINE][fitted], PREFIXES[fitted], order)(net.at[HEADLINE][other])
                given = net.ends(changed, AFTER)[0].reshape(len(other), -1)
                hits.append((given == PREFIXES[other][:, None] + SUFFIXES).mean())
        found.append(max(float(np.mean(hits) - floor), 0.0))
    return np.array(found)


def all_tests(net: Plain, name: str, by_prefix: bool = False) -> float:
    """Return whether one cell passes the five tests of a running count."""
    passed = (read(net, name, by_prefix) >= 0.9) & (lasts(net, name, by_prefix) >= 0.9)
    passed &= (unit_shares(net) >= 0.5) & (alone(net) >= 0.5)
    return float(any(score_of_unit(net, int(unit)) >= 0.5 for unit in np.flatnonzero(passed)))


ORACLE = {
    "5": class_mean_ratio,
    "5b": noisy_accuracy,
    "8": lambda net: score_along(net, least_squares(net)),
    "9": lambda net: score_along(net, reading_directions(net)),
    "12a": lambda net: float(erased(net, shuffled=False).mean()),
    "12b": lambda net: float(erased(net, shuffled=True).mean()),
    "12c": lambda net: float(projected(net).mean()),
    "13": steered,
    "14": lambda net: float(alone(net).max()),
    "18": on_class_means,
    "27e": partial(all_tests, name="ones"),
    "27f": partial(all_tests, name="zeros"),
    "27g": partial(all_tests, name="drift"),
}
