"""What `recording_size` says before a run is what a recording keeps, and what would not fit is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError, Signal, Step
from probe.hooks import memory
from probe.recurrent.steps import registry

ROWS, TIME = 3, 7


class Turning(nn.Module):
    """A state of complex numbers, (unit, 2), in a layer that reads whole sequences; it counts its calls."""

    calls = 0

    def __init__(self, size: int = 4, units: int = 5) -> None:
        super().__init__()
        self.v, self.o, self.units = nn.Linear(size, 2 * units), nn.Linear(2 * units, size), units

    def added(self, x: Tensor) -> Tensor:
        """Return what an input adds to the state."""
        return self.v(x).unflatten(-1, (self.units, 2)).to(torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, time, input)."""
        Turning.calls += 1
        return self.o(self.added(x).cumsum(1).real.flatten(-2))


class TurningStep(Step):
    """Its step."""

    names = {"state": "memory"}  # noqa: RUF012

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the input."""
        return arguments[0]

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        return torch.zeros(batch, self.module.units, 2, dtype=torch.complex64)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        state = state + self.module.added(x)
        return self.module.o(state.real.flatten(-2)), state


@pytest.fixture
def model() -> Iterator[nn.Module]:
    """Return two such layers with torch's LSTM between them."""
    probe.register(Turning, TurningStep)

    class Model(nn.Module):
        """Calls one after the other."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.rnn, self.last = Turning(), nn.LSTM(4, 4, batch_first=True), Turning(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            """Return the outputs of the last one."""
            return self.last(self.rnn(self.first(x))[0])

    torch.manual_seed(0)
    yield Model()
    registry._registered.pop(Turning, None)


def kept(recording: probe.Recording) -> dict[str, int]:
    """Return the bytes of each signal that a recording holds."""
    found: dict[str, int] = {}
    for part in recording.parts:
        for signal, value in part.signals.items():
            found[signal] = found.get(signal, 0) + value.numel() * value.element_size()
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"signals": Signal},
        {"signals": ["memory", "cell_state"]},
        {"layers": ["rnn[0]", "last"]},
        {"layers": ["last"], "signals": ["memory"]},
    ],
)
def test_what_is_said_is_what_is_kept(model: nn.Module, options: dict[str, Any]) -> None:
    """Each signal to the byte, complex ones and those of several layers too; an output is said to be untold."""
    said = probe.inspect(model).recording_size(ROWS, TIME, **options)
    found = kept(probe.record(model, torch.randn(ROWS, TIME, 4), **options))
    output = found.pop("output", 0)
    assert said.signals == found
    assert said.total == sum(found.values())
    assert bool(said.untold) == bool(output)


def test_the_formula(model: nn.Module) -> None:
    """Steps x rows x numbers x bytes of a number, added up over layers; and it can be read."""
    said = probe.inspect(model).recording_size(20, 512)
    assert said.signals[Signal("memory")] == 512 * 20 * (10 + 12) * 8
    assert said.signals[Signal.CELL_STATE] == 512 * 20 * 4 * 4
    assert str(said).splitlines()[0] == "20 rows of 512 steps: 2.79 MB"
    assert "  memory: 1.8 MB" in str(said).splitlines()
    assert "  output: only a call tells, in 2 layers" in str(said).splitlines()


def test_half_of_the_numbers_take_half() -> None:
    """In double precision twice as much, and a cell in a loop is not left out in silence."""
    one, two = (probe.inspect(lstm).recording_size(1, 1).total for lstm in (nn.LSTM(3, 5), nn.LSTM(3, 5).double()))
    assert two == 2 * one == 2 * 6 * 5 * 4

    class Cell(nn.Module):
        """A cell of one's own."""

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            """Return the next state."""
            return x + h

    class Model(nn.Module):
        """A loop over it."""

        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell()

        def forward(self, x: Tensor) -> Tensor:
            """Return the last state."""
            h = x[:, 0]
            for now in x.unbind(1):
                h = self.cell(now, h)
            return h

    assert "only a call tells, in 1 layer" in str(probe.inspect(Model()).recording_size(1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signals": ["memmory"]}, "There is no signal 'memmory'"),
        ({"layers": ["third"]}, "There is no layer 'third'"),
        ({"signals": "memory"}, r"must be several names: signals=\['memory'\]"),
        ({"rows": -1}, "rows=-1 must be a whole number"),
        ({"steps": True}, "steps=True must be a whole number"),
    ],
)
def test_what_does_not_exist_is_named(model: nn.Module, options: dict[str, Any], message: str) -> None:
    """Signals, layers, and numbers that are none."""
    given: dict[str, Any] = {"rows": 1, "steps": 1} | options
    with pytest.raises(ProbeError, match=message):
        _ = probe.inspect(model).recording_size(**given)


def test_all_layers_are_refused_at_the_first_ones_call(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one layer takes would fit, and both together would not: the first call says so, before the second."""
    said = probe.inspect(model).recording_size(ROWS, TIME, signals=["memory"])
    x = torch.randn(ROWS, TIME, 4)
    monkeypatch.setattr(memory, "ASK_FROM", 1)
    first = probe.inspect(model).recording_size(ROWS, TIME, signals=["memory"], layers=["first"])
    # One layer is there twice while it is opened.
    for free, fits in ((2 * said.total, True), (first.total + said.total - 1, False), (2 * first.total, False)):
        monkeypatch.setattr(memory, "free", lambda _, free=free: free)
        before = Turning.calls
        if fits:
            _ = probe.record(model, x, signals=["memory"])
            continue
        with pytest.raises(
            ProbeError, match=r"on cpu, the 1 layer still to be called included, and .* with signals="
        ):
            _ = probe.record(model, x, signals=["memory"])
        assert Turning.calls == before + 1
        _ = probe.record(model, x, signals=["memory"], layers=["first"])
