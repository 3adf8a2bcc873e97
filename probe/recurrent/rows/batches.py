"""Repeats a model's inputs along the batch axis, and splits its outputs again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ...errors import ProbeError
from ..layers import OwnModule

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
#: What is the same in every run, or is not.
_PLAIN = (bool, int, float, str, type(None))
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class DependentRowsError(ProbeError):
    """Says what was found where rows of a batch depend on each other; who asked adds what works instead."""


class _Unseen:
    """Stands for a part of an output that cannot be looked into, such as a cache: an error for who asks for it."""

    def __init__(self, part: Any, kind: str = "") -> None:
        self._kind = kind or (part._kind if isinstance(part, _Unseen) else type(part).__name__)

    def __getattr__(self, name: str) -> NoReturn:
        raise ProbeError(_other(vars(self).get("_kind", "part")))


def _other(kind: str) -> str:
    return (
        f"The model's output holds a {kind} that is not the same in every run, or that cannot be looked into. Wrap "
        "the model so that it returns tensors, in tuples, lists or dicts."
    )


def map_tensors(function: Callable[..., Any], value: Any, *others: Any) -> Any:
    """Return nested tuples, lists and dicts with a function of each tensor in its place.

    Args:
        function: takes a tensor of `value`, and those at the same place of `others`.
        value: nested tensors; whatever is no tensor stays. With others, an object inside that cannot be looked into
            becomes one that raises ProbeError when it is asked for.
        *others: values nested alike.

    Raises:
        ProbeError: the others are nested in another way, or something in them is neither a tensor nor the same value.
    """
    if others and not all(_alike(value, other) for other in others):
        raise ProbeError(_other(type(value).__name__))
    if isinstance(value, PackedSequence):
        raise ProbeError("A PackedSequence cannot be taken apart along the batch; give padded tensors.")
    if isinstance(value, Tensor):
        return function(value, *others)
    if isinstance(value, (tuple, list)):
        items = [_inside(function, item, *(other[place] for other in others)) for place, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        made = {key: _inside(function, item, *(other[key] for other in others)) for key, item in value.items()}
        return _alike_made(value, made)
    return value


def without_totals(output: Any) -> Any:
    """Return a model's output without the numbers that are of all rows at once, such as a loss.

    In the place of each stands what raises ProbeError when it is asked for.
    """
    return map_tensors(lambda one: one if one.dim() else _Unseen(one, "number of all rows, as a loss is,"), output)


def _alike_made(value: Mapping[Any, Any], made: dict[Any, Any]) -> Any:
    """Return parts as the kind of a value: an output of transformers has them as attributes, too.

    It is made anew: a copy could hold the value's own parts beside them. What cannot be made of them is a dict.
    """
    try:
        same = type(value)(**made)
        return same if list(same) == list(made) and all(same[key] is made[key] for key in made) else made
    except Exception:  # noqa: BLE001 (whatever the class does with them)
        return made


def _inside(function: Callable[..., Any], part: Any, *others: Any) -> Any:
    """Return what `map_tensors` does of a part."""
    known, every = (Tensor, Mapping, tuple, list, *_PLAIN), (part, *others)
    if (
        others
        and not any(isinstance(one, known) for one in every)
        and len({type(one) for one in every} - {_Unseen}) < 2
    ):
        return _Unseen(part)
    return map_tensors(function, part, *others)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys()
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other)
    return isinstance(one, _PLAIN) and one == other


@dataclass(frozen=True, eq=False)
class Batch:
    """The inputs of a model, and where their batch is.

    Attributes:
        arguments: its positional arguments.
        keywords: its keyword arguments.
        size: how many rows there are.
        axis: the batch's axis of the first tensor.
        states_on_axis_1: whether the tensors after the first are states, (layer, batch, unit).
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    size: int
    axis: int
    states_on_axis_1: bool

    @property
    def longest(self) -> int:
        """How long the longest axis of the inputs is, beside the batch's; 1 where there is none."""
        sizes = [1]

        def note(tensor: Tensor, axis: int) -> Tensor:
            sizes.extend(size for place, size in enumerate(tensor.shape) if place != axis)
            return tensor

        _ = self.each(note)
        return max(sizes)

    def each(self, function: Callable[[Tensor, int], Tensor]) -> Inputs:
        """Return the inputs with a function of each tensor that has a batch, and of its axis."""
        seen = 0

        def change(tensor: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            first = self.axis if seen == 1 or not self.states_on_axis_1 else 1
            axes = [axis for axis in (first, 0, 1) if axis < tensor.dim() and tensor.shape[axis] == self.size]
            return function(tensor, axes[0]) if axes else tensor

        return map_tensors(change, self.arguments), map_tensors(change, dict(self.keywords))

    def rows(self, start: int, stop: int) -> Inputs:
        """Return the inputs of some rows."""
        return self.each(lambda tensor, axis: tensor.narrow(axis, start, min(stop, self.size) - start))

    def chosen(self, rows: Sequence[int] | Tensor, *first: Tensor) -> Inputs:
        """Return the inputs of some rows, in another order or several times; the first may be another one."""
        given = iter(first)

        def of_rows(tensor: Tensor, axis: int) -> Tensor:
            other = next(given, None)
            return tensor.index_select(axis, torch.as_tensor(rows, device=tensor.device)) if other is None else other

        return self.each(of_rows)

    def repeated(self, times: int) -> Inputs:
        """Return the inputs with all rows repeated, one repetition after the other."""
        return self.each(lambda tensor, axis: torch.cat([tensor] * times, dim=axis))


def batch_of(
    model: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any], batch_axis: int | None = None
) -> Batch:
    """Return where the batch is in a model's inputs.

    Args:
        model: the model.
        arguments: its positional arguments.
        keywords: its keyword arguments.
        batch_axis: the batch's axis of the first tensor; None for axis 0, or for what a recurrent module itself says.

    Raises:
        ProbeError: no input is a tensor, one is a PackedSequence, or the first has no such axis.
    """
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_nested:
            raise ProbeError("A nested tensor cannot be taken apart along the batch; give padded tensors.")
        tensors.append(tensor)
        return tensor

    map_tensors(note, tuple(arguments))
    map_tensors(note, dict(keywords))
    if not tensors or not tensors[0].dim():
        raise ProbeError("The model's inputs hold no tensor with a batch; give at least one.")
    bare = isinstance(model, (nn.RNNBase, OwnModule))
    if bare and tensors[0].dim() != 3:
        raise ProbeError("The input has no batch axis; give one of three axes.")
    axis = 1 if bare and not getattr(model, "batch_first", False) else 0
    if batch_axis is not None:
        axes = tensors[0].dim()
        if isinstance(batch_axis, bool) or not isinstance(batch_axis, int) or not 0 <= batch_axis < axes:
            raise ProbeError(
                f"batch_axis={batch_axis!r} must be an axis of the first input, which has shape "
                f"{tuple(tensors[0].shape)}: 0 to {axes - 1}."
            )
        if bare and batch_axis != axis:
            raise ProbeError(
                f"batch_axis={batch_axis} contradicts the {type(model).__name__}, whose batch_first= says {axis}. "
                "Leave it out."
            )
        axis = batch_axis
    return Batch(tuple(arguments), keywords, tensors[0].shape[axis], axis, bare)


@contextmanager
def on_other_rows(batch: Batch, rows: int) -> Iterator[None]:
    """Say so where a model that runs on a batch fails on another number of its rows.

    Raises:
        DependentRowsError: it does, from what it raised.
    """
    try:
        yield
    except ProbeError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        raise DependentRowsError(
            f"The model fails on {rows} rows that are taken from its {batch.size}: {type(error).__name__}: {reason}. "
            "It may make something for a fixed number of rows, as torch.zeros(1, self.batch, units) does, or have an "
            f"input with {batch.size} entries that is no batch."
        ) from error


def apart(clean: Any, together: Any, blocks: int, rows: int, doubled: Callable[[], Any]) -> Any:
    """Return the output of a run of several blocks of rows, with one axis more at each tensor's front: (block, ...).

    Args:
        clean: the output of one block.
        together: the output of all.
        blocks: how many there are.
        rows: how many rows a block has.
        doubled: gives the output of the clean block twice. It is asked for where an output has an axis of other
            things than rows, such as steps x rows, to see how they lie in it.

    Raises:
        ProbeError: an output does not grow with the batch, or its rows are in no order that can be told.
    """
    sizes: set[int] = set()

    def note(one: Tensor, many: Tensor) -> None:
        axis = grown_axis(one, many, (1, blocks))
        if axis is None:
            raise DependentRowsError(
                f"The model's output of shape {tuple(many.shape)} does not grow with the batch, so it mixes the rows."
            )
        sizes.add(one.shape[axis])

    def split(one: Tensor, many: Tensor, two: Tensor | None = None) -> Tensor:
        axis = grown_axis(one, many, (1, blocks)) or 0
        size = one.shape[axis]
        for outer in [1] if two is None else [number for number in range(1, size + 1) if size % number == 0]:
            if two is None or all(close(part, one) for part in _blocks(two, axis, 2, outer)):
                return _blocks(many, axis, blocks, outer)
        raise DependentRowsError(
            f"The model's output of shape {tuple(one.shape)} has other numbers when its {rows} rows are there twice: "
            "it mixes the rows, or its outputs have no batch axis."
        )

    map_tensors(note, clean, together)
    return map_tensors(split, clean, together, *([] if sizes <= {rows} else [doubled()]))


def _blocks(values: Tensor, axis: int, blocks: int, outer: int) -> Tensor:
    """Return values whose axis holds (outer, block, rest) as (block, ...), the axis being (outer, rest)."""
    rest = values.shape[axis] // (outer * blocks)
    return values.unflatten(axis, (outer, blocks, rest)).movedim(axis + 1, 0).flatten(axis + 1, axis + 2)


def allowed(values: Tensor) -> float:
    """Return how far values may lie from those of a run with another number of rows, which rounds otherwise."""
    finite = values[values.isfinite()] if values.is_floating_point() else values[:0]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return _TOLERANCE.get(values.dtype, 5e-2) * max(1.0, scale)


def close(one: Tensor, other: Tensor, part: float = 1.0) -> bool:
    """Return whether values are those of a run with another number of rows, to (a part of) rounding.

    They may broadcast.
    """
    if one.dim() != other.dim() or any(a not in (1, b) for a, b in zip(one.shape, other.shape, strict=True)):
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return bool((one == other).all())
    # The larger one first: torch 2.6 takes no other order.
    return torch.allclose(other, one, rtol=0, atol=part * allowed(one), equal_nan=True)


def grown_axis(one: Tensor, other: Tensor, ratio: tuple[int, int]) -> int | None:
    """Return the axis along which an output grew with the batch, from `ratio[0]` to `ratio[1]` rows; None if none.

    Raises:
        ProbeError: the output changed in another way.
    """
    if one.shape == other.shape:
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=False)) if a != b]
    if (
        one.dim() != other.dim()
        or len(axes) != 1
        or (one.shape[axes[0]] * ratio[1] != other.shape[axes[0]] * ratio[0])
    ):
        raise ProbeError(
            f"The model's output has shape {tuple(one.shape)} for {ratio[0]} rows and {tuple(other.shape)} for "
            f"{ratio[1]}: its batch cannot be found. Wrap the model so that its outputs have one batch axis."
        )
    return axes[0]
