"""Estimates Shapley shares of many units: from random orders in which the units join, and not from all subsets.

The Shapley value of a unit is what it adds on joining, averaged over all orders. Nobody can run all orders of 17
units; a few hundred random ones give every unit's share with an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import CHUNK, Machine
from .contexts import RowPairs
from .shapley import NOTHING, participation
from .units import players_of


@dataclass(frozen=True, eq=False)
class SampledShares:
    """Estimated shares.

    Attributes:
        values: each player's share, (player,); they sum to 1.
        low, high: the ends of its 95 % interval, (player,).
        whole: the difference that is shared, the mean over the pairs that were drawn.
        orders: in how many orders the players joined.
        negative: the negative shares' sum, as a positive number.
        participation: 1 / sum of squared shares.
    """

    values: Float[np.ndarray, " player"]
    low: Float[np.ndarray, " player"]
    high: Float[np.ndarray, " player"]
    whole: float
    orders: int
    negative: float
    participation: float


def sampled_shares(
    machine: Machine,
    pairs: RowPairs,
    step: int,
    *,
    draws: int,
    groups: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
) -> SampledShares:
    """Return shares over pairs, as `pooled_shares` defines them, from random orders of joining.

    A draw is a random pair and a random order: the units are taken from the source one after the other, and what the
    expected answer gains is the unit's. Each order is also run backwards (antithetic), which averages out part of the
    chance. The share is the sum of the gains over the sum of the whole differences; its interval is that of a ratio
    of two means, by Student's t. Gains of a draw sum to its whole difference, so that the shares sum to 1.

    Squared and clipped shares of noisy numbers are too large on average. So `participation` and `negative` take the
    sign or one factor from one half of the draws, and the number from the other half.

    Args:
        machine: the model.
        pairs: rows of the clean run, bases and their sources.
        step: after which step the units are put in.
        draws: how many pairs and orders are drawn, at least 4; the orders run are twice as many.
        groups: the units of each player; None makes every unit one.
        seed: of the drawing.

    Raises:
        ProbeError: there are fewer draws, no player, a unit does not exist, or it belongs to two players.

    Reference:
        Castro, Gomez & Tejada 2009, Polynomial calculation of the Shapley value based on sampling, section 3 (random
        orders); Mitchell et al. 2022, Sampling permutations for Shapley value estimation, section 4 (backwards too);
        Cochran 1977, Sampling Techniques, section 6.4 (the interval of a ratio).
    """
    players = players_of(machine, groups)
    if draws < 4 or not players:
        raise ProbeError(
            f"draws={draws} of {len(players)} players was asked for; give at least 4 draws and one player."
        )
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, len(pairs[0]), draws)
    rank = generator.permuted(np.tile(np.arange(len(players)), (draws, 1)), axis=1)
    owner = torch.full((machine.dynamics.size,), len(players))
    for player, units in enumerate(players):
        for unit in units:
            owner[machine.dynamics.unit(unit)] = player
    together = max(1, CHUNK // (2 * len(players)))
    base, source = (torch.as_tensor(np.asarray(one)[rows]) for one in pairs)
    pieces = [slice(start, start + together) for start in range(0, draws, together)]
    gains = np.concatenate([_gains(machine, (base[p], source[p]), step, owner, rank[p]) for p in pieces])
    return _of_gains(gains)


@torch.no_grad()
def _gains(
    machine: Machine, pairs: tuple[Tensor, Tensor], step: int, owner: Tensor, rank: Int64[np.ndarray, "draw player"]
) -> Float[np.ndarray, "draw player"]:
    """Return what each player adds on joining, the mean of an order and of the same backwards."""
    players = rank.shape[1]
    members = _members(rank)
    none = np.zeros((*members.shape[:2], 1), dtype=bool)
    taken = torch.as_tensor(np.concatenate([members, none], axis=2))[:, :, owner]
    base, source = (machine.clean.states[rows, step] for rows in pairs)
    states = torch.where(taken, source[:, None], base[:, None]).flatten(0, 1)
    going_on = pairs[0].repeat_interleave(members.shape[1])
    value = machine.answers(states, going_on, step).expected.numpy().reshape(len(rank), -1)
    forward = value[:, : players + 1]
    backward = np.concatenate([value[:, :1], value[:, players + 1 :], value[:, players : players + 1]], axis=1)
    gained = np.take_along_axis(np.diff(forward, axis=1), rank, axis=1)
    return (gained + np.take_along_axis(np.diff(backward, axis=1), players - 1 - rank, axis=1)) / 2


def _members(rank: Int64[np.ndarray, "draw player"]) -> Bool[np.ndarray, "draw subset player"]:
    """Return who has joined: after 0 to all players in the order, and after 1 to all but one of it backwards."""
    players = rank.shape[1]
    after, back = np.arange(players + 1)[:, None], np.arange(1, players)[:, None]
    return np.concatenate([rank[:, None] < after, rank[:, None] >= players - back], axis=1)


def _of_gains(gains: Float[np.ndarray, "draw player"]) -> SampledShares:
    from scipy.stats import t

    wholes, draws = gains.sum(1), len(gains)
    whole, halves = float(wholes.mean()), (gains[::2], gains[1::2])
    if any(abs(part.sum(1).mean()) <= NOTHING for part in (gains, *halves)):
        unknown = np.full(gains.shape[1], np.nan)
        return SampledShares(unknown, unknown, unknown, whole, 2 * draws, np.nan, np.nan)
    values = gains.mean(0) / whole
    error = (gains - values * wholes[:, None]).std(0, ddof=1) / np.sqrt(draws) / abs(whole)
    reach = float(t.ppf(0.975, draws - 1)) * error
    first, second = (part.mean(0) / part.sum(1).mean() for part in halves)
    negative = -(second[first < 0].sum() + first[second < 0].sum()) / 2
    squares = float(first @ second)
    return SampledShares(
        values,
        values - reach,
        values + reach,
        whole,
        2 * draws,
        max(float(negative), 0.0),
        1 / squares if squares > 0 else participation(values),
    )
