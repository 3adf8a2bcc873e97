"""Joins the calls of a cell in a loop, one step each, into the sequences that they belong to."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..errors import ProbeError
from .calls import Call, States, read_output
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
        self._first: list[States] = []
        self._first_versions: list[dict[Signal, int | None]] = []
        self._versions: list[dict[Signal, int | None]] = []
        self._steps: list[int] = []
        self._current = -1
        self._warned = self._changed = False

    def locate(self, layer: Layer, call: Call, output: Any) -> tuple[int, int]:
        """Return the sequence and the step of a call that returned `output`.

        Raises:
            ProbeError: the incoming state is zero, and so is what an earlier call returned; or, where that is strict,
                nothing tells which sequence the call continues.
        """
        number = self._continued(layer, call)
        if number is None:
            number = len(self._last)
            first = {signal: value.detach() for signal, value in call.initial[0].items()} if call.has_state else {}
            self._first.append(first)
            self._first_versions.append(_versions(first))
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
        # Without its graph, which an open context must not keep.
        self._last[self._current] = {signal: value.detach() for signal, value in last.items()}
        self._versions[self._current] = _versions(last)

    def _continued(self, layer: Layer, call: Call) -> int | None:
        if not call.has_state:
            return None
        state = call.initial[0]
        latest_first = range(len(self._last) - 1, -1, -1)
        for number in latest_first:
            # What a call returned is kept here, so that no other tensor can have its memory.
            if all(self._is_handed_on(number, signal, value) for signal, value in state.items()):
                self._warn_of_changes(layer, number, state)
                return number
        if any(self._started(number, state) for number in latest_first):
            return None
        equal = [
            number
            for number in latest_first
            if all(_equal(value, self._last[number][signal]) for signal, value in state.items())
        ]
        zero = not any(bool(value.any()) for value in state.values())
        if equal and (zero or len(equal) > 1):
            what = "zeros, and an earlier call returned zeros" if zero else "one that several calls returned"
            raise ProbeError(
                f"The state that cell {layer.name!r} was called with is {what}: whether the call goes on, or where, "
                "cannot be told. Start a sequence with no state, and hand on the very tensor that the cell returned."
            )
        if not equal and not zero:
            self._warn(layer)
        return equal[0] if equal else None

    def _started(self, number: int, state: States) -> bool:
        """Return whether a sequence started with a state that is as it was then: a learned one, for instance."""
        first, versions = self._first[number], self._first_versions[number]
        return bool(first) and all(
            _same_memory(value, first[signal])
            and versions[signal] is not None
            and versions[signal] == _version(value)
            for signal, value in state.items()
        )

    def _is_handed_on(self, number: int, signal: Signal, value: Tensor) -> bool:
        """Return whether a state is what an earlier call returned, unless it was set to zero in place since."""
        known = self._versions[number][signal]
        unchanged = known is not None and known == _version(value)
        return _same_memory(value, self._last[number][signal]) and (unchanged or bool(value.any()))

    def _warn_of_changes(self, layer: Layer, number: int, state: States) -> None:
        """Warn once where what a call returned was changed in place before the next call read it."""
        versions = self._versions[number]
        if not self._changed and any(
            versions[signal] is not None and versions[signal] != _version(value) for signal, value in state.items()
        ):
            self._changed = True
            warnings.warn(
                f"The state that cell {layer.name!r} returned was changed in place before the next step read it. A "
                "recording holds what the cell returned, not what the next step read.",
                stacklevel=2,
            )

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


def _same_memory(one: Tensor, two: Tensor) -> bool:
    """Return whether a state is another one, or its first rows: those of the sequences that go on."""
    fits = one.shape[1:] == two.shape[1:] and len(one) <= len(two) and one.stride() == two.stride()
    return fits and one.data_ptr() == two.data_ptr()


def _versions(states: States) -> dict[Signal, int | None]:
    return {signal: _version(value) for signal, value in states.items()}


def _version(value: Tensor) -> int | None:
    """Return what changes when a tensor is changed in place, where torch keeps that."""
    return None if value.is_inference() else value._version


def _equal(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool(torch.equal(one, two))
