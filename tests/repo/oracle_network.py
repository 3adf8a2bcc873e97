"""A planted network in plain numpy, written from the LSTM's equations and not from the toolkit."""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np

from models import planted

#: The length of the strings, and after how many bits states are compared.
LENGTH, HEADLINE = 10, 7
INPUT, FORGET, CANDIDATE, OUTPUT = range(4)


@cache
def ones_of(bits: int) -> np.ndarray:
    """Return how many ones each string of so many bits has, (2 ** bits,); the first bit counts most in the index."""
    return np.array([index.bit_count() for index in range(2**bits)], dtype=float)


def last_of(bits: int) -> np.ndarray:
    """Return the last bit of each string of so many bits, (2 ** bits,)."""
    return np.arange(2**bits) % 2


class Plain:
    """A planted network's weights, and what follows from them.

    A state is (c, h) side by side, so that states are (row, 2 x unit).

    Args:
        name: a key of `planted.battery`.
    """

    def __init__(self, name: str) -> None:
        weights = {key: value.double().numpy() for key, value in planted.battery()[name].state_dict().items()}
        self.name, units = name, weights["lstm.weight_ih_l0"].shape[0] // 4
        self.units = units
        self.x = weights["lstm.weight_ih_l0"].reshape(4, units)
        self.u = weights["lstm.weight_hh_l0"].reshape(4, units, units)
        self.bias = (weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]).reshape(4, units)
        self.head, self.offset = weights["head.weight"], weights["head.bias"]

    def cells(self, states: np.ndarray) -> np.ndarray:
        """Return c of states."""
        return states[..., : self.units]

    def hidden(self, states: np.ndarray) -> np.ndarray:
        """Return h of states."""
        return states[..., self.units :]

    def gates(self, hidden: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Return i, f, g and o, (4, row, unit), where each row reads a bit."""
        before = self.bias[:, None] + bits[None, :, None] * self.x[:, None] + hidden @ self.u.transpose(0, 2, 1)
        with np.errstate(over="ignore"):
            return np.stack([np.tanh(x) if k == CANDIDATE else 1 / (1 + np.exp(-x)) for k, x in enumerate(before)])

    def close(self, cells: np.ndarray, gates: np.ndarray) -> np.ndarray:
        """Return the states that follow from cells and what the gates are."""
        cells = gates[FORGET] * cells + gates[INPUT] * gates[CANDIDATE]
        return np.concatenate([cells, gates[OUTPUT] * np.tanh(cells)], axis=1)

    def step(self, states: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Return the states after one more bit in each row."""
        return self.close(self.cells(states), self.gates(self.hidden(states), bits))

    def onward(self, states: np.ndarray, bits: int) -> np.ndarray:
        """Return the states after every string of so many bits more, row by row, in the order of `ones_of`."""
        for _ in range(bits):
            states = self.step(np.repeat(states, 2, axis=0), np.tile([0.0, 1.0], len(states)))
        return states

    def answers(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the answer of the highest score, and the expected answer."""
        scores = self.hidden(states) @ self.head.T + self.offset
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return scores.argmax(1), chances @ np.arange(scores.shape[1])

    @cached_property
    def at(self) -> list[np.ndarray]:
        """The states after 0 to 14 bits of every string, (2 ** bits, 2 x unit) each."""
        found = [np.zeros((1, 2 * self.units))]
        for _ in range(LENGTH + 4):
            found.append(self.onward(found[-1], 1))
        return found

    @cached_property
    def shown(self) -> list[np.ndarray]:
        """The expected answers after 0 to 14 bits."""
        return [self.answers(states)[1] for states in self.at]

    @cached_property
    def heard(self) -> np.ndarray:
        """Which units the answer can depend on: those that the head reads, and those that these hear, (unit,)."""
        found = (self.head != 0).any(0)
        for _ in range(self.units):
            found = found | (self.u[:, found] != 0).any((0, 1))
        return found

    @cached_property
    def audible(self) -> Plain:
        """The network without the units that the answer cannot depend on."""
        own, found = self.heard, Plain.__new__(Plain)
        found.name, found.units, found.x, found.bias = self.name, int(own.sum()), self.x[:, own], self.bias[:, own]
        found.u, found.head, found.offset = self.u[:, own][:, :, own], self.head[:, own], self.offset
        return found

    def ends(self, states: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `answers` after every string of so many bits more, row by row, by the units that are heard alone."""
        return self.audible.answers(self.audible.onward(states[:, np.tile(self.heard, 2)], bits))

    def unit(self, unit: int) -> list[int]:
        """Return where a unit's c and h stand in a state."""
        return [unit, self.units + unit]
