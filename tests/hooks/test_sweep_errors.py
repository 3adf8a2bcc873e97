"""What `probe.sweep` refuses, and that nothing of it stays on a model then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import ProbeError
from probe.recurrent.finding import find_layers

BATCH, TIME, INPUTS, UNITS = 4, 7, 3, 5


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does."""
    with torch.no_grad():
        yield


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, INPUTS)


class Around(nn.Module):
    """A recurrent module inside a model: `body(self, *inputs)` is its forward pass."""

    def __init__(self, body: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.times_called = 0
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Any) -> Any:
        """Run the body."""
        self.times_called += 1
        return self.body(self, *inputs)


def lstm(inputs: int = INPUTS, **options: Any) -> nn.LSTM:
    """Return an LSTM, batch first."""
    return nn.LSTM(inputs, UNITS, batch_first=True, **options)


def hidden(change: Callable[[Tensor], Any] = lambda h: h) -> Around:
    """Return a model of one LSTM whose hidden states are changed before they are returned."""
    return Around(lambda self, x: change(self.rnn(x)[0]), rnn=lstm())


def some(signal: str = "hidden_state", **options: Any) -> list[probe.Edit]:
    """Return edits at the first step, in the middle, at several steps, at all, and at the last one."""
    places: list[Any] = [0, 3, [2, 5], None, -1]
    return [probe.clamp(signal, 0.3 * n - 0.5, steps=steps, **options) for n, steps in enumerate(places)]


def untouched(model: nn.Module) -> bool:
    """Return whether nothing of a sweep is left on a model."""
    return not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def loop(self: Any, x: Tensor) -> Tensor:
    """Call a cell in a loop, for two rows a row of the input."""
    state, outputs = None, []
    for step in torch.cat([x, -x], 1).reshape(-1, *x.shape[1:]).unbind(1):
        state = self.cell(step) if state is None else self.cell(step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, 1).reshape(len(x), -1, UNITS)


class Doubled(nn.LSTM):
    """An LSTM with a forward of its own, which its weights do not tell."""

    def forward(self, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run on twice the input."""
        return super().forward(2 * x)


@dataclass
class Opaque:
    """An output that nobody can look into."""

    h: Tensor


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch norm": (
        lambda: Around(lambda m, x: m.norm(m.rnn(x)[0][:, -1]), rnn=lstm(), norm=nn.BatchNorm1d(UNITS)),
        "rows",
    ),
    "dropout between layers": (lambda: lstm(num_layers=2, dropout=0.5), "drops out between its layers"),
    "dropout": (lambda: hidden(nn.Dropout(0.5)), "draws random numbers"),
    "loss": (lambda: hidden(torch.mean), "does not grow with the batch"),
    "centred": (lambda: hidden(lambda h: h - h.mean(0)), "other rows are left out"),
    "centred beside inf": (
        lambda: hidden(lambda h: torch.cat([h - h.mean(0), h.new_full((*h.shape[:2], 1), -torch.inf)], 2)),
        "other rows are left out",
    ),
    "mixed bools": (lambda: hidden(lambda h: h > h.mean(0)), "other rows are left out"),
    "number": (lambda: hidden(lambda h: (h, float(h.mean()))), "float that is not the same"),
    "other form": (lambda: hidden(lambda h: (h,) * len(h)), "tuple that is not the same"),
    "object": (lambda: hidden(Opaque), "Opaque"),
    "time first": (lambda: Around(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(INPUTS, UNITS)), "batch is another axis"),
    "own forward": (
        lambda: Doubled(INPUTS, UNITS, batch_first=True),
        r"has a forward of its own \(.*Doubled\.forward\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_models(name: str, x: Tensor) -> None:
    """A model whose rows depend on each other, or whose output nobody can take apart, is refused."""
    make, message = REFUSED[name]
    model = make()
    first = find_layers(model)[0].name
    with pytest.raises(ProbeError, match=message):
        probe.sweep(model, x, edits=some(layer=first))
    assert untouched(model)


@pytest.mark.parametrize("inside", [False, True])
def test_a_replaced_forward_is_refused(inside: bool, x: Tensor) -> None:
    """A forward that somebody else put on the module is neither used nor removed."""
    model = hidden()
    rnn: Any = model.rnn
    rnn.forward = rnn.forward
    with refused():
        probe.sweep(model if inside else rnn, x, edits=some())
    assert "forward" in vars(rnn)


@pytest.mark.parametrize(
    "options",
    [
        {"edits": []},
        {"memory": 0},
        {"memory": True},
        {"edits": some(layer="rmm[0]")},
        {"edits": some(units=[UNITS])},
        {"edits": some("update_gate")},
    ],
)
def test_refused_before_the_model_runs(options: dict[str, Any], x: Tensor) -> None:
    """Wrong arguments raise before anything is called."""
    model = hidden()
    given: dict[str, Any] = {"edits": some()} | options
    with refused():
        probe.sweep(model, x, **given)
    assert model.times_called == 0
    assert untouched(model)


def test_what_is_no_list_of_edits_is_named() -> None:
    """One edit alone, and what is no edit, are refused by name, where no annotation is checked."""
    code = """
import probe, torch
for edits in (probe.clamp("hidden_state", 0.0), [3]):
    try:
        probe.sweep(torch.nn.GRU(3, 5), torch.randn(7, 4, 3), edits=edits)
    except probe.ProbeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.sep, check=True)
    assert done.stdout.splitlines() == [
        "edits is a Clamp and must be several edits: edits=[probe.clamp(...)].",
        "An edit is made by probe.clamp, ablate, patch, steer or edit; this is a int.",
    ]


@pytest.mark.parametrize(
    "edit",
    [
        probe.clamp("hidden_state", 0.0, call=1),
        probe.clamp("hidden_state", 0.0, steps=TIME),
        probe.clamp("hidden_state", 0.0, rows=[BATCH]),
    ],
)
def test_places_that_never_come(edit: probe.Edit, x: Tensor) -> None:
    """A call, a step or a row beyond what happens raises, though other edits would do."""
    model = hidden()
    with refused():
        probe.sweep(model, x, edits=[*some(), edit])
    assert untouched(model)


@pytest.mark.parametrize("where", [{"steps": TIME}, {"steps": -1}, {"call": 2}])
def test_steps_of_cells_that_never_come(where: dict[str, Any], x: Tensor) -> None:
    """A cell that is not called as often as an edit waits for raises, instead of an output without the edit."""
    model = Around(loop, cell=nn.GRUCell(INPUTS, UNITS))
    with refused():
        probe.sweep(model, x, edits=[probe.clamp("hidden_state", 0.4), probe.clamp("hidden_state", 0.4, **where)])
    assert untouched(model)


def test_inputs_without_a_batch(x: Tensor) -> None:
    """A PackedSequence, an input of two axes and no tensor at all are refused by name."""
    packed = pack_padded_sequence(x, torch.tensor([7, 6, 5, 4]), batch_first=True)
    for given in (packed, x[0], 3):
        with refused():
            probe.sweep(lstm(), given, edits=some())


def test_a_model_that_fails_is_left_as_found(x: Tensor) -> None:
    """An error of the model's own in the middle of a turn is told and kept, and nothing stays on the model."""

    def fail_later(self: Any, x: Tensor) -> Tensor:
        h = self.rnn(x)[0]
        if len(h) > BATCH:
            raise RuntimeError("too many rows")
        return h

    model = Around(fail_later, rnn=lstm())
    with refused() as caught:
        probe.sweep(model, x, edits=some())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert untouched(model)
