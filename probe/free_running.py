"""Runs a module's layers by the step engine in place of the module, for recordings that need no comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from .calls import drops_out, own_order, read_call
from .custom import CustomModule
from .errors import ProbeError
from .interventions import Applied, latest
from .layers import Layer, levels
from .signals import Signal
from .traces import Opened, Run, Trace, join, last_valid


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
    for level in range(levels(layers[0].module)):
        sides = []
        for layer in (layer for layer in layers if layer.level == level):
            cell, own = layer.cell, own_order(x, layer, call.lengths)
            states = () if call.lengths is None else cell.states
            kept = tuple(dict.fromkeys((*keep.get(layer, ()), Signal.HIDDEN_STATE, *states)))
            signals, final = cell.run(own, call.initial[layer.place], kept)
            if call.lengths is not None:
                final = {signal: last_valid(signals[signal], call.lengths) for signal in cell.states}
            opened = Opened(signals, 0.0, 0)
            # The module's caller may take views of its output, as of a module's own.
            h = signals[Signal.HIDDEN_STATE].contiguous()
            initial = call.initial[layer.place]
            sides.append(Trace(layer, cell, own, initial, (h,), final, call.lengths, lambda opened=opened: opened))
        traces.extend(sides)
        x = join(sides)
    return Run(layers, call, tuple(traces), [None] * (levels(layers[0].module) - 1))


@contextmanager
def replacing(
    modules: Mapping[nn.Module, tuple[Layer, ...]], keep: Mapping[Layer, tuple[Signal, ...]]
) -> Iterator[None]:
    """Let the step engine run in place of modules; afterwards they are as they were.

    Args:
        modules: for each module all of its layers.
        keep: which signals to keep of each layer.

    Raises:
        ProbeError: a module's forward was replaced by somebody else, or it drops out between its layers.
    """
    for module, layers in modules.items():
        if "forward" in vars(module) or type(module).forward not in _KNOWN_FORWARDS:
            raise ProbeError(
                f"Layer {layers[0].name!r} has a forward of its own, which check=False would pass over. "
                "Record it with check=True."
            )
        if drops_out(module):
            raise ProbeError(
                f"Layer {layers[0].name!r} drops out between its layers, which check=False does not do. Call "
                "model.eval() first, or record with check=True."
            )

    def forward_of(module: nn.Module, layers: tuple[Layer, ...]) -> Any:
        def forward(*arguments: Any, **keywords: Any) -> Any:
            run = run_free(layers, arguments, keywords, keep)
            output = run.output
            latest[module] = Applied(output, run, (), run)
            return output

        return forward

    try:
        for module, layers in modules.items():
            vars(module)["forward"] = forward_of(module, layers)
        yield
    finally:
        for module in modules:
            vars(module).pop("forward", None)
            latest.pop(module, None)


_KINDS: Sequence[type[nn.Module]] = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_KNOWN_FORWARDS = [kind.forward for kind in (*_KINDS, CustomModule)]
