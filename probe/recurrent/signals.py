"""`Signal` and `Site`: the names of what can be read and edited inside a recurrent layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import index
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from ..errors import ProbeError, unknown

_PATH = r"(\.\w+|\[\d+\])*"
#: What a signal may be called: words, and the path to a part of a state; and what such a part is called.
_NAME, STATE = rf"\w+{_PATH}", rf"state{_PATH}"


class Signal(StrEnum):
    """What a recurrent layer computes at a step; a member equals its value, and nothing is parsed.

    An LSTM has the first ten, and the unprojected hidden state where it projects; a GRU has the gates and
    candidates below them; a plain RNN has the pre-activation. All of them have the hidden state. A layer that
    torch does not have has an output, and parts of its state under names of its own: `Signal("state[1]")` is such a
    name. It equals its value too, and no enumeration lists it.
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

    @classmethod
    def _missing_(cls, value: object) -> Signal | None:
        if not isinstance(value, str) or not re.fullmatch(_NAME, value):
            return None
        name = str.__new__(cls, value)
        name._name_ = name._value_ = value
        return cls._value2member_map_.setdefault(value, name)  # pyright: ignore[reportReturnType]


#: The size of what only a call tells.
UNKNOWN = -1
#: What a layer that torch does not have returns at each step.
OUTPUT = Signal("output")


#: The states of a layer by signal, (batch, unit) each.
States = Mapping[Signal, Tensor]


def is_continuous(values: Tensor) -> bool:
    """Return whether a tensor holds what a signal can hold: floating-point or complex numbers."""
    return values.is_floating_point() or values.is_complex()


def as_signal(name: str, allowed: Iterable[Signal] = tuple(Signal)) -> Signal:
    """Return the member for a member or its exact value.

    Raises:
        ProbeError: no such signal, or none that the layer has; the message lists what exists.
    """
    members = tuple(allowed)
    if isinstance(name, str) and name in members:
        return members[members.index(name)]
    raise ProbeError(unknown("signal", name, members))


@dataclass(frozen=True)
class Site:
    """A place in a run: layer x signal x units x steps, and for edits the rows and the call.

    Attributes:
        signal: which signal.
        layer: its layer's name, or None for the only layer that has the signal.
        units: unit indices, index tuples of a matrix state, or None for all. Where a state is a matrix, as many plain
            numbers as it has axes are one index tuple.
        steps: step indices from 0 (negative ones count from the end), or None for all.
        rows: batch indices, or None for all.
        call: which sequence of the layer's calls in the context, the first being 0, or None for every one.
    """

    signal: Signal
    layer: str | None = None
    units: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None
    steps: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    call: int | None = None


def as_numbers(name: str, value: SupportsIndex | Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Return whole numbers of any kind (numpy's and torch's too) as a tuple of Python's; they may repeat.

    Raises:
        ProbeError: one is no whole number, or a truth value, which Python takes for 0 or 1.
    """
    try:
        try:
            # Asked for, not tested by type: an array without axes calls itself iterable and is a number.
            listed = list(value)  # pyright: ignore[reportArgumentType, reportCallIssue]
        except TypeError:
            listed = [value]
        if any(isinstance(item, bool) or getattr(item, "dtype", None) == torch.bool for item in listed):
            raise ProbeError(f"{name}={value!r} is made of True and False; give places instead, counted from 0.")
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


#: What names units: a number, an index tuple, or several of them.
Units = SupportsIndex | Iterable[SupportsIndex] | Iterable[Iterable[SupportsIndex]] | None


def as_units(value: Units) -> tuple[int, ...] | tuple[tuple[int, ...], ...] | None:
    """Return units as a tuple of numbers, or of index tuples; None stays None.

    Numbers may repeat, since they may be one index tuple, such as (2, 2): `flat_units` knows the shape.

    Raises:
        ProbeError: one is neither, both stand together, one index tuple is listed twice, or none is given.
    """
    given: Any = value
    nested: list[tuple[Any, ...]] = []
    try:
        if type(value) is not str:
            given = list(given)
            nested = [] if any(isinstance(one, str) for one in given) else [tuple(one) for one in given]
    except TypeError:  # numbers, or nothing that has items
        nested = []
    if not nested:
        numbers = None if given is None else as_numbers("units", given)
        if numbers == ():
            raise ProbeError(f"units={given!r} must name at least one unit.")
        return numbers
    units = tuple(as_numbers("units", one) for one in nested)
    if not all(units) or len(set(units)) != len(units):
        raise ProbeError(f"units={given!r} must name at least one index tuple, none of them empty or twice.")
    return units


def flat_units(units: tuple[Any, ...] | None, shape: tuple[int, ...], what: str) -> list[int]:
    """Return the places of units among a signal's numbers, which a matrix has row by row; all of them for None.

    Args:
        units: numbers, or index tuples; negative ones count from the end.
        shape: the signal's shape.
        what: what has that shape, for the message.

    Raises:
        ProbeError: a unit lies beyond the shape, has another number of axes, or is named twice.
    """
    size = math.prod(shape)
    plain = units is not None and all(isinstance(unit, int) for unit in units)
    if units is None or (plain and len(shape) < 2):
        return within("units", units, size, what)
    axes, found = shape or (1,), list[int]()
    for unit in [units] if plain and len(units) == len(axes) else units:
        index_tuple = unit if isinstance(unit, tuple) else (unit,)
        if len(index_tuple) != len(axes):
            example = ", ".join("0" * len(axes)) + ("," if len(axes) == 1 else "")
            raise ProbeError(
                f"units={unit!r} does not name a unit of {what}, which has the shape {shaped(axes)}: its units are "
                f"index tuples such as ({example})."
            )
        if any(not -length <= place < length for place, length in zip(index_tuple, axes, strict=True)):
            raise ProbeError(f"units={unit!r} lies outside {what}, which has the shape {shaped(axes)}.")
        number = 0
        for place, length in zip(index_tuple, axes, strict=True):
            number = number * length + place % length
        found.append(number)
    if len(set(found)) != len(found):
        raise ProbeError(f"units={units!r} names one place of {what} twice.")
    return found


def shaped(shape: Iterable[object]) -> str:
    """Return a shape in words: `4 x 2`."""
    return " x ".join(map(str, shape))


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


def span(numbers: Sequence[int] | Tensor) -> Any:
    """Return numbers as an index: as a slice, which torch indexes without a copy, where each is the next."""
    count = len(numbers)
    if not count:
        return slice(0, 0)
    first = int(numbers[0])
    if isinstance(numbers, Tensor):
        gapless = int(numbers[-1]) - first == count - 1 and bool((numbers.diff() == 1).all())
    else:
        gapless = list(numbers) == list(range(first, first + count))
    return slice(first, first + count) if gapless else torch.as_tensor(numbers)


def name_of(dtype: torch.dtype) -> str:
    """Return what a type of numbers is called: `float32`."""
    return str(dtype).removeprefix("torch.")


def converted(
    value: Tensor,
    what: object,
    advice: str,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return a tensor in another type and place.

    Args:
        value: numbers.
        what: what it is, for the message, where it becomes a text.
        advice: what else can be done, a sentence; `{}` in it stands for a type that holds the numbers.
        dtype: the type, or None for the same.
        device: the place, or None for the same.

    Raises:
        ProbeError: a finite number becomes infinite in this type, or a complex one real.
    """
    if dtype is not None and value.is_complex() and not dtype.is_complex:
        raise ProbeError(f"{what} holds complex numbers, and {name_of(dtype)} holds none. Give real ones.")
    found = value.to(device=device, dtype=dtype)
    floats = value.is_floating_point() or value.is_complex()
    if found.dtype == value.dtype or (floats and torch.promote_types(found.dtype, value.dtype) == found.dtype):
        return found
    if not bool(found.detach().isinf().any()):
        return found
    given, new = (torch.view_as_real(one) if one.is_complex() else one for one in (value.detach(), found.detach()))
    lost = new.isinf().to(given.device) & given.isfinite()
    if not bool(lost.any()):
        return found
    most = float(given[lost].abs().max())
    wide = torch.float32 if most <= torch.finfo(torch.float32).max else torch.float64
    limit = torch.finfo(found.dtype).max
    raise ProbeError(
        f"{what} holds {most:.6g}, and {name_of(found.dtype)} holds at most {limit:.6g}: it would become infinite. "
        f"{advice.format(f'torch.{name_of(wide)}')}"
    )
