"""Splits states into those that a probe is fitted on and those that it is scored on."""

from __future__ import annotations

import numpy as np

from .groups import group_folds

#: The fewest distinct states that half can be held out of: fewer than some five a weight of a probe on the 24
#: numbers of a 12-unit state, and a held-out score says more about the split than about the network.
LEAST_STATES = 128


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
