"""Exact Shapley shares in a planted network: of units, of the routes out of a state, of the gates that see a bit."""

from __future__ import annotations

from functools import cache
from math import factorial

import numpy as np

from tests.repo.oracle_network import CANDIDATE, HEADLINE, LENGTH, Plain, ones_of

#: Base and source differ in the fifth of seven bits: by so much in the index.
FLIPPED = 4


def members(players: int) -> np.ndarray:
    """Return which players are in each subset, (2 ** players, player)."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def shapley(values: np.ndarray) -> np.ndarray:
    """Return the Shapley value of each player, (..., player), of what every subset gives, (..., subset)."""
    players = values.shape[-1].bit_length() - 1
    inside, sizes = members(players), members(players).sum(1)
    found = []
    for player in range(players):
        without = np.flatnonzero(~inside[:, player])
        weight = [factorial(n) * factorial(players - n - 1) / factorial(players) for n in sizes[without]]
        found.append((values[..., without + (1 << player)] - values[..., without]) @ np.array(weight))
    return np.stack(found, axis=-1)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Return which strings of seven bits are bases, with a 0 as their fifth bit, and their sources, with a 1."""
    base = np.flatnonzero(~np.arange(2**HEADLINE) & FLIPPED)
    return base, base | FLIPPED


@cache
def of_units(net: Plain) -> np.ndarray:
    """Return the Shapley value of each unit in each of the 64 pairs, (pair, unit), mean over what follows.

    Units that nothing hears, and those whose states are the same in both, add nothing; the others' subsets are run.
    """
    states, found = net.at[HEADLINE], np.zeros((2 ** (HEADLINE - 1), net.units))
    for row, (base, source) in enumerate(zip(*pairs(), strict=True)):
        differ = states[base] != states[source]
        players = np.flatnonzero((net.cells(differ) | net.hidden(differ)) & net.heard)
        taken = np.zeros((2 ** len(players), net.units), dtype=bool)
        taken[:, players] = members(len(players))
        mixed = np.where(np.tile(taken, 2), states[source], states[base])
        y = net.ends(mixed, LENGTH - HEADLINE)[1]
        found[row, players] = shapley(y.reshape(len(mixed), -1).mean(1))
    return found


def unit_shares(net: Plain) -> np.ndarray:
    """Return the share of each unit in all pairs together, (unit,)."""
    return of_units(net).sum(0) / of_units(net).sum()


def largest_pair_share(net: Plain) -> float:
    """Return the largest share of a unit in a pair, the median over the pairs."""
    whole = of_units(net).sum(1)
    return float(np.median((of_units(net) / whole[:, None]).max(1)[np.abs(whole) >= 0.1]))


def relay_index(net: Plain) -> float:
    """Return as how many equal units all pairs together use, over the harmonic mean of that of a pair."""
    sizes = np.abs(of_units(net))
    spread = [(size.sum() ** 2) / (size**2).sum() for size in (sizes.sum(0), *sizes)]
    return float(spread[0] * (sizes.sum(1) / spread[1:]).sum() / sizes.sum())


def route_shares(net: Plain) -> np.ndarray:
    """Return the shares of the routes out of the state after seven bits: h into i, f, g and o, and c by f * c."""
    base, source = (np.repeat(net.at[HEADLINE][rows], 2, axis=0) for rows in pairs())
    bits = np.tile([0.0, 1.0], len(base) // 2)
    own, given = (net.gates(net.hidden(states), bits) for states in (base, source))
    values = []
    for subset in members(5):
        gates = np.where(subset[:4, None, None], given, own)
        cells = net.cells(source if subset[4] else base)
        y = net.ends(net.close(cells, gates), LENGTH - HEADLINE - 1)[1]
        values.append(y.mean())
    found = shapley(np.array(values))
    return found / found.sum()


def gate_shares(net: Plain) -> np.ndarray:
    """Return the shares of i, f, g and o in what one changed bit does, over bits 2 to 10 and all contexts."""
    found = np.zeros(4)
    for bit in range(1, LENGTH):
        states = net.at[bit]
        own, given = (net.gates(net.hidden(states), np.full(len(states), read)) for read in (0.0, 1.0))
        values = []
        for subset in members(4):
            gates = np.where(subset[:, None, None], given, own)
            values.append(net.ends(net.close(net.cells(states), gates), LENGTH - 1 - bit)[1].mean())
        found += shapley(np.array(values))
    return found / found.sum()


def constant_gates_accuracy(net: Plain) -> float:
    """Return the accuracy where i, f and o are their mean over all strings, unit by unit and step by step."""
    states = np.zeros((2**LENGTH, 2 * net.units))
    for bit in range(LENGTH):
        before = net.at[bit]
        mean = np.mean([net.gates(net.hidden(before), np.full(len(before), bit)) for bit in (0.0, 1.0)], axis=(0, 2))
        bits = (np.arange(2**LENGTH) >> (LENGTH - 1 - bit) & 1).astype(float)
        gates = np.repeat(mean[:, None], len(states), axis=1)
        gates[CANDIDATE] = net.gates(net.hidden(states), bits)[CANDIDATE]
        states = net.close(net.cells(states), gates)
    return float((net.answers(states)[0] == ones_of(LENGTH)).mean())


ORACLE = {
    "1d": lambda net: float(unit_shares(net).max()),
    "5c": lambda net: float(-np.minimum(unit_shares(net), 0).sum()),
    "7a": lambda net: float(route_shares(net)[4]),
    "15a": lambda net: float(gate_shares(net)[0]),
    "15b": lambda net: float(gate_shares(net)[2]),
    "15c": constant_gates_accuracy,
    "25a": relay_index,
    "25b": largest_pair_share,
    "25c": relay_index,
}
