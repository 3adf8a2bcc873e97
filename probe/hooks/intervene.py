"""`intervene`: runs a model with edits inside its recurrence, and leaves the model as it was."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..edits.kinds import Edit
from ..edits.resolve import Placed, place, place_in_model
from ..errors import ProbeError
from ..recurrent.layers import Layer
from .sessions import Session
from .visits import Visit, check_tolerance, refuse_own_forward


@contextmanager
def eager() -> Iterator[None]:
    """Run what torch.compile has wrapped as it was written: a compiled graph calls no hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and asking would load the compiler
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # The wrapper is called, too. Sessions know it from the module inside.
        warnings.filterwarnings("ignore", "Using `torch.compile\\(module\\)` when there are global hooks")
        yield


def acts(edit: Edit, number: int, step: int | None) -> bool:
    """Return whether an edit acts in a call: its number, and of a single step its place in the sequence.

    The last step is the first one of a sequence of one.
    """
    site = edit.site
    steps = (step,) if step != 0 else (0, -1)
    return site.call in (None, number) and (step is None or site.steps is None or bool({*steps} & {*site.steps}))


def counts(edit: Edit) -> bool:
    """Return whether where an edit acts, or with what, depends on the numbers of calls and steps."""
    return edit.site.call is not None or edit.site.steps is not None or edit.steps_held is not None


#: Why no step is counted from the end of a loop.
_IN_STEPS = "is called in a loop, whose last step is not known before it comes. Count steps from the first one, 0."


def refuse_from_end(edit: Edit, layer: Layer, number: int, step: int | None) -> None:
    """Raise ProbeError where an edit counts steps from the end of a sequence that goes on."""
    if step and edit.site.call in (None, number) and any(one < 0 for one in edit.site.steps or ()):
        raise ProbeError(f"{edit!r}: {layer.name!r} {_IN_STEPS}")


def missing_steps(edit: Edit, came: Set[int | None]) -> list[int]:
    """Return the steps of an edit that did not come; the only one of a sequence is its last too."""
    return [step for step in edit.site.steps or () if step not in came and not (step == -1 and 0 in came)]


class _Intervention(Session):
    """The edits of one context, and which of them have acted."""

    def __init__(self, model: nn.Module, edits: Sequence[Edit], tolerance: float | None) -> None:
        self._placed = place_in_model(model, edits)
        _check_steps_of_cells(self._placed)
        refuse_own_forward(self._placed)
        super().__init__(model, self._placed)
        self._tolerance = tolerance
        self._ever: set[int] = set()
        self._had_a_pass = False
        self.begin()

    def begin(self) -> None:
        """Note that a forward pass of the model begins."""
        self._acted: list[tuple[Edit, int | None]] = []
        self._calls: dict[nn.Module, int] = {}

    def counts(self, module: nn.Module) -> bool:
        """Return whether an edit of a cell names steps or sequences, or brings values for them."""
        return any(counts(edit) for layer in self.modules[module] for edit in self._placed[layer])

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call, and note that they have acted."""
        own = self.modules[visit.layers[0].module]
        self._calls[own[0].module] = self._calls.get(own[0].module, 0) + 1
        for edit in (edit for layer in own for edit in self._placed[layer]):
            refuse_from_end(edit, own[0], number, step)
        active = [(layer, edit) for layer in own for edit in self._placed[layer] if acts(edit, number, step)]
        if active:
            self.refuse_checkpoint(own[0])
            visit.tolerances.add(self._tolerance)
        self._acted += [(edit, step) for _, edit in active]
        self._ever |= {id(edit) for _, edit in active}
        return [(layer, place(edit, layer, visit.clean, step)) for layer, edit in active]

    def end(self, output: Any) -> None:
        """Note that a forward pass of the model has returned."""
        self._had_a_pass = True
        self._check()
        self.begin()

    def failed(self) -> None:
        """Note that a forward pass of the model has raised."""
        self.begin()

    def _check(self) -> None:
        """Raise where calls, or the steps of a cell, ended before the one that an edit waited for."""
        for layer, edits in self._placed.items():
            number = self._calls.get(layer.module, 0)
            for edit in edits:
                steps = {step for one, step in self._acted if one is edit}
                by_step = None not in steps
                missing = missing_steps(edit, steps) if by_step else []
                if steps and missing:
                    raise ProbeError(
                        f"{edit!r} waits for steps {missing}, which never came: cell {layer.name!r} was called "
                        f"{number} times. Choose steps that happen."
                    )
                if not steps:
                    if layer.module in self.unread:
                        raise ProbeError(f"{edit!r} changed nothing: {self._why(layer)}")
                    raise ProbeError(
                        f"{edit!r} changed nothing: the model called layer {layer.name!r} {number} times in its "
                        "forward pass. Choose a layer, a call= and steps= that happen; a layer run by .forward() is "
                        "not seen."
                    )

    def finish(self) -> None:
        """Raise where an edit has changed nothing in the whole context."""
        if self._calls and not self._had_a_pass:
            # All calls were outside a forward pass of the model: of a cell alone, or in `model.generate()`.
            self._check()
        for layer, edits in self._placed.items():
            for edit in edits:
                if id(edit) not in self._ever:
                    raise ProbeError(f"{edit!r} changed nothing: {self._why(layer)}")

    def _why(self, layer: Layer) -> str:
        if self.elsewhere[layer.module]:
            return (
                f"another thread or asyncio task called layer {layer.name!r} {self.elsewhere[layer.module]} times. A "
                "context acts in the one that entered it; enter it where the model is called."
            )
        if layer.module in self.unread:
            return (
                f"what {layer.name!r} was called with and what it returned do not show its state. Say where it is: "
                f"probe.register({type(layer.module).__name__}, state=..., returns=...)."
            )
        return (
            f"layer {layer.name!r} was not called while the context was open. Call the model inside it; a layer run "
            "by .forward() is not seen."
        )


@contextmanager
def intervene(model: nn.Module, *edits: Edit, tolerance: float | None = None) -> Iterator[nn.Module]:
    """Run a model with edits inside its recurrence; afterwards the model is exactly as it was.

    The module runs once as it is; then the edited layer is run again from the first edited step, and the layers of a
    stack above it in full, so that the next step, the module's output and everything above see the change. Edits act
    in the order in which a step computes its signals, and edits of one signal in the order given. Contexts may be
    nested; the edits of all of them act in one run, an outer context's first. Follows the caller's grad mode.

    Edits act wherever the layers are called inside the context: in `model(x)`, and in methods of the model that call
    its layers in another way, such as `policy.predict(x)`. Calls are numbered within one call of the model; outside
    such a call, within the context. A context acts in the thread or asyncio task that entered it, and in tasks that
    this one starts. What runs a layer again in the backward pass (torch.utils.checkpoint) is refused.

    Args:
        model: any module that contains recurrent layers.
        *edits: what to change.
        tolerance: how far the run that the edits start from may lie from what the module computed, relative to
            max(1, |value|); None for 1e-5 in float32, 1e-10 in float64 and 2e-2 in half precision.

    Raises:
        ProbeError: a layer, signal or unit does not exist, or an edited layer has a forward of its own (before the
            model runs); a step or row lies beyond the input, or the module does not compute what its weights say
            (when the layer is called, before anything changes); the forward pass, or the context, ended without the
            call that an edit names.
    """
    check_tolerance(tolerance)
    session = _Intervention(model, edits, tolerance)
    with eager(), session:
        yield model
        session.finish()


def _check_steps_of_cells(placed: dict[Layer, tuple[Edit, ...]]) -> None:
    for layer, edits in placed.items():
        for edit in edits:
            if layer.is_cell and any(step < 0 for step in edit.site.steps or ()):
                raise ProbeError(f"{edit!r}: {layer.name!r} {_IN_STEPS}")
