"""Exact shares of a state difference among the units that hold it.

All subsets of the units are taken from the source, the rest from the base, and the run goes on: no unit is looked at
alone, and none in the company of all others only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...recurrent.signals import as_indices, within
from ..machines import Machine
from .contexts import Contexts, RowPairs
from .shapley import subsets


def unit_table(
    machine: Machine,
    pairs: RowPairs,
    step: int,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    members: Bool[np.ndarray, "subset player"] | None = None,
) -> tuple[Float[np.ndarray, "context subset"], Float[np.ndarray, " context"]]:
    """Return the expected answer with every subset of the units taken from the source, mean over what follows.

    A unit is all its numbers: for an LSTM the pair (c_u, h_u). With `members` only these subsets are taken.

    Returns:
        The table, and how many pairs have the two prefixes of each context.

    Raises:
        ProbeError: there are more than 16 players, a unit does not exist, or it belongs to two of them.
    """
    if members is None:
        members = subsets(machine.dynamics.units if groups is None else len(groups))
    taken = torch.zeros(machine.dynamics.size, len(members), dtype=torch.bool)
    for player, units in enumerate(players_of(machine, groups)):
        for unit in units:
            taken[machine.dynamics.unit(unit)] = torch.as_tensor(members[:, player])
    contexts = Contexts(machine, pairs, source_step=step, step=step)
    bases, sources = (machine.clean.states[rows, step].T.contiguous() for rows in (contexts.base, contexts.source))

    def put(part: slice, chosen: slice) -> Tensor:
        mask = taken[:, None, chosen]
        return torch.where(mask, sources[:, part, None], bases[:, part, None])

    return contexts.table(put, len(members)), contexts.weight


def players_of(machine: Machine, groups: Sequence[Sequence[int]] | None = None) -> list[list[int]]:
    """Return the units of each player, by default one each; units of none stay the base's.

    Raises:
        ProbeError: a unit does not exist, or it belongs to two players.
    """
    if groups is None:
        return [[unit] for unit in range(machine.dynamics.units)]
    flat = as_indices("groups", [unit for group in groups for unit in group])
    found = iter(within("groups", flat, machine.dynamics.units, "the layer's units"))
    return [[next(found) for _ in group] for group in groups]
