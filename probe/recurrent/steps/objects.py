"""States in objects: a dataclass, an attrs class or another object is followed by its attributes, a dict by keys."""

from __future__ import annotations

import copy
import enum
from collections.abc import Collection, Iterable, Mapping
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import ProbeError

#: What is no state, and equal to another one if it has the same value.
_PLAIN = (str, bytes, int, float, complex, type(None), type, enum.Enum, torch.dtype, torch.device)
#: What is nobody's state, or holds tensors where no attribute shows them.
_CLOSED = (
    *(Tensor, nn.Module, np.ndarray, np.generic, torch.Generator),
    *(FunctionType, BuiltinFunctionType, MethodType, ModuleType),
)
#: So deep objects and containers are looked into.
_DEPTH = 4


class _Form:
    """What two objects of one form have in common.

    Attributes:
        owner: the object, or one like it.
        names: the attributes that hold tensors.
        others: what the other attributes hold.
    """

    def __init__(self, owner: Any, names: tuple[str, ...], others: Mapping[str, Any]) -> None:
        self.owner, self.names, self.others = owner, names, others

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Form) or type(self.owner) is not type(other.owner) or self.names != other.names:
            return False
        same = self.others.keys() == other.others.keys()
        return same and all(_equal(value, other.others[name]) for name, value in self.others.items())

    def __hash__(self) -> int:
        return hash((type(self.owner), self.names))

    def __repr__(self) -> str:
        return f"{type(self.owner).__name__}({', '.join(self.names)})"


class Opened:
    """An object as its attributes.

    Attributes:
        form: what it has in common with others.
        values: what the attributes that hold tensors hold.
    """

    def __init__(self, values: Iterable[Any], form: Any) -> None:
        self.form, self.values = form, list(values)

    def closed(self) -> Any:
        """Return an object of the same class with these values.

        Raises:
            ProbeError: it does not take them.
        """
        owner, names = self.form.owner, self.form.names
        values, made = [closed(one) for one in self.values], owner
        if all(getattr(owner, name, None) is one for name, one in zip(names, values, strict=True)):
            return owner
        try:
            made = copy.copy(owner)
            for name, value in zip(names, values, strict=True):
                object.__setattr__(made, name, value)
            taken = made is not owner and all(
                getattr(made, name) is one for name, one in zip(names, values, strict=True)
            )
        except (AttributeError, TypeError):
            taken = False
        if not taken:
            raise ProbeError(
                f"A {type(owner).__name__} does not take other values of {', '.join(names)}, so that nothing can be "
                "put in its place. Let it hold its tensors as plain attributes, or hand on a tuple or a dict."
            )
        return made


def _flat(one: Any) -> tuple[list[Any], Any]:
    return one.values, one.form


def _flat_with_keys(one: Any) -> tuple[list[tuple[Any, Any]], Any]:
    keys = [pytree.GetAttrKey(name) for name in one.form.names]
    return list(zip(keys, one.values, strict=True)), one.form


pytree.register_pytree_node(Opened, _flat, Opened, flatten_with_keys_fn=_flat_with_keys)


def opened(nest: Any) -> Any:
    """Return a nest with its objects that hold tensors as what they hold."""
    if _is_plain(nest):
        return nest
    if all(isinstance(one, Tensor) for one in pytree.tree_leaves(nest)):
        return nest
    return pytree.tree_map(_opened, nest)


def _is_plain(nest: Any) -> bool:
    """Return whether a nest is a tensor, or a tuple or list of tensors: what nearly all cells have, asked fast."""
    kind = type(nest)
    if kind is tuple or kind is list:
        return {*map(type, nest)} <= {Tensor}
    return kind is Tensor


def closed(nest: Any) -> Any:
    """Return a nest with objects again in place of what they hold."""
    if isinstance(nest, Tensor):
        return nest
    return pytree.tree_map(
        lambda one: one.closed() if isinstance(one, Opened) else one,
        nest,
        is_leaf=lambda one: isinstance(one, Opened),
    )


def _opened(one: Any, depth: int = _DEPTH) -> Any:
    attributes = {} if _is_closed(one) else _attributes(one)
    names = tuple(name for name, value in attributes.items() if holds_tensors(value, depth - 1))
    if not names or not depth:
        return one
    values = [pytree.tree_map(lambda each: _opened(each, depth - 1), attributes[name]) for name in names]
    return Opened(values, _Form(one, names, {name: attributes[name] for name in attributes if name not in names}))


def _is_closed(one: Any) -> bool:
    of_torch = type(one).__module__.partition(".")[0] == "torch"
    return of_torch or isinstance(one, (*_PLAIN, *_CLOSED, dict, list, tuple, set, frozenset))


def _attributes(one: Any) -> dict[str, Any]:
    """Return what the attributes of an object hold, those in slots too."""
    slots = [name for kind in type(one).__mro__ for name in _slots(kind) if hasattr(one, name)]
    return {name: getattr(one, name) for name in slots} | dict(getattr(one, "__dict__", {}))


def _slots(kind: type) -> list[str]:
    found = vars(kind).get("__slots__", ())
    names = [found] if isinstance(found, str) else list(found)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def holds_tensors(value: Any, depth: int = _DEPTH) -> bool:
    """Return whether a tensor is in a value, in containers of any kind and in objects too."""
    if isinstance(value, Tensor):
        return True
    if depth < 0 or isinstance(value, (*_PLAIN, *_CLOSED)):
        return False
    items = [*value.values()] if isinstance(value, Mapping) else []
    if isinstance(value, Collection) and not isinstance(value, Mapping):
        items = list(value)
    return any(holds_tensors(one, depth - 1) for one in (*items, *_attributes(value).values()))


def _equal(one: Any, two: Any) -> bool:
    """Return whether two values are the same, or hold the same; tensors, and what nobody can look into, are not."""
    if one is two or type(one) is not type(two):
        return one is two
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, _PLAIN):
        return bool(one == two)
    if isinstance(one, (tuple, list)):
        one, two = dict(enumerate(one)), dict(enumerate(two))
    elif not isinstance(one, Mapping):
        one, two = ({} if _is_closed(each) else _attributes(each) for each in (one, two))
        if not one:
            return False
    return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)


class Given:
    """What a cell was called with by place, as it was then: its state may be changed in place.

    Args:
        arguments: the arguments behind the first.
    """

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments, self._before = arguments, [*map(_leaves, arguments)]

    def __len__(self) -> int:
        return len(self._before)

    def changed(self, place: int, *, is_state: bool) -> bool:
        """Return whether something in an argument stands in place of something else now.

        Args:
            place: which argument.
            is_state: whether it is a state, which holds no more than before; else what only grew is a log.
        """
        (before, versions), (after, now) = self._before[place], _leaves(self._arguments[place])
        if len(before) == len(after) and versions == now and all(map(is_, before, after)):
            return False
        if len(after) < len(before) or (is_state and len(after) > len(before)):
            return True
        return versions != now[: len(versions)] or not all(map(_equal, before, after))


def _leaves(one: Any) -> tuple[list[Any], list[int | None]]:
    """Return the tensors and what else is in an argument, and how often each was changed in place."""
    if type(one) is Tensor:
        return [one], [_version(one)]
    if not _is_plain(one):
        one = (
            []
            if isinstance(one, (*_PLAIN, *_CLOSED)) and not isinstance(one, Tensor)
            else pytree.tree_leaves(opened(one))
        )
    return list(one), [*map(_version, one)]


def _version(one: Any) -> int | None:
    """Return what changes when a tensor is changed in place, where torch keeps that."""
    return one._version if isinstance(one, Tensor) and not one.is_inference() else None


def left_over(given: Mapping[str, Any], returned: Collection[Any]) -> str | None:
    """Return the argument that seems to hold a state that is not followed: another one of its kind is returned.

    Args:
        given: the arguments that hold no state, as far as that is known.
        returned: the items of what was returned that are no state, as far as that is known.
    """
    for name, one in given.items():
        if isinstance(one, (*_PLAIN, Tensor, nn.Module)):
            continue
        for other in returned:
            same = type(one) is not type(other) or _equal(one, other)
            if not same and (not isinstance(one, Mapping) or one.keys() == other.keys()):
                return name
    return None


def others_differ(one: Any, two: Any) -> bool:
    """Return whether objects of two nests hold other things beside their tensors, such as a count of steps."""
    pairs = zip(
        *(pytree.tree_leaves(nest, is_leaf=lambda each: isinstance(each, Opened)) for nest in (one, two)),
        strict=False,
    )
    return any(isinstance(a, Opened) and isinstance(b, Opened) and a.form != b.form for a, b in pairs)
