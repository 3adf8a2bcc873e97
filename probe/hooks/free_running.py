"""Runs layers by our own equations in place of torch's kernel: `record(check=False)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError
from ..recurrent.calls import drops_out, own_order, read_call
from ..recurrent.finding import whole_module
from ..recurrent.layers import Layer, LoopLayer, StepLayer, own_forward
from ..recurrent.runs import Opened, Run, Trace, join, last_valid
from ..recurrent.signals import Signal
from .sessions import Session


def run_free(
    layers: tuple[Layer, ...],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    keep: Mapping[Layer, tuple[Signal, ...]],
) -> Run:
    """Run the layers of a module from their initial states; nothing is taken from the module but its weights.

    Args:
        layers: every layer of the module.
        arguments: what the module was called with.
        keywords: its keyword arguments.
        keep: which signals to keep of each layer.
    """
    call = read_call(layers, arguments, keywords)
    traces: list[Trace] = []
    x = call.x
    for level in range(layers[0].levels):
        sides = []
        for layer in (layer for layer in layers if layer.level == level):
            cell, own = layer.cell, own_order(x, layer, call.lengths)
            states = () if call.lengths is None else cell.states
            kept = tuple(dict.fromkeys((*keep.get(layer, ()), Signal.HIDDEN_STATE, *states)))
            signals, final = cell.run(own, call.initial[layer.place], kept)
            if call.lengths is not None:
                final = {signal: last_valid(signals[signal], call.lengths) for signal in cell.states}
            opened = Opened(signals, 0.0, 0)
            # The module's caller gets copies, of which it may take views and which it may change in place.
            h = signals[Signal.HIDDEN_STATE].clone(memory_format=torch.contiguous_format)
            final = {signal: value.clone() for signal, value in final.items()}
            initial = call.initial[layer.place]
            sides.append(Trace(layer, cell, own, initial, (h,), final, call.lengths, lambda _, opened=opened: opened))
        traces.extend(sides)
        x = join(sides)
    return Run(layers, call, tuple(traces), [None] * (layers[0].levels - 1))


@contextmanager
def running_free(session: Session, keep: Mapping[Layer, tuple[Signal, ...]]) -> Iterator[None]:
    """Let the step engine run in place of a session's modules; afterwards they are as they were.

    Args:
        session: whose modules.
        keep: which signals to keep of each layer.

    Raises:
        ProbeError: a module has a forward of its own, or drops out between its layers.
    """
    for module, (layer, *_) in session.modules.items():
        if isinstance(layer, (StepLayer, LoopLayer)):
            raise ProbeError(
                f"Layer {layer.name!r} is a {type(module).__name__}, which the step engine does not run in place of "
                "the module. Record it with check=True."
            )
        if own_forward(module):
            raise ProbeError(
                f"Layer {layer.name!r} has a forward of its own ({own_forward(module)}), which check=False would "
                "pass over. Record it with check=True."
            )
        if drops_out(module):
            raise ProbeError(
                f"Layer {layer.name!r} drops out between its layers, which check=False does not do. Call "
                "model.eval() first, or record with check=True."
            )

    def forward_of(module: nn.Module, layers: tuple[Layer, ...]) -> Any:
        def forward(*arguments: Any, **keywords: Any) -> Any:
            run = run_free(layers, arguments, keywords, keep)
            session.ran(module, run)
            return run.output

        return forward

    forwards = {module: forward_of(module, whole_module(layer)) for module, (layer, *_) in session.modules.items()}
    with session.replacing(forwards):
        yield
