"""Puts the calls of a cell, one step each, together into the sequences that they belong to."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from .calls import Call, States, read_output
from .errors import ProbeError
from .layers import Layer
from .signals import Signal


class Sequences:
    """Where the calls of one cell stand within a forward pass.

    A call continues the sequence whose last output is its incoming state: the same numbers in the same memory (a
    view or a detached one, too), or else equal numbers that are not all zero. An absent state starts a new sequence,
    and so does a zero state, but for one that an earlier call may have returned. Where nothing of this holds, a call
    after the first stands alone, with a warning.

    Args:
        strict: whether such a call is an error, since steps or sequences of the cell are named by their numbers.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._last: list[States] = []
        self._versions: list[dict[Signal, int | None]] = []
        self._steps: list[int] = []
        self._current = -1
        self._warned = False

    def locate(self, layer: Layer, call: Call, output: Any) -> tuple[int, int]:
        """Return the sequence and the step of a call that returned `output`.

        Raises:
            ProbeError: the incoming state is zero, and so is what an earlier call returned; or, where that is strict,
                nothing tells which sequence the call continues.
        """
        number = self._continued(layer, call)
        if number is None:
            number = len(self._last)
            self._last.append({})
            self._versions.append({})
            self._steps.append(-1)
        self._steps[number] += 1
        self._current = number
        self.replace(layer, call, output)
        return number, self._steps[number]

    def replace(self, layer: Layer, call: Call, output: Any) -> None:
        """Note what the caller of the latest call gets."""
        _, (last,) = read_output((layer,), output, call)
        self._last[self._current] = last
        self._versions[self._current] = {signal: _version(value) for signal, value in last.items()}

    def _continued(self, layer: Layer, call: Call) -> int | None:
        if not call.has_state:
            return None
        state = call.initial[0]
        latest_first = range(len(self._last) - 1, -1, -1)
        for number in latest_first:
            # What a call returned is kept here, so that no other tensor can have its memory.
            if all(self._is_handed_on(number, signal, value) for signal, value in state.items()):
                return number
        equal = [
            number
            for number in latest_first
            if all(_equal(value, self._last[number][signal]) for signal, value in state.items())
        ]
        if any(bool(value.any()) for value in state.values()):
            if equal:
                return equal[0]
            self._warn(layer)
        elif equal:
            raise ProbeError(
                f"Cell {layer.name!r} was called with a zero state, and an earlier call returned zeros: whether the "
                "call goes on or starts a sequence cannot be told. Start a sequence with no state, and hand on the "
                "very tensor that the cell returned."
            )
        return None

    def _is_handed_on(self, number: int, signal: Signal, value: Tensor) -> bool:
        """Return whether a state is what an earlier call returned, unless it was set to zero in place since."""
        last = self._last[number][signal]
        same = value.shape == last.shape and value.stride() == last.stride() and value.data_ptr() == last.data_ptr()
        known = self._versions[number][signal]
        return same and ((known is not None and known == _version(value)) or bool(value.any()))

    def _warn(self, layer: Layer) -> None:
        if not self._last or self._warned:
            return
        found = (
            f"Cell {layer.name!r} was called with a state that no earlier call returned and that is not zero, so the "
            "call starts a sequence of its own. Hand on the state that the cell returned to get one"
        )
        if self._strict:
            raise ProbeError(f"{found}, or name neither steps= nor call= in an edit.")
        self._warned = True
        warnings.warn(f"{found}.", stacklevel=2)


def _version(value: Tensor) -> int | None:
    """Return what changes when a tensor is changed in place, where torch keeps that."""
    return None if value.is_inference() else value._version


def _equal(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool(torch.equal(one, two))
