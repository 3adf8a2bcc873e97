"""`Signal` and `Site`: the names of what can be read and edited inside a recurrent layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from operator import index
from typing import SupportsIndex

from ..errors import ProbeError, unknown


class Signal(StrEnum):
    """What a recurrent layer computes at a step; a member equals its value, and nothing is parsed.

    An LSTM has the first ten, and the unprojected hidden state where it projects; a GRU has the gates and
    candidates below them; a plain RNN has the last pre-activation. All of them have the hidden state.
    """

    INPUT_GATE_PREACTIVATION = "input_gate_preactivation"
    FORGET_GATE_PREACTIVATION = "forget_gate_preactivation"
    CELL_CANDIDATE_PREACTIVATION = "cell_candidate_preactivation"
    OUTPUT_GATE_PREACTIVATION = "output_gate_preactivation"
    INPUT_GATE = "input_gate"
    FORGET_GATE = "forget_gate"
    CELL_CANDIDATE = "cell_candidate"
    OUTPUT_GATE = "output_gate"
    CELL_STATE = "cell_state"
    HIDDEN_STATE = "hidden_state"
    UNPROJECTED_HIDDEN_STATE = "unprojected_hidden_state"
    RESET_GATE_PREACTIVATION = "reset_gate_preactivation"
    UPDATE_GATE_PREACTIVATION = "update_gate_preactivation"
    RESET_GATE = "reset_gate"
    UPDATE_GATE = "update_gate"
    CANDIDATE_RECURRENT = "candidate_recurrent"
    CANDIDATE_PREACTIVATION = "candidate_preactivation"
    CANDIDATE = "candidate"
    HIDDEN_STATE_PREACTIVATION = "hidden_state_preactivation"


def as_signal(name: str, allowed: Iterable[Signal] = tuple(Signal)) -> Signal:
    """Return the member for a member or its exact value.

    Raises:
        ProbeError: no such signal, or none that the layer has; the message lists what exists.
    """
    members = tuple(allowed)
    for member in members:
        if member == name:
            return member
    raise ProbeError(unknown("signal", name, members))


@dataclass(frozen=True)
class Site:
    """A place in a run: layer x signal x units x steps, and for edits the rows and the call.

    Attributes:
        signal: which signal.
        layer: its layer's name, or None for the only layer that has the signal.
        units: unit indices, or None for all.
        steps: step indices from 0 (negative ones count from the end), or None for all.
        rows: batch indices, or None for all.
        call: which call of the layer in a forward pass, or None for every call.
    """

    signal: Signal
    layer: str | None = None
    units: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    call: int | None = None


def as_numbers(name: str, value: SupportsIndex | Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Return whole numbers of any kind (numpy's and torch's too) as a tuple of Python's; they may repeat.

    Raises:
        ProbeError: one is no whole number.
    """
    try:
        try:
            # Asked for, not tested by type: an array without axes calls itself iterable and is a number.
            listed = list(value)  # pyright: ignore[reportArgumentType, reportCallIssue]
        except TypeError:
            listed = [value]
        return tuple(index(item) for item in listed)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ProbeError(f"{name}={value!r} must be a whole number or several of them.") from None


def as_indices(name: str, value: SupportsIndex | Iterable[SupportsIndex] | None) -> tuple[int, ...] | None:
    """Return indices as a tuple: one number becomes one index, None stays None.

    Raises:
        ProbeError: an index is no whole number, is listed twice, or none is given.
    """
    if value is None:
        return None
    indices = as_numbers(name, value)
    if not indices or len(set(indices)) != len(indices):
        raise ProbeError(f"{name}={value!r} must name at least one index, and none of them twice.")
    return indices


def within(name: str, indices: tuple[int, ...] | None, size: int, what: str) -> list[int]:
    """Return the indices counted from 0, all of them for None.

    Args:
        name: the argument's name, for the message.
        indices: indices, negative ones counting from the end.
        size: how many there are.
        what: what has that size, for the message.

    Raises:
        ProbeError: an index lies beyond the size, or two name the same place.
    """
    if indices is None:
        return list(range(size))
    resolved = counted(name, indices, size, what)
    if len(set(resolved)) != len(resolved):
        raise ProbeError(f"{name}={indices!r} names one place of {what} twice.")
    return resolved


def counted(name: str, indices: tuple[int, ...], size: int, what: str) -> list[int]:
    """Return indices counted from 0; they may repeat.

    Args:
        name: the argument's name, for the message.
        indices: indices, negative ones counting from the end.
        size: how many there are.
        what: what has that size, for the message.

    Raises:
        ProbeError: an index lies beyond the size.
    """
    for place in indices:
        if not -size <= place < size:
            raise ProbeError(f"{name}={place} lies outside {what}, which has {size} ({-size} to {size - 1}).")
    return [place % size for place in indices]
