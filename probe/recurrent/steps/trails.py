"""Follows the states that cells return through what a loop does to them before the next call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, NamedTuple
from weakref import WeakSet, ref

import torch
from torch import Tensor
from torch._C import _pop_torch_function_stack as _pop_mode
from torch._C import _push_on_torch_function_stack as _push_mode
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _get_current_function_mode_stack

from ..signals import is_continuous
from .readers import Readers, Watched, arrays_of

#: What makes new numbers of a tensor's shape, and what mixes a state with weights: behind these a state is another's.
_LIKE = {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like"}
_NEW = {"new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"}
_PRODUCTS = {"linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "einsum"}
_ENDS = {*_LIKE, *_NEW, *_PRODUCTS, "conv1d", "conv2d", "embedding"}
#: What sets a tensor anew in place: it may begin another sequence.
_ANEW = {"zero_", "fill_", "normal_", "uniform_"}


class Mark(NamedTuple):
    """Of which state of a sequence a tensor was made.

    Attributes:
        step: which step returned the state.
        mixed: whether another tensor, which is no parameter, took part.
    """

    step: int
    mixed: bool = False


#: Of which states a tensor was made, by who counts the sequences and a sequence's number there. What is made of two
#: states of a sequence is made of the later one, the larger mark.
_Marks = dict[tuple[object, int], Mark]


class _Trail(TorchFunctionMode):
    """Marks what is made of a state by a mask, a product, a norm, a detach, a copy or a view as that state's."""

    def __init__(self) -> None:
        super().__init__()
        self.rests, self.readers = False, Readers()
        #: Who follows states. One that an interrupt left is gone with its last reference.
        self.owners = WeakSet[Any]()
        #: By the id of a tensor: what takes the entry away with the tensor, and its marks.
        self._known: dict[int, tuple[ref[Tensor], _Marks]] = {}

    def of(self, one: Tensor) -> _Marks:
        """Return the marks of a tensor."""
        found = self._known.get(id(one))
        return {} if found is None else found[1]

    def set(self, one: Tensor, marks: _Marks) -> None:
        """Mark a tensor, in place of the marks that it had."""
        key = id(one)
        known = self._known.get(key)
        # When the tensor ends, pop(key, the reference) is called.
        self._known[key] = (ref(one, partial(self._known.pop, key)) if known is None else known[0], marks)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        if self.readers:
            self._follow_readers(getattr(func, "__name__", ""), (*args, kwargs) if kwargs else args, result)
        if not self._known or (name := getattr(func, "__name__", "")) in _ENDS:
            return result
        if name in _ANEW and args and id(args[0]) in self._known:
            del self._known[id(args[0])]
        elif name == "__setitem__":
            self._follow(args, args[0])
        elif isinstance(result, (Tensor, tuple, list)) and not isinstance(result, torch.Size):
            self._follow((*args, kwargs) if kwargs else args, result)
        return result

    def _follow_readers(self, name: str, given: Any, made: Any) -> None:
        """Note what was made of the states that are watched."""
        read = _tensors(given)
        in_place = read[:1] if name == "__setitem__" else []
        nest = made if isinstance(made, (Tensor, tuple, list, dict)) and not isinstance(made, torch.Size) else ()
        self.readers.follow(name, read, in_place or _tensors(nest))

    def _follow(self, given: Any, made: Any) -> None:
        read = _tensors(given)
        marks = [self._known[id(one)][1] for one in read if id(one) in self._known]
        if not marks:
            return
        every, others = _joined(marks), 0
        for one in read:
            others += one.numel() > 1 and is_continuous(one) and not isinstance(one, Parameter)
            if others == 2:
                every = {key: Mark(mark.step, mixed=True) for key, mark in every.items()}
                break
        for one in _tensors(made):
            if is_continuous(one):
                self.set(one, every)


def _joined(marks: Iterable[_Marks]) -> _Marks:
    every: _Marks = {}
    for one in marks:
        for key, mark in one.items():
            every[key] = max(mark, every.get(key, mark))
    return every


def _tensors(nest: Any) -> list[Tensor]:
    """Return the tensors in what a function of torch was given or returned."""
    if isinstance(nest, Tensor):
        return [nest]
    found = list[Tensor]()
    for one in nest.values() if isinstance(nest, dict) else nest:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, (tuple, list, dict)):
            found += _tensors(one)
    return found


class _Here(threading.local):
    trail: _Trail | None = None


_here = _Here()


def follow(owner: object) -> None:
    """Follow states in this thread from now on, until `stop`.

    Args:
        owner: who asks for it, and is kept by others: without it nothing is followed.
    """
    trail = _here.trail
    if trail is None or not trail.owners:
        _take_away()
        trail = _here.trail = _Trail()
        trail.owners.add(owner)  # before the mode: an interrupt leaves none that nobody would take away
        _push_mode(trail)
    trail.owners.add(owner)


def stop(owner: object) -> None:
    """Follow no longer for an owner, and for nobody where it was the last."""
    trail = _here.trail
    if trail is None:
        return
    trail.owners.discard(owner)
    if not trail.owners:
        _take_away()
        _here.trail = None


def _take_away() -> None:
    """Take away all trails of this thread, of which interrupts may have left several."""
    stack = _get_current_function_mode_stack()
    first = next((place for place, mode in enumerate(stack) if isinstance(mode, _Trail)), len(stack))
    above = [_pop_mode() for _ in stack[first:]]
    for mode in reversed(above):
        if not isinstance(mode, _Trail):
            _push_mode(mode)


def aside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that follows nothing meanwhile: what it computes goes to no later call of a cell."""

    @wraps(function)
    def apart(*given: Any) -> Any:
        trail = _here.trail
        if trail is None or _get_current_function_mode() is not trail:  # there is none, or another mode lies above it
            return function(*given)
        try:
            trail.rests = True  # first: an interrupt may come as soon as the mode is gone
            _ = _pop_mode()
            return function(*given)
        finally:
            if trail.rests and _here.trail is trail:
                _push_mode(trail)
            trail.rests = False

    return apart


def among(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function inside one that is called aside, and follow what it makes of a state all the same."""
    trail = _here.trail
    if trail is None or not trail.rests:
        return function(*given)
    try:
        trail.rests = False
        _push_mode(trail)
        return function(*given)
    finally:
        trail.rests = True
        if _get_current_function_mode() is trail:
            _ = _pop_mode()


def inherit(made: Iterable[Tensor], old: Iterable[Tensor]) -> None:
    """Note that tensors stand in the places of others, and are made of the same states."""
    trail = _here.trail
    if trail is not None:
        for one, before in zip(made, old, strict=False):
            for state, computed in trail.readers.of(before).items():
                trail.readers.set(one, state, computed=computed)
            if marks := _joined([trail.of(one), trail.of(before)]):
                trail.set(one, marks)


def mark(states: Iterable[Tensor], owner: object, number: int, step: int) -> None:
    """Note of which sequence tensors are the states.

    Args:
        states: the parts of what a cell returned.
        owner: stands for who counts the sequences; kept as long as the marks are.
        number: the sequence's number there.
        step: its step.
    """
    trail = _here.trail
    if trail is not None:
        for one in states:
            others = {key: mark for key, mark in trail.of(one).items() if key[0] is not owner}
            trail.set(one, {**others, (owner, number): Mark(step)})


def marks_of(state: Tensor, owner: object) -> dict[int, Mark]:
    """Return of which states of an owner's sequences a tensor was made, by the sequence's number."""
    trail = _here.trail
    return {} if trail is None else {key[1]: mark for key, mark in trail.of(state).items() if key[0] is owner}


def watch(handed_on: Tensor, state: Watched) -> None:
    """Follow from now on what is computed from a state that was handed on."""
    trail = _here.trail
    if trail is not None:
        trail.readers.set(handed_on, state, computed=False)


def forget(state: Watched) -> None:
    """Follow a state no longer."""
    trail = _here.trail
    if trail is not None:
        trail.readers.forget(state)


def reaches(returned: Any, state: Watched) -> bool:
    """Return whether anything that a model returned was made of a state that is watched."""
    trail = _here.trail
    return trail is not None and trail.readers.reaches(state, arrays_of(returned))


def answers(returned: Any, state: Watched) -> bool:
    """Return whether what a model returned was computed from a state that is watched."""
    trail = _here.trail
    return trail is not None and trail.readers.answer(state, arrays_of(returned))
