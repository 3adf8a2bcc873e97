"""Exact Shapley shares of each pair of prefixes that differ in one input, computed once for all that ask for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from ...methods.decomposition.contexts import Contexts
from ...methods.decomposition.shapley import Shares, pooled_shares, shapley_values
from ...methods.decomposition.units import unit_table
from ...subjects.ends import machine_of
from ...subjects.pairs import InputPairs
from ...subjects.subject import Subject, per_subject


@dataclass(frozen=True, eq=False)
class PairShares:
    """What each unit contributes to the difference between a base and a source, for each pair of their prefixes.

    `pooled` is over all pairs. Of each pair: the Shapley values `added`, in the answer's own numbers; their sum
    `whole`, the mean over what follows; its `weight` in pairs of sequences; and a `base` row that begins so.
    """

    pooled: Shares
    added: Float[np.ndarray, "pair unit"]
    whole: Float[np.ndarray, " pair"]
    weight: Float[np.ndarray, " pair"]
    base: Int64[np.ndarray, " pair"]


@per_subject
def pair_shares(subject: Subject, pairs: InputPairs) -> PairShares:
    """Return the exact shares of the units in each pair of prefixes, found again by the object that the pairs are.

    Reference:
        Shapley 1953, A value for n-person games.
    """
    machine = machine_of(subject)
    table, weight = unit_table(machine, pairs.pairs, pairs.step)
    base = Contexts(machine, pairs.pairs, source_step=pairs.step, step=pairs.step).base.numpy()
    added, whole = shapley_values(table), table[:, -1] - table[:, 0]
    return PairShares(pooled_shares(table, weight), added, whole, weight, base)
