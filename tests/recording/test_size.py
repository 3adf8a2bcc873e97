"""How a layer is opened, what its recording takes, and what the model answers meanwhile.

- What `recording_size` says before a run is what a recording keeps, and what would not fit is refused at once.
- An LSTM is opened to the same values whether steps are taken one by one or in stretches, whatever is kept.
- What a model answers to sequences of several lengths, whatever runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from known_machines import READ, Reader
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Signal, Step
from probe.hooks import memory
from probe.methods.outputs import answers_by_length
from probe.recurrent.cells import cell, scan
from probe.recurrent.finding import find_layers
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
    "options", [{"signals": ["memmory"]}, {"layers": ["third"]}, {"signals": "memory"}, {"rows": -1}, {"steps": True}]
)
def test_a_signal_that_does_not_exist_is_named(model: nn.Module, options: dict[str, Any]) -> None:
    """Signals, layers, and numbers that are none."""
    given: dict[str, Any] = {"rows": 1, "steps": 1} | options
    with refused():
        _ = probe.inspect(model).recording_size(**given)


def test_all_layers_are_refused_at_the_first_ones_call(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one layer takes would fit, and both together would not: the first call says so, before the second."""
    said = probe.inspect(model).recording_size(ROWS, TIME, signals=["memory"])
    x = torch.randn(ROWS, TIME, 4)
    monkeypatch.setattr(memory, "ASK_FROM", 1)
    first = probe.inspect(model).recording_size(ROWS, TIME, signals=["memory"], layers=["first"])
    for free, fits in ((said.total, True), (said.total - 1, False), (first.total, False)):
        monkeypatch.setattr(memory, "free", lambda _, free=free: free)
        before = Turning.calls
        if fits:
            _ = probe.record(model, x, signals=["memory"])
            continue
        with refused():
            _ = probe.record(model, x, signals=["memory"])
        assert Turning.calls == before + 1
        _ = probe.record(model, x, signals=["memory"], layers=["first"])


def drawn(time: int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is written, forget gates of which some are 0 and some 1, and a state to begin with."""
    generator = torch.Generator().manual_seed(time)
    written, f = torch.randn(2, time, 3, 5, generator=generator, dtype=torch.float64)
    f = (4 * f).sigmoid()
    f[:, 0], f[:, 1, 0], f[::3, 2] = 1e-9, 1, 0
    return written.to(dtype), f.to(dtype), torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype)


def one_by_one(written: Tensor, f: Tensor, c: Tensor) -> Tensor:
    """Return c at every step, in float64."""
    states, c = [], c.double()
    for now, forgotten in zip(written.double(), f.double(), strict=True):
        c = forgotten * c + now
        states.append(c)
    return torch.stack(states)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("time", [1, 2, 63, 64, 65, 80, 81, 1000])
def test_every_length_gives_what_single_steps_give(time: int, turned: bool) -> None:
    """Stretches that do not divide the steps too, and arrays with the units first in memory."""
    written, f, c = drawn(time)
    wanted = one_by_one(written, f, c)
    if turned:
        written, f = (array.permute(2, 0, 1).contiguous().permute(1, 2, 0) for array in (written, f))
    before = f.clone()
    last = scan.scan(written, f, c, bounded=True)
    torch.testing.assert_close(written.double(), wanted, rtol=1e-5, atol=1e-5)  # as far as single steps in float32
    assert torch.equal(last, written[-1])
    assert torch.equal(f, before)


def test_stretches_are_taken_where_steps_are_many_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 alone, and where products of f stay finite: all else is one step after the other, to the bit."""
    taken: list[int] = []
    stretches = scan._scan_stretches
    monkeypatch.setattr(scan, "_scan_stretches", lambda *given: taken.append(len(given[0])) or stretches(*given))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for time, bounded in ((63, True), (64, False), (64, True)):
            written, f, c = drawn(time, dtype=dtype)
            wanted, own = c, written.clone()
            _ = scan.scan(own, f, c, bounded=bounded)
            if taken:
                assert (dtype, time, bounded) == (torch.float32, 64, True)
                assert taken.pop() == 64
                continue
            assert (dtype, time, bounded) != (torch.float32, 64, True)
            for t in range(time):
                wanted = f[t] * wanted + written[t]
                assert torch.equal(own[t], wanted)


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("place", [-1, 0, 40, 199])
def test_a_number_that_is_none_reaches_all_later_steps_of_its_unit(place: int, number: str) -> None:
    """NaN goes on as in single steps, from the state before them and from one of them, and nobody is warned."""
    written, f, c = drawn(200)
    if place < 0:
        c[1, 2] = float(number)
    else:
        written[place, 1, 2] = float(number)
    wanted = one_by_one(written, f, c).isfinite()
    _ = scan.scan(written, f, c, bounded=True)
    assert torch.equal(written.isfinite(), wanted)
    assert not wanted.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("projected", [0, 3])
@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 70, 5), (300, 4, 12), (3, 70, 33), (1, 2, 20)])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_no_bit_depends_on_what_is_kept(
    shape: tuple[int, int, int], projected: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal alone is what it is beside all others, in one stretch and in several."""
    batch, time, units = shape
    layer, x = nn.LSTM(3, units, proj_size=projected).to(dtype), torch.randn(time, batch, 3, dtype=dtype)
    for chunk in (cell.CHUNK, 4 * units * batch * max(1, time // 3)):
        monkeypatch.setattr(cell, "CHUNK", chunk)
        whole = probe.record(layer, x, signals=Signal).parts[0].signals
        for signal, value in whole.items():
            assert torch.equal(probe.record(layer, x, signals=[signal])[signal], value)
            assert torch.equal(probe.record(layer, x, signals=[signal], check=False)[signal], value)


@pytest.mark.parametrize("units", [12, 20])
@pytest.mark.parametrize("steps_at_once", [1, 5])
def test_another_hidden_state_is_seen_at_its_step(
    units: int, steps_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few units lie otherwise in memory than many; in both, one changed number is an error of its step and row."""
    monkeypatch.setattr(cell, "CHUNK", 4 * units * 2 * steps_at_once)
    (layer,) = find_layers(nn.LSTM(3, units))
    x, zeros = torch.randn(5, 2, 3), torch.zeros(2, units)
    with torch.no_grad():
        h = layer.module(x)[0]
        h[4, 1, 7] += 0.5
        initial = {Signal.HIDDEN_STATE: zeros, Signal.CELL_STATE: zeros}
        _, errors, _ = layer.cell.open(x, h, initial, (Signal.INPUT_GATE,))
    assert errors[4, 1].item() == pytest.approx(0.5, abs=1e-5)
    errors[4, 1] = 0
    assert errors.max() < 1e-5


GENERATOR = torch.Generator().manual_seed(3)
#: The longer sequences are more than run together.
ASKED = {length: torch.randn(rows, length, 2, generator=GENERATOR) for length, rows in ((4, 300), (6, 1500))}


class Every(Reader):
    """Read off the mean over steps, and off the last cell state too; the layer starts from a state of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        start = x.new_full((1, len(x), 3), 0.5)
        h, (_, c) = self.rnn(x, (start, -start))
        return self.head(h.mean(1) + c[0])


class Packed(Reader):
    """Reads packed sequences."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        lengths = torch.full((len(x),), x.shape[1])
        return self.head(self.rnn(pack_padded_sequence(x, lengths, batch_first=True))[1][0][0])


class Summed(nn.Module):
    """No recurrent layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return torch.cat([x.sum(1), x.prod(1), x.amax(1)], 1)


@pytest.mark.parametrize(
    "model",
    [Reader("lstm"), Every("lstm"), Reader("gru"), Packed("lstm"), Summed()],
    ids=["LSTM", "every step and the cell state", "GRU", "packed", "no layer"],
)
def test_answers_are_those_of_the_model_as_it_is(model: nn.Module) -> None:
    """In float64, for each length, to 1e-12; the model itself stays in float32."""
    given, shown = answers_by_length(model, ASKED, READ["answer"], READ["expected"])
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    with torch.no_grad():
        outputs = {length: model.double()(x.double()) for length, x in ASKED.items()}
    for length, output in outputs.items():
        assert given[length].tolist() == READ["answer"](output).tolist()
        assert shown[length].tolist() == pytest.approx(READ["expected"](output).tolist(), abs=1e-12)
