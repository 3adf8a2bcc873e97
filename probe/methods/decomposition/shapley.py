"""Computes exact Shapley values from a table with a value for every subset.

A subset is a whole number: its bit u says whether player u belongs to it, so that a table's last axis has 2^n places,
the empty subset first and the whole set last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np
from jaxtyping import Bool, Float

from ...errors import ProbeError

#: The most players whose subsets are all run; each more doubles them.
MOST_PLAYERS = 16
#: Below this the whole difference is rounding, and shares of it would be any numbers.
NOTHING = 1e-9


def subsets(players: int) -> Bool[np.ndarray, "subset player"]:
    """Return which player belongs to which subset, (2^players, players), in a table's order.

    Raises:
        ProbeError: there is no player, or there are too many for all subsets to be run.
    """
    if not 1 <= players <= MOST_PLAYERS:
        raise ProbeError(
            f"{players} players have 2^{players} subsets; exact Shapley values are computed for 1 to {MOST_PLAYERS}. "
            "Put several units together as one player with groups=[[0, 1], [2, 3], ...]."
        )
    return (np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1


def shapley_values(table: Float[np.ndarray, "*lead subset"]) -> Float[np.ndarray, "*lead player"]:
    """Return the Shapley value of every player: what it adds to a subset, averaged over all orders of joining.

    phi_u = sum over S without u of |S|! (n - |S| - 1)! / n! (v(S + u) - v(S)). They sum to v(all) - v(none). The
    last axis of the table holds v of every subset, 2^n values in the order of `subsets`.

    Raises:
        ProbeError: the last axis does not have 2^n values with 1 <= n <= 16.

    Reference:
        Shapley 1953, A value for n-person games, section 3, the formula of the theorem.
    """
    table = np.asarray(table, float)
    size = table.shape[-1] if table.ndim else 0
    players = size.bit_length() - 1
    if size != 2 ** max(players, 0) or not 1 <= players <= MOST_PLAYERS:
        raise ProbeError(
            f"A table of {size} values is none of all subsets; it needs 2^n of them, n from 1 to {MOST_PLAYERS}."
        )
    # Of the other players' subsets, those of s members have the same weight.
    by_members = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    weight = by_members[subsets(players)[: size // 2].sum(1)]
    lead = table.shape[:-1]
    values = np.empty((*lead, players))
    for player in range(players):
        paired = table.reshape(*lead, -1, 2, 2**player)
        added = paired[..., 1, :] - paired[..., 0, :]
        values[..., player] = added.reshape(*lead, -1) @ weight
    return values


def participation(shares: Float[np.ndarray, " player"]) -> float:
    """Return how many players take part: 1 / sum of squared shares, n where n have equal ones.

    Negative shares make others exceed 1; then it may be below 1.

    Reference:
        Bell & Dean 1970, Atomic vibrations in vitreous silica (participation ratio); Laakso & Taagepera 1979,
        Effective number of parties, their N_2.
    """
    return float(1 / np.square(shares).sum())


@dataclass(frozen=True, eq=False)
class Shares:
    """How a difference `whole`, a mean over contexts, is shared: each player's share, (player,); they sum to 1."""

    values: Float[np.ndarray, " player"]
    whole: float

    @property
    def negative(self) -> float:
        """The negative shares' sum, as a positive number: what the others must make up for."""
        return float(np.maximum(-self.values, 0).sum())

    @property
    def participation(self) -> float:
        """As how many equal players they are spread, see the function `participation`."""
        return participation(self.values)


def pooled_shares(
    table: Float[np.ndarray, "context subset"], weight: Float[np.ndarray, " context"] | None = None
) -> Shares:
    """Return shares over several contexts: the sum of the Shapley values over the sum of the whole differences.

    A mean of each context's own shares would be ruled by the contexts in which next to nothing changes. Where the
    differences cancel (below 1e-9) the shares are NaN. Without weights all contexts count alike.
    """
    mean = np.average(table, axis=0, weights=weight)
    whole = float(mean[-1] - mean[0])
    values = shapley_values(mean)
    return Shares(values / whole if abs(whole) > NOTHING else np.full_like(values, np.nan), whole)
