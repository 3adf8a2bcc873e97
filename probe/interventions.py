"""Applies edits inside the recurrence of an unmodified module."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .calls import drops_out
from .edit_kinds import Edit
from .engine import Changes, run_again
from .errors import ProbeError
from .layers import Layer, whole_module
from .placing import at_step, changes_of, place_in_model, place_in_run
from .sequences import Sequences, following
from .traces import Run, open_call

#: The edits of a module's layers.
Edits = tuple[tuple[Layer, Edit], ...]
#: Which edits acted in a forward pass, and of cells at which step.
Acted = list[tuple[Edit, int | None]]


@dataclass(eq=False)
class Applied:
    """What was made of a module's latest call.

    Attributes:
        output: what the module's caller gets.
        natural: the run without edits.
        edits: the edits of all contexts so far.
        changed: the run with them.
    """

    output: object
    natural: Run
    edits: Edits
    changed: Run


#: For each module under edits, its latest call: a nested context, or a recording, starts from it.
latest: WeakKeyDictionary[nn.Module, Applied] = WeakKeyDictionary()


def applied_to(module: nn.Module, output: object) -> Applied | None:
    """Return what edits made of the call that returned this very output, or None if none did."""
    made = latest.get(module)
    return made if made is not None and made.output is output else None


@contextmanager
def generators(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep the state of torch's generator before the latest call of each module that drops out between layers."""
    states: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, _: Any) -> None:
        if drops_out(module):
            states[module] = torch.get_rng_state()
        else:
            states.pop(module, None)

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(note).remove)
        yield states


@contextmanager
def eager() -> Iterator[None]:
    """Run what torch.compile has wrapped as it was written: a compiled graph calls no hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and asking would load the compiler
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def edited(natural: Run, edits: Edits, step: int | None) -> Run:
    """Return a run with edits in it.

    Args:
        natural: the run without edits.
        edits: what to change, in order.
        step: which step of its sequence the call is, for a cell; None for a module that reads sequences.
    """
    return run_again(natural, changes_in(natural, edits, step))


def changes_in(natural: Run, edits: Edits, step: int | None) -> dict[int, Changes]:
    """Return what edits do to each layer of a run, by the layer's place in its module."""
    call = natural.call
    time, batch = call.x.shape[:2]
    by_layer: dict[int, Any] = {}
    for layer, edit in edits:
        placed = (
            place_in_run(edit, layer, time, batch, lengths=call.lengths)
            if step is None
            else at_step(edit, layer, step, batch)
        )
        by_layer.setdefault(layer.place, []).append(placed)
    return {place: changes_of(placed) for place, placed in by_layer.items()}


def _check_calls(placed: Mapping[Layer, tuple[Edit, ...]], counts: Mapping[str, int], acted: Acted) -> None:
    """Raise where a forward pass ended without a call, or a step of a cell, that an edit waited for."""
    for layer, edits in placed.items():
        number = counts.get(layer.name, 0)
        for edit in edits:
            steps = {step for one, step in acted if one is edit}
            missing = [step for step in edit.site.steps or () if step not in steps] if layer.is_cell else []
            if steps and missing:
                raise ProbeError(
                    f"{edit!r} waits for steps {missing}, which never came: cell {layer.name!r} was called {number} "
                    "times. Choose steps that happen."
                )
            if not steps if layer.is_cell else (edit.site.call or 0) >= number:
                raise ProbeError(
                    f"{edit!r} changed nothing: the model called layer {layer.name!r} {number} times in its forward "
                    "pass. Choose a layer, a call= and steps= that happen; a layer run by .forward() is not seen."
                )


def acts(edit: Edit, number: int, step: int | None) -> bool:
    """Return whether an edit acts in a call: its number, and for a cell its step in the sequence."""
    site = edit.site
    return site.call in (None, number) and (step is None or site.steps is None or step in site.steps)


@contextmanager
def intervene(model: nn.Module, *edits: Edit) -> Iterator[nn.Module]:
    """Run a model with edits inside its recurrence; afterwards the model is exactly as it was.

    The module runs once as it is; then the edited layer is run again from the first edited step, and the layers of a
    stack above it in full, so that the next step, the module's output and everything above see the change. Edits act
    in the order in which a step computes its signals, and edits of one signal in the order given. Contexts may be
    nested; the edits of all of them act in one run. Follows the caller's grad mode.

    Args:
        model: any module that contains recurrent layers.
        *edits: what to change.

    Raises:
        ProbeError: a layer, signal or unit does not exist (before the model runs), or a step or row lies
            beyond the input (when the layer is called, before anything changes), or the forward pass ended
            without the call that an edit names.
    """
    placed = place_in_model(model, edits)
    _check_steps_of_cells(placed)
    counts: dict[str, int] = {}
    acted: Acted = []
    modules = list(dict.fromkeys(layer.module for layer in placed))
    alone = any(module is model and isinstance(module, nn.RNNCellBase) for module in modules)
    with ExitStack() as stack:
        stack.enter_context(eager())
        states = stack.enter_context(generators(modules))
        followed = stack.enter_context(following([m for m in modules if isinstance(m, nn.RNNCellBase)]))

        def start(*_: Any) -> None:
            # Calls are numbered within one forward pass of the model.
            counts.clear()
            acted.clear()
            followed.begin(model)

        if not alone:
            stack.callback(model.register_forward_pre_hook(start).remove)
            stack.callback(model.register_forward_hook(lambda *_: followed.end(), always_call=True).remove)
        for module in modules:
            own = {layer: own for layer, own in placed.items() if layer.module is module}
            hook = _hook(own, counts, acted, states, followed.get(module))
            # Before the hooks that are there already: a recording around this context sees the edited run too.
            stack.callback(module.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)
            stack.callback(latest.pop, module, None)
        if not alone:
            stack.callback(model.register_forward_hook(lambda *_: _check_calls(placed, counts, acted)).remove)
        yield model
        if alone and counts:
            # A bare cell has no forward pass whose end would tell.
            _check_calls(placed, counts, acted)


def _hook(
    placed: Mapping[Layer, tuple[Edit, ...]],
    counts: dict[str, int],
    acted: Acted,
    states: Mapping[nn.Module, Tensor],
    sequences: Sequences | None,
) -> Any:
    layers = whole_module(next(iter(placed)))

    def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
        number, step = counts.get(next(iter(placed)).name, 0), None
        for layer in placed:
            counts[layer.name] = number + 1
        inner = applied_to(module, output)
        natural = inner.natural if inner else open_call(layers, arguments, keywords, output, states.get(module))
        if sequences is not None:
            number, step = sequences.locate(layers[0], natural.call, output)
        active = tuple((layer, edit) for layer, own in placed.items() for edit in own if acts(edit, number, step))
        if not active:
            return None
        together = active + (inner.edits if inner else ())
        changed = edited(natural, together, step)
        result = changed.output
        latest[module] = Applied(result, natural, together, changed)
        acted.extend((edit, step) for _, edit in active)
        if sequences is not None:
            sequences.replace(layers[0], natural.call, result)
        return result

    return hook


def _check_steps_of_cells(placed: Mapping[Layer, tuple[Edit, ...]]) -> None:
    for layer, edits in placed.items():
        for edit in edits:
            if layer.is_cell and any(step < 0 for step in edit.site.steps or ()):
                raise ProbeError(
                    f"{edit!r}: {layer.name!r} is a cell that is called in a loop, whose last step is not known "
                    "before it comes. Count steps from the first one, 0."
                )
