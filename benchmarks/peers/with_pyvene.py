"""pyvene on the rewritten loop.

Rewrite: the LSTM as a Python loop over step modules with a sub-module for each of i f g o c h. pyvene also asks for
an attribute `config`. To collect, one step module serves all steps. To edit, each step needs its own, since pyvene
lets an intervention run once only (except in its own GRU).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..by_hand import Counter
from .batched import put, rows, start_of
from .harness import Tool, main
from .loop import POINTS, Loop

with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # it greets on stdout
    import pyvene  # pyright: ignore[reportMissingImports]


class Config:
    """What pyvene looks for in a model's `config`."""

    def to_dict(self) -> dict[str, Any]:
        """Return no settings."""
        return {}


def opened(loop: Loop, interventions: Sequence[tuple[str, Any]]) -> pyvene.IntervenableModel:
    """Return the loop with an intervention at the output of each sub-module named."""
    vars(loop)["config"] = Config()
    sites = [{"component": f"{where}.output", "intervention": what} for where, what in interventions]
    return pyvene.IntervenableModel(pyvene.IntervenableConfig(sites), model=loop)


def collect(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Collect at every visit of the one step module."""
    model = opened(Loop(lstm), [(f"steps[0].{point}", pyvene.CollectIntervention()) for point in POINTS])

    def call(x: Tensor) -> Sequence[Tensor]:
        (_, kept), _ = model({"x": x})
        return [torch.stack(kept[n * length : (n + 1) * length]).transpose(0, 1) for n in range(len(POINTS))]

    return call


def states(counter: Counter, length: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what collects h and c at every step, (time, batch, unit)."""
    model = opened(Loop(counter), [(f"steps[0].{point}", pyvene.CollectIntervention()) for point in "hc"])

    def call(x: Tensor) -> tuple[Tensor, Tensor]:
        (_, kept), _ = model({"x": x})
        return torch.stack(kept[:length]), torch.stack(kept[length:])

    return call


def one_by_one(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """An interchange for each edit, its unit as the subspace, the source's values passed in."""
    collected = states(counter, length)
    models = [opened(Loop(counter, length), [(f"steps[{t}].c", pyvene.VanillaIntervention())]) for t in range(length)]

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = collected(source)
        logits = []
        for model, value in zip(models, values, strict=True):
            for unit in range(values.shape[2]):
                _, answer = model(
                    {"x": x}, source_representations=value, subspaces=[[[unit]] * len(x)], unit_locations=None
                )
                logits.append(answer)
        return torch.stack(logits)

    return call


class Patch:
    """The function of an intervention: puts in what it was given last."""

    def __init__(self) -> None:
        self.values = torch.empty(0)

    def at(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """Return it as the plain function that pyvene wants."""
        return lambda base, source: put(base, self.values)


def batched(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A function as the intervention of each step, the units in its batch."""
    collected, patch = states(counter, length), Patch()
    models = [opened(Loop(counter, length), [(f"steps[{t}].c", patch.at())]) for t in range(length)]

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = collected(source)
        units = values.shape[2]
        batch = rows(x, units)
        logits = []
        for model, patch.values in zip(models, values, strict=True):
            _, answer = model({"x": batch})
            logits.append(answer.view(units, len(x), -1))
        return torch.cat(logits)

    return call


def resumed(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, and each run starts at its step, from states that the user recorded."""
    collected, patch = states(counter, length), Patch()
    models = [opened(Loop(counter, length), [(f"steps[{t}].c", patch.at())]) for t in range(length)]

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = collected(source)
        h, c = collected(x)
        logits = []
        for t, (model, patch.values) in enumerate(zip(models, values, strict=True)):
            _, answer = model(start_of(t, x, h, c))
            logits.append(answer.view(h.shape[2], len(x), -1))
        return torch.cat(logits)

    return call


TOOL = Tool(
    {"CollectIntervention": collect},
    {
        "an interchange an edit": one_by_one,
        "a step's units in a batch": batched,
        "batched and resumed by hand": resumed,
    },
)

if __name__ == "__main__":
    main(TOOL)
