"""nnsight on the rewritten loop.

Rewrite: the LSTM as a Python loop over one step module with a sub-module for each of i f g o c h. nnsight reaches the
visits of a module one by one, so recording needs no unrolled loop. The sweep names the step by its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import nnsight  # pyright: ignore[reportMissingImports]
import torch
from torch import Tensor, nn

from ..by_hand import Counter
from .batched import put, rows, start_of
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


def one_by_one(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A trace for each edit."""
    model = nnsight.NNsight(Loop(counter, length))

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = states(model, source, length)
        logits = []
        for t in range(length):
            for unit in range(values.shape[2]):
                with model.trace(x):
                    model.steps[t].c.output[:, unit] = values[t][:, unit]
                    answer = model.output.save()
                logits.append(answer)
        return torch.stack(logits)

    return call


def batched(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A trace for each step, the units in its batch."""
    model = nnsight.NNsight(Loop(counter, length))

    def call(x: Tensor, source: Tensor) -> Tensor:
        _, values = states(model, source, length)
        units = values.shape[2]
        batch = rows(x, units)
        logits = []
        for t in range(length):
            with model.trace(batch):
                put(model.steps[t].c.output, values[t])
                answer = model.output.save()
            logits.append(answer.view(units, len(x), -1))
        return torch.cat(logits)

    return call


def resumed(counter: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, and each trace starts at its step, from states that the user recorded."""
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
    {"an edit a trace": one_by_one, "a step's units in a batch": batched, "batched and resumed by hand": resumed},
)

if __name__ == "__main__":
    main(TOOL)
