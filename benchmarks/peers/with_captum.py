"""captum on the rewritten loop.

Rewrite: the LSTM as a Python loop in which every step has its own sub-modules for i f g o c h. If steps shared a
sub-module, captum would keep the last step only, and not say so. captum has no patching. `LayerFeatureAblation` does
the same if the source's values are its baselines, and is one way of the sweep. The other ways put torch's own hooks
on the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import LayerActivation, LayerFeatureAblation  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from ..by_hand import Counter
from .batched import put, rows, start_of
from .harness import Tool, main
from .loop import POINTS, Loop


def points(loop: Loop, names: Sequence[str]) -> list[nn.Module]:
    """Return the sub-modules of some signals, all steps of one after the other."""
    return [getattr(step, name) for name in names for step in loop.steps]


def activations(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """`LayerActivation` of all sub-modules at once."""
    loop = Loop(lstm, length)
    reader = LayerActivation(loop, points(loop, POINTS))

    def call(x: Tensor) -> Sequence[Tensor]:
        kept = reader.attribute(x)
        return [torch.stack(kept[n * length : (n + 1) * length]).transpose(0, 1) for n in range(len(POINTS))]

    return call


def states(loop: Loop, names: Sequence[str]) -> Callable[[Tensor], list[Tensor]]:
    """Return what reads signals at every step, (time, batch, unit) each."""
    reader, length = LayerActivation(loop, points(loop, names)), len(loop.steps)

    def call(x: Tensor) -> list[Tensor]:
        kept = reader.attribute(x)
        return [torch.stack(kept[n * length : (n + 1) * length]) for n in range(len(names))]

    return call


def ablation(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """`LayerFeatureAblation` of each step's c, whose attribution is the bare output minus the patched one."""
    loop = Loop(counter, length)
    read = states(loop, "c")
    ablations = [LayerFeatureAblation(loop, module) for module in points(loop, "c")]

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = read(source)
        plain = loop(x)
        logits = []
        for step, value in zip(ablations, values, strict=True):
            effects = step.attribute(x, layer_baselines=value)
            logits.append(plain - effects.view(*plain.shape, -1).permute(2, 0, 1))
        return torch.cat(logits)

    return call


@contextmanager
def patched(module: nn.Module, values: Tensor) -> Iterator[None]:
    """Hook a module so that every unit is patched in its own rows."""

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return put(output, values)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def batched(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A hook and a run for each step, the units in its batch."""
    loop = Loop(counter, length)
    read = states(loop, "c")

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = read(source)
        units = values.shape[2]
        batch = rows(x, units)
        logits = []
        for module, value in zip(points(loop, "c"), values, strict=True):
            with patched(module, value):
                logits.append(loop(batch).view(units, len(x), -1))
        return torch.cat(logits)

    return call


def resumed(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, and each run starts at its step, from states that the user recorded."""
    loop = Loop(counter, length)
    read, read_both = states(loop, "c"), states(loop, "hc")

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = read(source)
        h, c = read_both(x)
        logits = []
        for t, module in enumerate(points(loop, "c")):
            with patched(module, values[t]):
                answer = loop(**start_of(t, x, h, c))
            logits.append(answer.view(h.shape[2], len(x), -1))
        return torch.cat(logits)

    return call


TOOL = Tool(
    {"LayerActivation": activations},
    {
        "LayerFeatureAblation": ablation,
        "torch's hooks, a step's units in a batch": batched,
        "torch's hooks, batched and resumed by hand": resumed,
    },
)

if __name__ == "__main__":
    main(TOOL)
