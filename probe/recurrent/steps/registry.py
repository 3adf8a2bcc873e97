"""Which adapter runs a module: what `register` says, or an installed package."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from ...errors import ProbeError
from ..signals import OUTPUT, STATE, Signal, as_signal
from . import forms
from .step import Step

#: Packages name their adapters in this group: the class's full name, `package.module.Class`, gives the adapter.
GROUP = "rnn_probe.adapters"
_registered: dict[type[nn.Module], type[Step]] = {}


#: Torch's signals by their names.
_SIGNALS = {str(signal): signal for signal in Signal}


def register(
    kind: type[nn.Module],
    step: type[Step] | None = None,
    *,
    state: str | tuple[str, ...] | None = None,
    returns: int | tuple[int, ...] | None = None,
) -> None:
    """Say how modules of a class, and of its subclasses, hand on their state.

    A layer that reads whole sequences has a `step`. A cell that a loop calls once a step needs none: where it is
    ambiguous, or torch's own layers are beside it, `state` and `returns` say where its state stands.

    A package says once for all which step its layers have, in its pyproject.toml, under
    `[project.entry-points."rnn_probe.adapters"]`: `"package.module.Class" = "package.adapters:ItsStep"`.

    Args:
        kind: the module's class.
        step: its adapter; `probe.testing.check_step` tries it.
        state: of a cell, the argument of its forward that holds the state, or the names of several.
        returns: of a cell, the item of what it returns that is the next state, or several; None for all of it.

    Raises:
        ProbeError: there is no such class, argument or adapter, or both a step and a state are given.
    """
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise ProbeError(f"register was given {kind!r}; its first argument is a class of torch.nn.Module.")
    if (step is None) == (state is None):
        raise ProbeError(
            f"Give register({kind.__name__}, ...) either the step of a layer that reads whole sequences, or state=, "
            "the argument that holds the state of a cell that a loop calls."
        )
    if state is not None:
        forms.register_cell(kind, state, returns)
    elif inspect.isclass(step) and issubclass(step, Step):
        if not all(isinstance(name, str) for name in step.names.values()):
            raise ProbeError(
                f"{step.__name__}.names is {dict(step.names)}; it has one name for a part of the state, such as "
                "{'state[0]': 'hidden_state', 'state[1]': 'cell_state'}."
            )
        _registered[kind] = step
    else:
        raise ProbeError(f"register was given {step!r}; its second argument is a subclass of probe.Step.")


def said_of(model: nn.Module) -> dict[type[nn.Module], Any]:
    """Return what `register` was told of the classes of a model's modules, for a process that was not told."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    return {
        kind: one for known in (forms.registered_cells, _registered) for kind, one in known.items() if kind in kinds
    }


def say_again(said: Mapping[type[nn.Module], Any]) -> None:
    """Register what `said_of` returned in another process."""
    for kind, one in said.items():
        if isinstance(one, forms.Form):
            forms.registered_cells[kind] = one
        else:
            _registered[kind] = one


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
