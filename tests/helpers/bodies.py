"""Models made of a body and parts, and how a sweep of edits is compared with a run of each edit alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import probe
from probe.recurrent.rows.batches import map_tensors

BATCH, TIME, INPUTS, UNITS = 4, 7, 3, 5


class Model(nn.Module):
    """Modules and other attributes, and a forward pass: `body(self, *inputs)`."""

    def __init__(self, body: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.body, self.times_called = body, 0
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the body."""
        self.times_called += 1
        return self.body(self, *inputs, **named)


def lstm(inputs: int = INPUTS, **options: Any) -> nn.LSTM:
    """Return an LSTM, batch first."""
    return nn.LSTM(inputs, UNITS, batch_first=True, **options)


def hidden(change: Callable[[Tensor], Any] = lambda h: h, rnn: nn.Module | None = None) -> Model:
    """Return a model of one LSTM, or of another layer, whose hidden states are changed before they are returned."""
    return Model(lambda m, x: change(m.rnn(x)[0]), rnn=rnn or lstm())


def loop(self: Any, x: Tensor) -> Tensor:
    """Call `self.cell` at each step, and return the hidden states, (batch, time, unit)."""
    state, outputs = None, []
    for step in x.unbind(1):
        state = self.cell(step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, 1)


def noise(like: Tensor, seed: int | None = None) -> Tensor:
    """Return noise for each row, from a generator that has a seed, or from torch's own."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(len(like), *(1 for _ in like.shape[1:]), generator=generator, dtype=like.dtype)


def seeded(h: Tensor) -> Tensor:
    """Add the same noise in each call."""
    _ = torch.manual_seed(3)
    return h + noise(h)


def negatives(h: Tensor) -> Tensor:
    """Attend over the rows of the batch."""
    flat = h.flatten(1)
    return ((0.1 * flat @ flat.T).softmax(1) @ flat).view_as(h)


#: What makes the rows of a batch depend on each other, on their place or on chance.
TOGETHER: dict[str, Callable[[Tensor], Tensor]] = {
    "roll": lambda h: h + h.roll(1, 0),
    "little roll": lambda h: h + 1e-2 * h.roll(-1, 0),
    "centred": lambda h: h - h.mean(0),
    "largest": lambda h: h / h.abs().max(),
    "over 1": lambda h: h / h.abs().max().clamp(min=1.0),
    "first": lambda h: h - h[:1],
    "last row": lambda h: h * h[-1:],
    "cumulated": lambda h: h.cumsum(0),
    "rows": lambda h: h / len(h),
    "number": lambda h: h + 0.1 * torch.arange(len(h), dtype=h.dtype).view(-1, *(1 for _ in h.shape[1:])),
    "sorted": lambda h: h.sort(0)[0],
    "negatives": negatives,
    "pairs": lambda h: h + h.view(len(h) // 2, 2, *h.shape[1:]).flip(1).view_as(h) if len(h) % 2 == 0 else h,
    "own noise": lambda h: h + noise(h, 0),
    "seeded": seeded,
    "noise": lambda h: h + noise(h),
    "dropout": lambda h: nn.functional.dropout(h, 0.2),
}


def some(signal: str = "hidden_state", **options: Any) -> list[probe.Edit]:
    """Return edits at the first step, in the middle, at several steps, at all, and at the last one."""
    places: list[Any] = [0, 3, [2, 5], None, -1]
    return [probe.clamp(signal, 0.3 * n - 0.5, steps=steps, **options) for n, steps in enumerate(places)]


def untouched(model: nn.Module) -> bool:
    """Return whether nothing of a context is left on a model."""
    return not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def agree(model: nn.Module, *inputs: Any, edits: list[probe.Edit], exact: float = 1e-12, **options: Any) -> Any:
    """Assert that a sweep gives what each edit gives in a run of its own, which differ; return it."""
    swept = probe.sweep(model, *inputs, edits=edits, **options)
    single = [probe.record(model, *inputs, edits=[edit], kwargs=options.get("kwargs")).output for edit in edits]
    differ: list[bool] = []

    def compare(many: Tensor, *ones: Tensor) -> None:
        expected = torch.stack(ones)
        assert (many.shape, many.dtype) == (expected.shape, expected.dtype)
        assert torch.allclose(many.double(), expected.double(), rtol=0, atol=exact)
        # The control arm: in another order they would not agree.
        differ.append(len(ones) > 1 and not torch.allclose(many.double().flip(0), expected.double(), atol=1e-6))

    map_tensors(compare, swept, *single)
    assert any(differ) or len(edits) == 1
    assert untouched(model)
    return swept


def alike(one: probe.Recording, two: probe.Recording, rounding: float = 1e-12) -> bool:
    """Return whether two recordings agree in everything, numbers to rounding."""
    found = [(one.steps, one.not_called, one.calls) == (two.steps, two.not_called, two.calls)]

    def compare(a: Tensor, b: Tensor) -> None:
        found.append(a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=rounding))

    map_tensors(compare, one.output, two.output)
    for a, b in zip(one.parts, two.parts, strict=True):
        found.append((a.layer, a.call, list(a.signals)) == (b.layer, b.call, list(b.signals)))
        held = ([dict(part.signals), dict(part.initial), part.inputs] for part in (a, b))
        map_tensors(compare, *held)
    return all(found)
