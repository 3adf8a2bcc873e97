"""Which adapter runs a module: what `register` says, or an installed package."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from ...arguments import NAMES, read_as
from ...errors import ProbeError
from ..signals import OUTPUT, STATE, Signal, as_signal
from . import forms
from .methods import function_of, may_be_a_step
from .step import Step

#: Packages name their adapters in this group: the class's full name, `package.module.Class`, gives the adapter.
GROUP = "rnn_probe.adapters"
_registered: dict[type[nn.Module], type[Step]] = {}


#: Torch's signals by their names.
_SIGNALS = {str(signal): signal for signal in Signal}


def register(
    kind: type[nn.Module],
    step: type[Step] | str | None = None,
    *,
    state: str | tuple[str, ...] | None = None,
    returns: int | tuple[int, ...] | None = None,
) -> None:
    """Say how modules of a class, and of its subclasses, hand on their state.

    A layer that reads whole sequences has a `step`: a class, or the name of its own method, where a loop in its
    forward calls one method once a step. A cell that a loop calls once a step needs none: where it is ambiguous, or
    torch's own layers are beside it, `state` and `returns` say where its state stands. What is said last counts.

    A package says once for all which step its layers have, in its pyproject.toml, under
    `[project.entry-points."rnn_probe.adapters"]`: `"package.module.Class" = "package.adapters:ItsStep"`.

    Args:
        kind: the module's class.
        step: its adapter, which `probe.testing.check_step` tries; or the name of the method that is its step.
        state: of a cell or a method, the argument that holds the state, or the names of several. Of a method it may
            be left out where its calls show it.
        returns: the item of what it returns that is the next state, or several; None for all of it.

    Raises:
        ProbeError: there is no such class, method, argument or adapter, or both an adapter and a state are given.
    """
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise ProbeError(f"register was given {kind!r}; its first argument is a class of torch.nn.Module.")
    if isinstance(step, str):
        one: Any = step, _form_of_method(kind, step, state, returns)
    elif (step is None) == (state is None):
        raise ProbeError(
            f"Give register({kind.__name__}, ...) either the step of a layer that reads whole sequences, or state=, "
            "the argument that holds the state of a cell that a loop calls."
        )
    elif state is not None:
        one = _form_said(kind.forward, f"{kind.__name__}.forward", state, returns)
    elif inspect.isclass(step) and issubclass(step, Step):
        if not all(isinstance(name, str) for name in step.names.values()):
            raise ProbeError(
                f"{step.__name__}.names is {dict(step.names)}; it has one name for a part of the state, such as "
                "{'state[0]': 'hidden_state', 'state[1]': 'cell_state'}."
            )
        one = step
    else:
        raise ProbeError(
            f"register was given {step!r}; its second argument is a subclass of probe.Step, or the name of the "
            "method that is the step, as a text."
        )
    say_again({kind: one})


def _form_of_method(kind: type[nn.Module], name: str, state: Any, returns: Any) -> forms.Form | None:
    """Return where the state of a method stands, or None where that was not said."""
    function = _method_said(kind, name)
    if state is None and returns is not None:
        raise ProbeError(
            f"returns={returns!r} was given without state=. Name the argument of {kind.__name__}.{name} that holds "
            f"the state too: {', '.join(forms.names_of(function))}."
        )
    return None if state is None else _form_said(function, f"{kind.__name__}.{name}", state, returns)


def _form_said(function: Callable[..., Any], called: str, state: Any, returns: Any) -> forms.Form:
    """Return where the state of a cell stands, as somebody said it; see `probe.register`.

    Args:
        function: what a loop calls: a class's forward, or a method.
        called: it, in words.
        state: the arguments that hold the state.
        returns: the items of what it returns that are the next state.
    """
    names, given = forms.names_of(function), read_as("state", state, NAMES)
    missing = [name for name in given if name not in names]
    if missing or not given:
        raise ProbeError(f"{called} has no argument {missing or given}; it has {', '.join(names)}.")
    items = returns if returns is None or isinstance(returns, tuple) else (returns,)
    if any(isinstance(item, bool) or not isinstance(item, int) for item in items or ()):
        raise ProbeError(
            f"returns={returns!r} must be a number, or several: which item of the tuple that "
            f"{called.removesuffix('.forward')} returns is its next state. Of a dict or an object, let it return a "
            "tuple, or write a probe.Step of the loop."
        )
    return forms.Form(given, items)


def _method_said(kind: type[nn.Module], name: str) -> Callable[..., Any]:
    """Return the method of a class that somebody said is its step.

    Raises:
        ProbeError: the class has no such method, or it does not take an input and a state.
    """
    function = function_of(kind, name)
    called = f"step={name!r} names no method of {kind.__name__}"
    if function is None:
        own = [one for one in vars(kind) if function_of(nn.Module, one) is None]
        own = [one for one in own if (found := function_of(kind, one)) and may_be_a_step(found)]
        listed = ", ".join(map(repr, own)) or "none"
        raise ProbeError(
            f"{called} that is a plain function with self. Of its own methods with two arguments or more there is "
            f"{listed}. Name the one that a loop calls once a step."
        )
    if function_of(nn.Module, name) is not None:
        raise ProbeError(
            f"{called} that a loop inside forward calls, but one of torch.nn.Module. Where a loop calls the module "
            f"itself once a step, say probe.register({kind.__name__}, state=..., returns=...)."
        )
    if not may_be_a_step(function):
        raise ProbeError(
            f"{called} that takes two arguments beside self, an input and a state: it takes "
            f"{', '.join(forms.names_of(function)) or 'none'}. Let it take both, or write a probe.Step."
        )
    return function


def _tables() -> tuple[dict[type[nn.Module], Any], ...]:
    """Return what was said of classes: of cells, of methods, and which adapters they have."""
    return forms.registered_cells, forms.registered_methods, _registered


def said_of(model: nn.Module) -> dict[type[nn.Module], Any]:
    """Return what `register` was told of the classes of a model's modules, for a process that was not told."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    return {kind: one for table in _tables() for kind, one in table.items() if kind in kinds}


def say_again(said: Mapping[type[nn.Module], Any]) -> None:
    """Register what `said_of` returned in another process, in the place of what was said before."""
    for kind, one in said.items():
        cells, methods, adapters = _tables()
        for table in (cells, methods, adapters):
            _ = table.pop(kind, None)
        (cells if isinstance(one, forms.Form) else methods if isinstance(one, tuple) else adapters)[kind] = one


def adapter_of(module: nn.Module) -> type[Step] | None:
    """Return the adapter of a module's class, or of the nearest class that it comes from; None where there is none.

    Raises:
        ProbeError: an installed package names an adapter that cannot be imported, or that is none.
    """
    installed = _installed()
    for kind in type(module).__mro__:
        if kind in _registered:
            return _registered[kind]
        point = installed.get(f"{kind.__module__}.{kind.__qualname__}") if installed else None
        if point is not None:
            return _loaded(point)
    return None


def as_any_signal(name: str) -> Signal:
    """Return the signal of a name, whatever layer has it: torch's, a part of a state, or an adapter's.

    Raises:
        ProbeError: no layer has it; the message lists what exists.
    """
    if isinstance(name, str) and name in _SIGNALS:
        return _SIGNALS[name]
    if isinstance(name, str) and (name == OUTPUT or re.fullmatch(STATE, name)):
        return Signal(name)
    return as_signal(name, (*_SIGNALS.values(), *names_of_adapters()))


def chosen_signals(
    signals: Iterable[str] | None, available: Sequence[Signal], *, untold: bool = False
) -> tuple[Signal, ...]:
    """Return the signals that are asked for: those named, all but pre-activations for None, all for `Signal` itself.

    Args:
        signals: what was asked for.
        available: the signals of all layers.
        untold: whether a layer is among them of which only a call tells its signals.

    Raises:
        ProbeError: no layer has one of them.
    """
    if signals is None:
        return tuple(signal for signal in available if not signal.endswith("_preactivation"))
    if signals is Signal:
        return tuple(available)
    return tuple(as_any_signal(signal) if untold else as_signal(signal, available) for signal in signals)


def names_of_adapters() -> list[Signal]:
    """Return what adapters call parts of a state: those registered, and those of packages that are imported."""
    imported = [point for name, point in _installed().items() if _is_imported(name)]
    return [Signal(name) for step in [*_registered.values(), *map(_loaded, imported)] for name in step.names.values()]


def _is_imported(name: str) -> bool:
    """Return whether a class is there whose full name this is; it may stand in another class."""
    parts = name.split(".")
    modules = ((sys.modules.get(".".join(parts[:end])), parts[end]) for end in range(1, len(parts)))
    return any(inspect.isclass(getattr(module, "__dict__", {}).get(outer)) for module, outer in modules)


@cache
def _installed() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: Any) -> type[Step]:
    try:
        step = point.load()
    except Exception as error:
        raise ProbeError(f"The adapter {point.value} of {point.name} cannot be imported: {error}") from error
    if not (inspect.isclass(step) and issubclass(step, Step)):
        raise ProbeError(f"The adapter {point.value} of {point.name} is no subclass of probe.Step.")
    return step
