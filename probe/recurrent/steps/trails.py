"""Follows the states that cells return through what a loop does to them before the next call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils.weak import WeakIdKeyDictionary

from ..signals import is_continuous

#: What makes new numbers of a tensor's shape, and what mixes a state with weights: behind these a state is another's.
_ENDS = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
    "linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "einsum", "conv1d", "conv2d",
    "embedding",
}  # fmt: skip

#: What sets a tensor anew in place: it may begin another sequence.
_ANEW = {"zero_", "fill_", "normal_", "uniform_"}


@dataclass(frozen=True)
class Mark:
    """Of which state a tensor was made.

    Attributes:
        owner: stands for who counts the sequences.
        number: the sequence's number there.
        step: which step of it returned the state.
        part: which part of the state it is.
        mixed: whether another tensor, which is no parameter, took part.
    """

    owner: object
    number: int
    step: int
    part: int
    mixed: bool = False


class _Trail(TorchFunctionMode):
    """Marks what is made of a state by a mask, a product, a norm, a detach, a copy or a view as that state's."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0
        self.marks: Any = WeakIdKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _ANEW and args and isinstance(args[0], Tensor) and args[0] in self.marks:
            del self.marks[args[0]]
        elif self.marks and name not in _ENDS:
            changed = args[:1] if name == "__setitem__" else (result,)
            if any(isinstance(one, (Tensor, tuple, list)) and not isinstance(one, torch.Size) for one in changed):
                self._follow((args, kwargs), changed)
        return result

    def _follow(self, given: Any, made: Any) -> None:
        read = list(_tensors(given))
        marks = [found for one in read if (found := self.marks.get(one))]
        if not marks:
            return
        every = _latest(frozenset[Mark]().union(*marks))
        if sum(one.numel() > 1 and is_continuous(one) and not isinstance(one, Parameter) for one in read) > 1:
            every = frozenset(replace(one, mixed=True) for one in every)
        for one in _tensors(made):
            if is_continuous(one):
                self.marks[one] = every


def _latest(marks: frozenset[Mark]) -> frozenset[Mark]:
    """Return the marks of the last step of each sequence: what is made of two states is made of the later one."""
    last: dict[tuple[int, int], int] = {}
    for one in marks:
        key = id(one.owner), one.number
        last[key] = max(one.step, last.get(key, 0))
    return frozenset(one for one in marks if one.step == last[id(one.owner), one.number])


def _tensors(nest: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a function of torch was given or returned."""
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, (tuple, list, dict)):
        for one in nest.values() if isinstance(nest, dict) else nest:
            yield from _tensors(one)


class _Here(threading.local):
    trail: _Trail | None = None


_here = _Here()


def follow() -> None:
    """Begin to follow states in this thread; each call needs one of `stop`."""
    trail = _here.trail
    if trail is None:
        trail = _here.trail = _Trail()
        trail.__enter__()
    trail.open += 1


def stop() -> None:
    """Follow no longer, where everybody who began has stopped."""
    trail = _here.trail
    if trail is None:
        return
    trail.open -= 1
    if not trail.open:
        _here.trail = None
        if _get_current_function_mode() is trail:  # an interrupt may have taken it away already
            trail.__exit__(None, None, None)


def aside(function: Callable[..., None], *given: Any) -> None:
    """Call a function that follows nothing: what it computes is kept, and goes to no later call of a cell."""
    trail = _here.trail
    if trail is None or _get_current_function_mode() is not trail:  # there is none, or another mode lies above it
        function(*given)
        return
    try:
        trail.__exit__(None, None, None)
        function(*given)
    finally:
        if _get_current_function_mode() is not trail:
            trail.__enter__()


def mark(states: Iterable[Tensor], owner: object, number: int, step: int) -> None:
    """Note of which sequence tensors are the states.

    Args:
        states: the parts of what a cell returned, in their order.
        owner: stands for who counts the sequences; kept as long as the marks are.
        number: the sequence's number there.
        step: its step.
    """
    trail = _here.trail
    if trail is not None:
        new: dict[int, tuple[Tensor, set[Mark]]] = {}
        for part, one in enumerate(states):
            new.setdefault(id(one), (one, set()))[1].add(Mark(owner, number, step, part))
        for one, own in new.values():
            others = {mark for mark in trail.marks.get(one, ()) if mark.owner is not owner}
            trail.marks[one] = frozenset({*own, *others})


def marks_of(state: Tensor, owner: object) -> set[Mark]:
    """Return of which states of an owner's sequences a tensor was made."""
    trail = _here.trail
    return set() if trail is None else {mark for mark in trail.marks.get(state, ()) if mark.owner is owner}
