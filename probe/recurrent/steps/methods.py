"""`MethodCell`: a method that a loop inside a module calls once a step, as a module of its own.

So it is recorded and edited as a cell is. A model gets no new part by that: its `state_dict`, its modules and its
text stay as they are. On the method's class an object stands in the function's place: it gives the function to
everybody, and the cell to a module whose step somebody listens to.
"""

from __future__ import annotations

import dis
import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache, partial, wraps
from itertools import pairwise
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import nn
from torch.nn.modules import module as torchs
from torch.utils.weak import WeakIdKeyDictionary

#: The cells that somebody holds, by their modules and names: one for each method, so that all hooks are heard.
_cells: WeakIdKeyDictionary = WeakIdKeyDictionary()
_lock = threading.Lock()
#: What a statement ends with that stores no local variable.
_ENDS = re.compile("^(POP_TOP|STORE|RETURN|RAISE)|JUMP.*_IF_")
if hasattr(os, "register_at_fork"):  # a child that was forked while a thread held the lock would wait for ever
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


class MethodCell(nn.Module):
    """One method of one module: called as that, with what stands behind `self`.

    Args:
        owner: the module.

    Attributes:
        owner: the module.
        method: the method's name.
    """

    method = ""

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        self.owner = owner

    @property
    def training(self) -> bool:
        """Whether its module is in training mode."""
        return bool(self._modules) and self.owner.training

    @training.setter
    def training(self, value: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Do nothing: `train` and `eval` go on to the module."""

    def __reduce__(self) -> Any:
        return cell_of, (self.owner, self.method)


class _Heard:
    """Stands where a class had a function.

    Args:
        function: the function.
        name: its name there.
        kind: the class's.
    """

    def __init__(self, function: FunctionType, name: str, kind: type[nn.Module]) -> None:
        self.function, self.name = function, name
        self.__wrapped__, self.__doc__ = function, function.__doc__

        @wraps(function)
        def forward(cell: MethodCell, *arguments: Any, **keywords: Any) -> Any:
            return function(cell.owner, *arguments, **keywords)

        told = {"forward": forward, "method": name, "__module__": kind.__module__, "__doc__": function.__doc__}
        self.kind: type[MethodCell] = type(f"{kind.__name__}.{name}", (MethodCell,), told)

    def __get__(self, owner: nn.Module | None, kind: Any = None) -> Any:
        if owner is None:
            return self.function
        if torch.compiler.is_compiling():  # a graph calls no hooks, and its compiler knows no MethodType
            return partial(self.function, owner)
        cells = _cells.get(owner)
        cell = None if cells is None else cells.get(self.name)
        # By way of `super()` a subclass calls the function that its own one stands before.
        if not isinstance(cell, self.kind) or not _is_listened_to(cell):
            return MethodType(self.function, owner)

        @wraps(self.function)
        def step(_: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            return cell(*arguments, **keywords)

        return MethodType(step, owner)

    def __reduce__(self) -> Any:
        return _itself, (self.function,)  # a class that is written with its code gets the function back


def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _is_listened_to(cell: nn.Module) -> bool:
    """Return whether anybody has a hook on a cell or on all modules, or runs something in place of it."""
    own = cell._forward_hooks or cell._forward_pre_hooks or "forward" in vars(cell)
    return bool(own or torchs._global_forward_hooks or torchs._global_forward_pre_hooks)


def _home_of(kind: type[nn.Module], name: str) -> type[nn.Module] | None:
    """Return which class of those that a class comes from has a name."""
    return next((one for one in kind.__mro__ if name in vars(one)), None)


def function_of(kind: type[nn.Module], name: str) -> FunctionType | None:
    """Return the plain function that a class, or one that it comes from, has under a name; None where it has none."""
    home = _home_of(kind, name)
    found = None if home is None else vars(home)[name]
    found = found.function if isinstance(found, _Heard) else found
    return found if isinstance(found, FunctionType) else None


def may_be_a_step(function: FunctionType) -> bool:
    """Return whether a method can be a step: it takes two arguments behind `self`, an input and a state."""
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in named for one in inspect.signature(function).parameters.values()) > 2


def cell_of(owner: nn.Module, name: str) -> MethodCell:
    """Return the cell of a module's method, the same one as long as anybody holds it."""
    kind = type(owner)
    home, function = _home_of(kind, name), function_of(kind, name)
    if home is None or function is None:
        raise AttributeError(f"{kind.__name__} has no method {name!r}.")
    with _lock:
        heard = vars(home)[name]
        if not isinstance(heard, _Heard):
            heard = _Heard(function, name, home)
            setattr(home, name, heard)
        cells: Any = _cells.setdefault(owner, WeakValueDictionary())
        cell = cells.get(name)
        if not isinstance(cell, heard.kind):
            cell = cells[name] = heard.kind(owner)
    return cell


def steps_in(module: nn.Module) -> dict[str, bool]:
    """Return the methods that could be steps of a module: its forward calls them in a loop.

    Returns:
        By name, whether that loop runs over what forward was given first.
    """
    kind = type(module)
    code = getattr(inspect.unwrap(kind.forward), "__code__", None)
    if isinstance(module, MethodCell) or kind.__module__.startswith("torch.") or code is None:
        return {}
    found: dict[str, bool] = {}
    for name, over in _called_in_loops(code).items():
        function = None if name in vars(module) else function_of(kind, name)
        if function is not None and not (function.__module__ or "").startswith("torch.") and may_be_a_step(function):
            found[name] = over
    return found


def is_inside(module: nn.Module, other: nn.Module) -> bool:
    """Return whether a module is a part of another one, or a method of a part; a module's methods are beside it."""
    owner = module.owner if isinstance(module, MethodCell) else module
    beside = isinstance(module, MethodCell) and isinstance(other, MethodCell) and owner is other.owner
    return not beside and owner in set(other.modules())


@lru_cache(maxsize=1024)
def _called_in_loops(code: CodeType) -> dict[str, bool]:
    """Return what a forward calls as `self.NAME(...)` inside a loop, in the order in which it does.

    Args:
        code: the forward's.

    Returns:
        By name, whether the loop runs over the forward's first argument or over what was made of that, such as its
        length: then each pass is a step of a sequence that the module reads.
    """
    every = list(_instructions(code))
    over = _loops_over_the_input(every, code)
    loops = [(one.argval, at) for at, one in every if one.opcode in dis.hasjrel and one.argval < at]
    found: dict[str, bool] = {}
    for (_, before), (at, one) in pairwise(every):
        own = _loaded(before)[-1:] == list(code.co_varnames[:1])
        around = [start for start, end in loops if start <= at <= end]
        if own and one.opname in ("LOAD_ATTR", "LOAD_METHOD") and around:
            found[one.argval] = found.get(one.argval, False) or not over.isdisjoint(around)
    return found


def _instructions(code: CodeType) -> Iterator[tuple[int, dis.Instruction]]:
    """Yield the instructions, each with where a jump to it leads: to what widens its argument, if anything does."""
    start = None
    for one in dis.get_instructions(code):
        start = one.offset if start is None else start
        if one.opname != "EXTENDED_ARG":
            yield start, one
            start = None


def _loops_over_the_input(every: list[tuple[int, dis.Instruction]], code: CodeType) -> set[int]:
    """Return where those loops begin whose iterator was made of the forward's first argument."""
    made, over, reads, stored = set(code.co_varnames[1:2]), set[int](), False, False
    for (_, before), (at, one) in pairwise(every):
        if one.opname == "FOR_ITER" and before.opname == "GET_ITER" and reads:
            over.add(at)
        taken = list(_locals(one))
        # A statement ends with what it stores, which may be several names, or with a condition.
        if (stored and not taken and one.opname != "UNPACK_SEQUENCE") or (not taken and _ENDS.search(one.opname)):
            reads = stored = False
        for name, stores in taken:
            reads = reads and (stores or not stored)
            if stores and reads:
                made.add(name)
            reads, stored = reads or (not stores and name in made), stores
    return over


def _loaded(one: dis.Instruction) -> list[str]:
    """Return the names of the local variables that an instruction loads."""
    return [name for name, stores in _locals(one) if not stores]


def _locals(one: dis.Instruction) -> Iterator[tuple[str, bool]]:
    """Yield the local variables that an instruction takes up, each with whether it stores them.

    Some versions of Python take two in one instruction: LOAD_FAST_LOAD_FAST, STORE_FAST_LOAD_FAST.
    """
    kinds = [part for part in one.opname.split("_") if part in ("LOAD", "STORE")]
    if "_FAST" in one.opname or one.opname.endswith("_DEREF"):
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        yield from zip(names, (kind == "STORE" for kind in kinds), strict=False)
