"""What a run leaves on modules beside their weights, such as `self.hidden`: found, named and put back."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import NoRecurrenceError, ProbeError
from .global_state import grad_mode_kept

#: What torch itself keeps in a module, and what a sweep puts there while it runs.
_TORCHS = frozenset(
    [*vars(nn.Module()), *filter(lambda name: name.startswith("_"), vars(nn.RNN(1, 1, device="meta"))), "forward"]
)
#: What holds no tensor, and what is nobody's state.
_PLAIN = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, nn.Parameter, torch.dtype, torch.device, torch.Size}
    | {FunctionType, BuiltinFunctionType, MethodType, ModuleType, torch.Generator}
)
#: Longer lists are vocabularies and logs; of tensors up to this size there is a copy to put back.
_ITEMS, _NUMBERS = 256, 10_000_000
_DEPTH = 4
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Change:
    """What a run changed.

    Attributes:
        name: where it stands, such as `model.encoder.hidden`.
        before: what stood there before; None where nothing did.
        after: what stands there now.
    """

    name: str
    before: Any
    after: Any

    def is_state(self, rows: Collection[int] | None) -> bool:
        """Return whether the next run may start from it: numbers took the place of others, or are one a row.

        What is made once for all rows, such as a mask or an encoding of positions, is none.

        Args:
            rows: how many rows the layers read; None where that is not known.
        """
        new = list(_arrays(self.after))
        return self.of_rows() or (bool(new) if rows is None else any(set(one.shape) & set(rows) for one in new))

    def of_rows(self, rows: int | None = None) -> bool:
        """Return whether there were numbers before, with an axis of so many rows; None takes any."""
        return any(0 not in one.shape and rows in (None, *one.shape) for one in _arrays(self.before))

    def __str__(self) -> str:
        """Return the name, and what stood there before."""
        old = next((one for one in _arrays(self.before) if 0 not in one.shape), None)
        return f"{self.name} ({'empty' if old is None else ' x '.join(map(str, old.shape)) or 'a number'} before)"


@dataclass(eq=False)
class _Held:
    """A table, a list or an array that a module holds, and what was in it.

    Attributes:
        owner: the module's own table.
        name: where it stands in the module.
        live: itself.
        copy: its items, or its numbers; None of an array that is too large.
        version: of a tensor, how often it had been changed.
        passed: whether a key is nobody's state.
    """

    owner: dict[str, Any]
    name: str
    live: Any
    copy: Any
    version: int | None = None
    passed: Callable[[Any], bool] = lambda _: False

    def changes(self) -> Iterator[Change]:
        """Yield what is another now."""
        live, copied = self.live, self.copy
        if isinstance(live, (Tensor, np.ndarray)):
            untouched = self.version is not None and live._version == self.version  # pyright: ignore[reportAttributeAccessIssue]
            if not untouched and not same(live, copied):
                yield Change(self.name, live if copied is None else copied, live)
        elif isinstance(live, dict):
            if _unchanged(live, copied):
                return
            for key in [key for key in {**copied, **live} if not self.passed(key)]:
                old, new = copied.get(key), live.get(key)
                if not same(old, new):
                    yield Change(_named(self.name, key), old, new)
        # A list that only grew is a log.
        elif (len(live) < len(copied) or not all(map(is_, copied, live))) and not same(copied, list(live)):
            yield Change(self.name, copied, list(live))

    def put_back(self) -> None:
        """Put back what was there."""
        if isinstance(self.live, Tensor):
            if self.copy is None:
                raise ProbeError(
                    f"The run changed a tensor of {self.live.numel():,} numbers in place, {self.name[1:]}, too many "
                    "for a copy to put back. Give the module a new tensor instead, or keep it elsewhere."
                )
            with torch.no_grad(), torch.inference_mode(self.live.is_inference()):
                self.live.detach().copy_(self.copy)
        elif isinstance(self.live, np.ndarray):
            self.live[...] = self.copy
        elif isinstance(self.live, dict):
            for key in [key for key in self.live if key not in self.copy and not self.passed(key)]:
                del self.live[key]
            for key in [key for key in self.copy if not self.passed(key)]:
                self.live[key] = self.copy[key]
        else:
            self.live.clear()
            self.live.extend(self.copy)


class Kept:
    """What the modules of a model keep beside their weights, as it stands now.

    Plain attributes are seen, in tuples, lists, dicts and objects that an attribute holds too, and the buffers of
    modules that are not torch's own. What a function, or a module that is none of the model's, holds is not.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._changes: tuple[list[_Held], list[Change]] | None = None
        self._tables: list[tuple[dict[str, Any], dict[str, Any], Callable[[str], bool]]] = []
        self._of_torch: list[tuple[dict[str, Any], int]] = []
        self._held: list[_Held] = []
        self._seen: set[int] = set()
        modules, known = [model], {id(model)}
        for module in modules:
            table = module.__dict__
            for inner in table.get("_modules", _NOTHING).values():
                if inner is not None and id(inner) not in known:
                    known.add(id(inner))
                    modules.append(inner)
            if not _is_of_torch(type(module)):
                self._open(module, table)
            elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
                self._tables.append((table, table.copy(), _is_torchs))
            else:
                self._of_torch.append((table, len(table)))

    def _open(self, module: nn.Module, table: dict[str, Any]) -> None:
        passed = _is_torchs if isinstance(module, nn.RNNBase) else _TORCHS.__contains__
        self._tables.append((table, table.copy(), passed))
        for key, value in table.items():
            if type(value) not in _PLAIN and key not in _TORCHS:
                self._look(table, f".{key}", value, _DEPTH)
        if table.get("_buffers"):
            self._look(table, "", table["_buffers"], 2)

    def _look(self, owner: dict[str, Any], name: str, value: Any, depth: int) -> None:
        if depth <= 0 or id(value) in self._seen or isinstance(value, (nn.Module, nn.Parameter, type)):
            return
        self._seen.add(id(value))
        if isinstance(value, (Tensor, np.ndarray)):
            self._held += _array(owner, name, value)
            return
        items = value if isinstance(value, (dict, list, tuple, deque)) else getattr(value, "__dict__", ())
        if len(items) > _ITEMS:
            return
        if not isinstance(items, tuple):
            self._held.append(_Held(owner, name, items, dict(items) if isinstance(items, dict) else list(items)))
        for key, item in items.items() if isinstance(items, dict) else enumerate(items):
            if type(item) not in _PLAIN:
                # Not far into objects, which lead to trainers and to data.
                self._look(owner, _named(name, key), item, depth - (1 if items is value else 2))

    def _changed(self) -> list[tuple[_Held, list[Change]]]:
        tables = [(one, copied, passed) for one, copied, passed in self._tables if not _unchanged(one, copied)]
        # Where torch's own module got another attribute, that came last.
        tables += [(one, dict([*one.items()][:size]), _is_torchs) for one, size in self._of_torch if len(one) != size]
        held = [_Held(table, "", table, copied, passed=passed) for table, copied, passed in tables]
        return [(one, found) for one in (*held, *self._held) if (found := list(one.changes()))]

    @grad_mode_kept
    def put_back(self, rows: Collection[int] | None = None) -> list[Change]:
        """Put back what a run changed that the next run may start from, and return it.

        All that changed in a module goes back with its state, such as a flag that says that there is one. Lists that
        only grew stay, and so does a module where no state changed: a counter alone, or what was made once. Where an
        interrupt ends it, a second call puts all of it back.

        Args:
            rows: how many rows the layers read; None where that is not known.

        Raises:
            ProbeError: a tensor was changed in place that is too large for a copy.
        """
        if self._changes is None:
            self._changes = self._to_put_back(rows)
        held, states = self._changes
        for one in held:
            one.put_back()
        self._changes = None
        return states

    def set_anew(self) -> list[str]:
        """Return the names of attributes that hold other tensors than before, also with the same numbers."""
        names = {id(vars(module)): f"model.{path}".strip(".") for path, module in self._model.named_modules()}
        return [
            f"{names[id(table)]}.{key}"
            for table, copied, passed in self._tables
            for key, value in table.items()
            if not passed(key) and value is not copied.get(key) and any(True for _ in _arrays(value))
        ]

    def _to_put_back(self, rows: Collection[int] | None) -> tuple[list[_Held], list[Change]]:
        """Return what must be put back, a flag beside a state too, and which states changed."""
        changed = self._changed()
        states = [(one, change) for one, found in changed for change in found if change.is_state(rows)]
        if not states:
            return [], []
        owners = {id(one.owner) for one, _ in states}
        names = {id(vars(module)): f"model.{path}".strip(".") for path, module in self._model.named_modules()}
        named = [replace(change, name=names.get(id(one.owner), "model") + change.name) for one, change in states]
        return [one for one, _ in changed if id(one.owner) in owners], named


@contextmanager
def put_back(model: nn.Module) -> Iterator[None]:
    """Put back afterwards what the modules of a model keep, so that each run starts alike.

    Args:
        model: the model.
    """
    kept = Kept(model)
    try:
        yield
    finally:
        try:
            _ = kept.put_back()
        except KeyboardInterrupt:
            _ = kept.put_back()
            raise


def reads_what_it_left(model: nn.Module, run: Callable[[], Any]) -> bool:
    """Return whether a second run gives something else than the first, with the same random numbers.

    Args:
        model: the model, whose modules are as before afterwards.
        run: calls it.
    """
    outputs = list[Any]()
    with put_back(model), torch.random.fork_rng(devices=[]):
        for _ in range(2):
            _ = torch.default_generator.manual_seed(0)
            outputs.append(run())
    return not same(*outputs)


@contextmanager
def naming_states(model: nn.Module, run: Callable[[], Any]) -> Iterator[None]:
    """Name the states that a run leaves on modules, where a block finds no layer; see `_told_of_states`."""
    try:
        yield
    except NoRecurrenceError as error:
        raise _told_of_states(error, model, run) from None


def _told_of_states(error: ProbeError, model: nn.Module, run: Callable[[], Any]) -> ProbeError:
    """Return the error that no layer was found, with the name of each state that a run leaves on modules.

    Args:
        error: the error.
        model: the model, whose modules are as before afterwards.
        run: calls it; where it fails, or no state is left, the error stays as it is.
    """
    kept, left, weights = Kept(model), list[Change](), [*model.parameters(), *model.buffers()]
    if not kept._tables or any(map(is_lazy, weights)):
        return error  # nothing could hold a state, or a run would make weights
    buffers = [(one, one.detach().clone()) for one in model.buffers()]
    devices = {one.device for one in weights if one.is_cuda}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=list(devices)):
            _ = run()
        anew = kept.set_anew()
    except Exception:  # noqa: BLE001 (whatever the model raises, the first error counts)
        return error
    finally:
        left += kept.put_back()
        with torch.no_grad():
            for one, before in buffers:
                _ = one.copy_(before)
    names = ", ".join(dict.fromkeys([*anew, *(one.name for one in left)]))
    if not names:
        return error
    return type(error)(
        f"{error} A run of it sets {names}, and what only stands on a module is not seen. If that is the state, let "
        "forward take it and return it, as in h = cell(x, h): a cell that a loop calls so is recorded."
    )


def warn_of(changes: Collection[Change], advice: str, *, level: int) -> None:
    """Warn that what a run left on modules was put back.

    Args:
        changes: what.
        advice: what to do where calls shall go on from each other.
        level: how many calls above this one the user's stands.
    """
    if changes:
        started = any(change.of_rows() for change in changes)
        # What a model makes anew before it reads it, as snntorch does its potentials, no run starts from.
        first = "If the model reads it before it sets it, this run started from it, too: set it to what a sequence "
        first = f"{first}starts from, such as None. " * started
        warnings.warn(
            f"The run changed {', '.join(map(str, changes))}, which the next run may start from. It was put back, "
            f"so that all runs start alike. {first}{advice}",
            stacklevel=level + 1,
        )


def _arrays(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield the tensors and arrays in a value."""
    if isinstance(value, (Tensor, np.ndarray)):
        yield value
    elif depth and type(value) not in _PLAIN and not isinstance(value, nn.Module):
        table = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        for item in value if isinstance(value, (tuple, list, deque)) else table.values():
            yield from _arrays(item, depth - 1)


@lru_cache(maxsize=1024)
def _is_of_torch(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith("torch.")


def _is_torchs(key: str) -> bool:
    """Return whether an attribute is torch's own, or a weight that is made of others, as a norm does it."""
    return key in _TORCHS or key.startswith(("weight", "bias"))


def _unchanged(live: dict[Any, Any], copied: dict[Any, Any]) -> bool:
    return len(live) == len(copied) and all(map(is_, live.values(), copied.values()))


def _named(name: str, key: Any) -> str:
    return f"{name}.{key}" if isinstance(key, str) else f"{name}[{key!r}]"


def _array(owner: dict[str, Any], name: str, value: Any) -> list[_Held]:
    """Return a tensor or array with its numbers, or its version, as far as it has them."""
    if isinstance(value, np.ndarray):
        return [_Held(owner, name, value, value.copy())] if value.size <= _NUMBERS else []
    version = None if value.is_inference() else value._version
    copied = value.detach().clone() if value.numel() <= _NUMBERS and not value.is_meta else None
    return [] if copied is version is None else [_Held(owner, name, value, copied, version)]


def same(one: Any, other: Any) -> bool:
    """Return whether two values are the same, with the same numbers where they hold tensors."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (Tensor, np.ndarray)):
        return _equal(one, other)
    if isinstance(one, (tuple, list, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) in _PLAIN and one == other


def _equal(one: Any, other: Any) -> bool:
    """Return whether numbers are the same, in one type and place; a NaN equals a NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if isinstance(one, Tensor) and (one.device != other.device or one.is_meta or one.layout != torch.strided):
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # noqa: PLR0124 (a NaN is not itself)
