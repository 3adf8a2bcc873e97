"""nnsight on the rewritten loop.

Rewrite: the LSTM as a Python loop over one step module with a sub-module for each of i f g o c h. nnsight reaches the
visits of a module one by one, so recording needs no unrolled loop. The sweep names the step by its own module, and
puts a row of strings for each unit into one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import nnsight  # pyright: ignore[reportMissingImports]
import torch
from torch import Tensor, arange, nn

from ..by_hand import Counter
from .harness import Tool, main
from .loop import POINTS, Loop


def read(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Read the outputs of the step's sub-modules at each visit."""
    model = nnsight.NNsight(Loop(lstm))
    step = model.steps[0]

    def call(x: Tensor) -> Sequence[Tensor]:
        with model.trace(x) as tracer:
            kept = nnsight.save([])
            for _ in tracer.iter[:length]:
                kept.append(
                    [step.i.output, step.f.output, step.g.output, step.o.output, step.c.output, step.h.output]
                )
        return [torch.stack(values).transpose(0, 1) for values in zip(*kept, strict=True)]

    return call


def cached(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Let `tracer.cache` keep every visit."""
    model = nnsight.NNsight(Loop(lstm))
    modules = [getattr(model.steps[0], point) for point in POINTS]

    def call(x: Tensor) -> Sequence[Tensor]:
        with model.trace(x) as tracer:
            cache = tracer.cache(modules=modules, device=None, detach=False)
        return [torch.stack(cache[module.path].output).transpose(0, 1) for module in modules]

    return call


def states(model: nnsight.NNsight, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return h and c at every step, (time, batch, unit)."""
    with model.trace(x):
        kept = nnsight.save([])
        for t in range(length):
            kept.append((model.steps[t].c.output, model.steps[t].h.output))
    cells, hidden = zip(*kept, strict=True)
    return torch.stack(hidden), torch.stack(cells)


def put(c: Tensor, values: Tensor) -> Tensor:
    """Write into the unit-th block of rows its unit's values, in place.

    Args:
        c: cell states, (unit x batch, unit).
        values: what is put in, (batch, unit).
    """
    units = c.shape[1]
    every = arange(units)
    c.view(units, -1, units)[every, :, every] = values.T
    return c


def rows(x: Tensor, units: int) -> Tensor:
    """Return a batch once for each unit, (unit x batch, ...)."""
    return x.repeat(units, *[1] * (x.dim() - 1))


def start_of(t: int, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor | int | None]:
    """Return the arguments with which the loop runs every unit's rows from a step on.

    Args:
        t: the first step.
        x: inputs of the loop, (batch, time, feature).
        h: its hidden states at every step, (time, batch, unit).
        c: its cell states.
    """
    units = h.shape[2]
    states = {"h": rows(h[t - 1], units), "c": rows(c[t - 1], units)} if t else {"h": None, "c": None}
    return {"x": rows(x, units), "start": t} | states


def resumed(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A trace for each step, the units in its batch, which starts there from states that the user recorded."""
    model = nnsight.NNsight(Loop(counter, length))

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = states(model, source, length)
        h, c = states(model, x, length)
        logits = []
        for t in range(length):
            with model.trace(**start_of(t, x, h, c)):
                put(model.steps[t].c.output, values[t])
                answer = model.output.save()
            logits.append(answer.view(h.shape[2], len(x), -1))
        return torch.cat(logits)

    return call


TOOL = Tool(
    {"outputs read at each visit": read, "tracer.cache": cached},
    {"batched and resumed by hand": resumed},
)

if __name__ == "__main__":
    main(TOOL)
