"""Handles one call of a recurrent module inside a context: records it, edits it, compares it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from ..errors import ProbeError, another_cell
from ..recurrent.again.engine import Changes, run_again
from ..recurrent.calls import Call, read_call
from ..recurrent.layers import Layer, LoopLayer, own_forward
from ..recurrent.rounding import check
from ..recurrent.runs import Run, Trace, reconstruct
from ..recurrent.steps import trails
from ..recurrent.steps.forms import tensors


class Visit:
    """One call of a recurrent module that has returned, and what sessions make of it.

    Attributes:
        layers: every layer of the module.
        call: what it was given.
        changes: what happens to each layer, by its place in the module; nothing where nobody changes anything.
        output: what the module's caller gets.
        tolerances: how far recomputed values may lie from the module's, see `rounding.check`; all must hold.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        output: Any,
        generator_state: Tensor | None,
        *,
        call: Call | None = None,
    ) -> None:
        self.layers, self.output = layers, output
        self.call = read_call(layers, arguments, keywords) if call is None else call
        self.changes: Mapping[int, Changes] = {}
        self.tolerances: set[float | None] = set()
        self._given = arguments, keywords, output, generator_state
        self._changed: Run | None = None

    @cached_property
    def clean(self) -> Run:
        """The call as the module ran it."""
        return reconstruct(self.layers, *self._given, call=self.call)

    @property
    def run(self) -> Run:
        """The call with all changes so far."""
        return self._changed or self.clean

    @property
    def returned(self) -> Any:
        """What the module returned."""
        return self._given[2]

    @property
    def replaced(self) -> bool:
        """Whether the module's caller gets something else than the module returned."""
        return self.output is not self.returned

    def change(self, changes: Mapping[int, Changes]) -> None:
        """Run the call again with changes, in place of those so far.

        Raises:
            ProbeError: the module computes something else than its weights say, so that nobody knows what it would
                have made of the changes.
        """
        lowest = min(self.layers[place].level for place in changes)
        for trace in self.clean.traces:
            if trace.layer.level >= lowest:
                self._check(trace)
        self.changes = changes
        self._changed = run_again(self.clean, changes)
        self.output = self._changed.output
        trails.inherit(tensors(self.output), tensors(self._given[2]))

    def _check(self, trace: Trace) -> None:
        for tolerance in self.tolerances or {None}:
            check(trace, trace.opened, tolerance)


def refusal(name: str, module: nn.Module) -> str:
    """Return why a layer with a forward of its own can neither be edited nor run again."""
    return (
        f"Layer {name!r} has a forward of its own ({own_forward(module)}), and an edited run would pass "
        "over what that adds. Leave torch's module as it is and put what you add around it, in a module that holds "
        "it: self.rnn = torch.nn.LSTM(...)."
    )


def refuse_own_forward(layers: Iterable[Layer]) -> None:
    """Raise ProbeError where a layer's module does not run its kind's own forward."""
    for layer in layers:
        if own_forward(layer.module):
            raise ProbeError(refusal(layer.name, layer.module))


def perhaps(layer: Layer) -> bool:
    """Return whether only a run tells that a layer is recurrent."""
    return isinstance(layer, LoopLayer) and not layer.registered


def no_recurrence_in(layers: Sequence[Layer]) -> ProbeError:
    """Return the error for modules that could be cells where no call went on from a state that one had returned."""
    kind = type(layers[0].module).__name__
    return ProbeError(
        f"None of {', '.join(repr(layer.name) for layer in layers)} was called with a state that it had returned "
        "before, so that no recurrent layer was seen. Of a cell with its state in another argument say where it is: "
        f"probe.register({kind}, state=..., returns=...). {another_cell()}"
    )


def not_shown(layer: Layer) -> str:
    """Return that no call of a module that could be a cell shows its state, and what to do, in words."""
    return (
        f"what {layer.name!r} was called with and what it returned do not show its state. Say where it is: "
        f"probe.register({type(layer.module).__name__}, state=..., returns=...)."
    )
