"""A layer that loops over its step, for tests of unusual ones, and what each of them must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import Step
from probe.recurrent.steps import registry
from probe.testing import check_step

ROWS, TIME, FEATURES, UNITS = 4, 10, 3, 5


class Layer(nn.Module):
    """A loop over `advanced`, which the layers below change: (input, state) to (output, next state)."""

    def __init__(self) -> None:
        super().__init__()
        self.enters, self.back, self.out = nn.Linear(FEATURES, UNITS), nn.Linear(UNITS, UNITS), nn.Linear(UNITS, 2)

    def first(self, rows: int) -> Any:
        """Return the state before the first step."""
        return torch.zeros(rows, UNITS)

    def moved(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next hidden state."""
        return torch.tanh(self.enters(x) + self.back(h))

    def advanced(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        h = self.moved(x, state)
        return self.out(h), h

    def looped(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the outputs, (batch, time, number), and the last state."""
        outputs = []
        for now in x.unbind(1):
            y, state = self.advanced(now, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state

    def forward(self, x: Tensor) -> Any:
        """Return the outputs."""
        return self.looped(x, self.first(len(x)))[0]


class LayerStep(Step):
    """Its step."""

    def inputs(self, x: Tensor) -> Tensor:
        """Return the sequences."""
        return x

    def initial(self, batch: int) -> Any:
        """Return the first state."""
        return self.module.first(batch)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        return self.module.advanced(x, state)


def noting(rows: list[Any]) -> Callable[..., Any]:
    """Return a decorator that notes a right step: of which layer, called with what beside (batch, time, feature)."""

    def right(layer: type[nn.Module], inputs: Any = None, **keywords: Any) -> Any:
        def note(step: type[Step]) -> type[Step]:
            rows.append(pytest.param(layer, step, inputs, keywords, id=step.__name__.strip("_")))
            return step

        return note

    return right


def check_right(layer: type[nn.Module], step: type[Step], inputs: Any, keywords: dict[str, Any]) -> None:
    """Check that a step passes, and that recording, an edit and a sweep of every part of its state agree."""
    torch.manual_seed(1)
    module: nn.Module = layer().eval()
    given = (torch.randn(ROWS, TIME, FEATURES),) if inputs is None else inputs()
    found = check_step(step, module, *given, **keywords)
    assert max(found.stepwise, found.spliced, found.gradient) < 1e-5
    had = dict(registry._registered)
    probe.register(layer, step)
    try:
        _check_edits(module, step, given, keywords)
    finally:
        registry._registered.clear()
        registry._registered.update(had)


def _check_edits(module: nn.Module, step: type[Step], given: Any, keywords: dict[str, Any]) -> None:
    recording = probe.record(module, *given, kwargs=keywords)
    gauges = [step.names.get(path, path) for path in step.gauges]
    axis = 1 if given and given[0].shape[0] == TIME else 0
    for signal in [one for one in recording.parts[0].signals if one not in ("output", *gauges)]:
        if not recording[signal].numel():
            continue
        values = recording[signal]
        edit = probe.patch(signal, recording, steps=3, source_rows=[1, 2, 3, 0])
        if torch.equal(values[0], values[1]):
            edit = probe.clamp(signal, 9.0, steps=3)  # all rows have counted to one number
        one = first_of(probe.record(module, *given, kwargs=keywords, edits=[edit]).output)
        swept = first_of(probe.sweep(module, *given, kwargs=keywords, edits=[edit], batch_axis=axis))
        assert torch.equal(swept[0], one)
        assert not torch.equal(one, first_of(recording.output))


def first_of(returned: Any) -> Tensor:
    """Return the outputs."""
    return returned[0] if isinstance(returned, tuple) else returned
