"""Inputs in blocks, one for each state of a network that has fewer states than inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..methods.abstraction.programs import as_tuples
from .concepts import Known


@dataclass(frozen=True)
class Blocks:
    """How many inputs a state stands for, where a network has fewer states than inputs.

    A layer that halves the time axis, as a convolution of stride 2 does, makes one state of each two inputs.

    Attributes:
        size: how many inputs a state stands for.
        extra: how many more the first one stands for.
        features: how many numbers an input has.
    """

    size: int
    extra: int
    features: int

    @classmethod
    def of(cls, inputs: int, states: int, features: int) -> Blocks:
        """Return the blocks of a network that makes so many states of so many inputs."""
        size = inputs // states
        return cls(size, inputs - size * states, features)

    def joined(self, x: np.ndarray) -> np.ndarray:
        """Return inputs (batch, time, feature) as one input for each state, (batch, state, number)."""
        batch, states = len(x), (x.shape[1] - self.extra) // self.size
        first, rest = x[:, : self.extra], x[:, self.extra : self.extra + states * self.size]
        before = np.zeros((batch, states, self.extra * self.features), dtype=x.dtype)
        before[:, 0] = first.reshape(batch, -1)
        return np.concatenate([before, rest.reshape(batch, states, -1)], axis=2)

    def parted(self, x: Any) -> Any:
        """Return inputs for each state, an array or tensor (batch, state, number), as (batch, time, feature)."""
        wide = self.extra * self.features
        first = x[:, :1, :wide].reshape(len(x), self.extra, self.features)
        rest = x[:, :, wide:].reshape(len(x), -1, self.features)
        return torch.cat([first, rest], 1) if isinstance(x, Tensor) else np.concatenate([first, rest], axis=1)

    def inputs(self, states: Any) -> Any:
        """Return of how many inputs so many states are made."""
        return states * self.size + self.extra

    def states(self, lengths: np.ndarray) -> np.ndarray:
        """Return how many states stand for inputs of sequences of some lengths alone, and for no padding."""
        return (lengths - self.extra) // self.size

    def ends(self, states: int) -> np.ndarray:
        """Return at which input each of so many states' blocks ends, (state,)."""
        return np.arange(1, states + 1) * self.size + self.extra - 1


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
        return [found[end] for end in self.blocks.ends(len(x))]


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
    values = known.values[:, blocks.ends((known.values.shape[1] - blocks.extra) // blocks.size)].copy()
    values[np.arange(values.shape[1]) >= states[:, None]] = np.nan
    function = None if known.function is None else OfInputs(known.function, blocks, sampled=True)
    return dataclasses.replace(known, values=values, function=function)
