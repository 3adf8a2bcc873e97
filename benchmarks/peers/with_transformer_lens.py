"""TransformerLens on the rewritten loop.

Rewrite: the LSTM as a Python loop, a `HookedRootModule` whose step modules have a `HookPoint` for each of i f g o c
h. `run_with_cache` keeps one value for each hook point, so it needs hook points for every step. A hook that appends
to a list needs only one set of hook points for all steps, and is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens import HookedRootModule  # pyright: ignore[reportMissingImports]
from transformer_lens.hook_points import HookPoint  # pyright: ignore[reportMissingImports]

from ..by_hand import Counter
from .batched import put, rows, start_of
from .harness import Tool, main
from .loop import POINTS, Loop


class HookedLoop(HookedRootModule):
    """The loop with hook points named `loop.steps.STEP.POINT`."""

    def __init__(self, model: nn.LSTM | Counter, steps: int = 1) -> None:
        super().__init__()
        self.loop = Loop(model, steps, HookPoint)
        self.setup()

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        """Return what the loop returns."""
        return self.loop(*inputs, **keywords)


def appended(model: HookedLoop, points: Sequence[str], x: Tensor) -> list[Tensor]:
    """Return the values at hook points of the one step module, (time, batch, unit) each."""
    kept: list[list[Tensor]] = [[] for _ in points]

    def into(values: list[Tensor]) -> Callable[[Tensor, HookPoint], None]:
        return lambda value, hook: values.append(value)

    hooks = [(f"loop.steps.0.{point}", into(values)) for point, values in zip(points, kept, strict=True)]
    model.run_with_hooks(x, fwd_hooks=hooks)
    return [torch.stack(values) for values in kept]


def hooked(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Hooks that append, on one set of hook points."""
    model = HookedLoop(lstm)
    return lambda x: [values.transpose(0, 1) for values in appended(model, POINTS, x)]


def cached(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """`run_with_cache`, with hook points for every step."""
    model = HookedLoop(lstm, length)

    def call(x: Tensor) -> Sequence[Tensor]:
        _, cache = model.run_with_cache(x)
        return [
            torch.stack([cache[f"loop.steps.{t}.{point}"] for t in range(length)]).transpose(0, 1) for point in POINTS
        ]

    return call


def one_by_one(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A run for each edit."""
    shared, model = HookedLoop(counter), HookedLoop(counter, length)

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = appended(shared, "c", source)
        logits = []
        for t in range(length):
            for unit in range(values.shape[2]):

                def hook(c: Tensor, hook: HookPoint, value: Tensor = values[t][:, unit], unit: int = unit) -> Tensor:
                    c[:, unit] = value
                    return c

                logits.append(model.run_with_hooks(x, fwd_hooks=[(f"loop.steps.{t}.c", hook)]))
        return torch.stack(logits)

    return call


def patching(values: Tensor) -> Callable[[Tensor, HookPoint], Tensor]:
    """Return the hook that patches every unit in its own rows."""
    return lambda c, hook: put(c, values)


def batched(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A run for each step, the units in its batch."""
    shared, model = HookedLoop(counter), HookedLoop(counter, length)

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = appended(shared, "c", source)
        units = values.shape[2]
        batch = rows(x, units)
        logits = []
        for t in range(length):
            answer = model.run_with_hooks(batch, fwd_hooks=[(f"loop.steps.{t}.c", patching(values[t]))])
            logits.append(answer.view(units, len(x), -1))
        return torch.cat(logits)

    return call


def resumed(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, and each run starts at its step, from states that the user recorded."""
    shared, model = HookedLoop(counter), HookedLoop(counter, length)

    def call(x: Tensor, source: Tensor) -> Tensor:
        (values,) = appended(shared, "c", source)
        h, c = appended(shared, "hc", x)
        logits = []
        for t in range(length):
            hooks = [(f"loop.steps.{t}.c", patching(values[t]))]
            answer = model.run_with_hooks(**start_of(t, x, h, c), fwd_hooks=hooks)
            logits.append(answer.view(h.shape[2], len(x), -1))
        return torch.cat(logits)

    return call


TOOL = Tool(
    {"hooks that append": hooked, "run_with_cache": cached},
    {"a run an edit": one_by_one, "a step's units in a batch": batched, "batched and resumed by hand": resumed},
)

if __name__ == "__main__":
    main(TOOL)
