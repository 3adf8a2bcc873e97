"""Puts the calls of a cell, one step each, together into the sequences that they belong to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .calls import Call, States, read_output
from .layers import Layer


class Sequences:
    """Where the calls of one cell stand.

    A call continues the sequence whose last output is its incoming state, or equals it in value; a zero or absent
    state starts a new one. Where neither holds, a call after the first stands alone, with a warning.
    """

    def __init__(self) -> None:
        self.users = 0
        self._passes: list[object] = []
        self._forget()

    def begin(self, user: object) -> None:
        """Start anew where a forward pass begins, unless it lies inside the pass that another context follows."""
        if all(one is user for one in self._passes):
            self._passes.clear()
            self._forget()
        self._passes.append(user)

    def end(self, user: object) -> None:
        """Note that the forward pass that a context follows has ended."""
        self._passes = [one for one in self._passes if one is not user]

    def _forget(self) -> None:
        self._last: list[States] = []
        self._steps: list[int] = []
        self._current: tuple[Any, int] | None = None
        self._warned = False

    def locate(self, layer: Layer, call: Call, output: Any) -> tuple[int, int]:
        """Return the sequence and the step of a call that returned `output`.

        Every hook on the same call gets the same answer.
        """
        if self._current is not None and self._current[0] is output:
            number = self._current[1]
            return number, self._steps[number]
        number = self._continued(layer, call.initial[0])
        if number is None:
            number = len(self._last)
            self._last.append({})
            self._steps.append(-1)
        self._steps[number] += 1
        self._remember(layer, call, output, number)
        return number, self._steps[number]

    def replace(self, layer: Layer, call: Call, output: Any) -> None:
        """Note that an edit replaced the output of the latest call."""
        if self._current is not None:
            self._remember(layer, call, output, self._current[1])

    @property
    def lengths(self) -> list[int]:
        """How many steps each sequence has had."""
        return [step + 1 for step in self._steps]

    def _remember(self, layer: Layer, call: Call, output: Any, number: int) -> None:
        self._current = output, number
        _, (self._last[number],) = read_output((layer,), output, call)

    def _continued(self, layer: Layer, state: States) -> int | None:
        latest_first = range(len(self._last) - 1, -1, -1)
        for number in latest_first:
            if all(value is self._last[number][signal] for signal, value in state.items()):
                return number
        if not any(bool(value.any()) for value in state.values()):
            return None
        for number in latest_first:
            if all(_same(value, self._last[number][signal]) for signal, value in state.items()):
                return number
        if self._last and not self._warned:
            self._warned = True
            warnings.warn(
                f"Cell {layer.name!r} was called with a state that no earlier call returned and that is not zero, so "
                "the call starts a sequence of its own. Hand on the state that the cell returned to get one.",
                stacklevel=2,
            )
        return None


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool(torch.equal(one, two))


#: For each cell that is watched or edited, where its calls stand; nested contexts share it.
_shared: WeakKeyDictionary[nn.Module, Sequences] = WeakKeyDictionary()


class Followed(dict[nn.Module, Sequences]):
    """The cells that one context follows."""

    def begin(self, model: nn.Module) -> None:
        """Note that a forward pass of a model begins; the call of a bare cell is a step, and no pass."""
        for module, sequences in self.items():
            if module is not model:
                sequences.begin(self)

    def end(self) -> None:
        """Note that the forward pass has ended, with or without an error."""
        for sequences in self.values():
            sequences.end(self)


@contextmanager
def following(modules: Sequence[nn.Module]) -> Iterator[Followed]:
    """Follow the calls of cells; a context inside another one shares what that one knows."""
    followed = Followed((module, _shared.setdefault(module, Sequences())) for module in modules)
    for sequences in followed.values():
        sequences.users += 1
    try:
        yield followed
    finally:
        followed.end()
        for module, sequences in followed.items():
            sequences.users -= 1
            if not sequences.users:
                _shared.pop(module, None)
