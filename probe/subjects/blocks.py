"""Inputs in blocks, one for each state of a network that has fewer states than inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import ProbeError
from ..methods.abstraction.programs import as_tuples
from .concepts import Known

#: So many states are told one by one.
SHOWN = 8


@dataclass(frozen=True)
class Blocks:
    """Which inputs a state stands for, where a network has other states than inputs.

    A layer that halves the time axis, as a convolution of stride 2 does, makes one state of each two inputs. A state
    stands for the inputs after those of the state before, up to the last one that it reads.

    Attributes:
        ends: the last input that each state reads, ascending.
        time: how many inputs there are; those after the last end belong to the last state, which reads none of them.
        features: how many numbers an input has.
    """

    ends: tuple[int, ...]
    time: int
    features: int

    @property
    def size(self) -> int:
        """How many inputs a state stands for at most."""
        return int(np.diff(self._begins).max())

    @property
    def _begins(self) -> np.ndarray:
        """Where the inputs of each state begin, and last where all end, (state + 1,)."""
        return np.array([0, *(end + 1 for end in self.ends[:-1]), self.time])

    def _places(self, states: int) -> np.ndarray:
        """Return where in the inputs of so many states each real one stands, (input,)."""
        if states > len(self.ends):
            raise ProbeError(
                f"The network has {len(self.ends)} states for {self.time} inputs, and nobody counted which inputs "
                f"{states} states would read."
            )
        sizes = np.diff(self._begins)[:states]
        ends = (np.arange(states) + 1) * self.size
        return np.concatenate([np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)])

    def joined(self, x: np.ndarray) -> np.ndarray:
        """Return inputs (batch, time, feature) as one input for each state, (batch, state, number)."""
        states = len(self.ends)
        found = np.zeros((len(x), states * self.size, self.features), dtype=x.dtype)
        found[:, self._places(states)] = x[:, : self.time]
        return found.reshape(len(x), states, -1)

    def parted(self, x: Any) -> Any:
        """Return inputs for each state, an array or tensor (batch, state, number), as (batch, time, feature)."""
        return x.reshape(len(x), -1, self.features)[:, self._places(x.shape[1])]

    def inputs(self, states: Any) -> Any:
        """Return of how many inputs so many states are made."""
        return np.append(self._begins[:-1], self.time)[states]

    def states(self, lengths: np.ndarray) -> np.ndarray:
        """Return how many states read inputs of sequences of some lengths alone, and no padding."""
        return np.searchsorted(self.ends, lengths)

    @property
    def said(self) -> str:
        """How many states there are, and after which inputs."""
        after = [str(end + 1) for end in self.ends]
        shown = after if len(after) <= SHOWN else [*after[: SHOWN - 2], "...", after[-1]]
        return f"{len(self.ends)} for {self.time} inputs: after the inputs {', '.join(shown)}"


@dataclass(frozen=True)
class OfInputs:
    """A function of one sequence's inputs, (time, feature), that is called with them in blocks.

    Attributes:
        function: the function.
        blocks: which inputs belong together.
        sampled: whether it returns a value for each input, of which those at the blocks' ends are taken.
    """

    function: Callable[[np.ndarray], Any]
    blocks: Blocks
    sampled: bool = False

    def __call__(self, x: np.ndarray) -> Any:
        """Return what the function returns of a sequence, (state, number)."""
        found = self.function(self.blocks.parted(x[None])[0])
        if not self.sampled:
            return found
        return [found[end] for end in self.blocks.ends[: len(x)]]


@dataclass(frozen=True)
class OfSteps:
    """A program, from a tuple of steps to an answer, that is called with the steps in blocks.

    Attributes:
        program: the program.
        blocks: which inputs belong together.
    """

    program: Callable[[tuple], Any]
    blocks: Blocks

    def __call__(self, sequence: tuple) -> Any:
        """Return the program's answer."""
        x = torch.tensor(sequence, dtype=torch.float64).reshape(1, len(sequence), -1)
        return self.program(as_tuples(self.blocks.parted(x))[0])


def at_ends(known: Known, blocks: Blocks, states: np.ndarray) -> Known:
    """Return a concept of the inputs as one of the states: the value at the last input of each block.

    Args:
        known: the concept, with a value for each input.
        blocks: which inputs belong together.
        states: how many states each sequence has, (batch,).
    """
    values = known.values[:, list(blocks.ends)].copy()
    values[np.arange(values.shape[1]) >= states[:, None]] = np.nan
    function = None if known.function is None else OfInputs(known.function, blocks, sampled=True)
    return dataclasses.replace(known, values=values, function=function)
