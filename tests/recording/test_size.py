"""How a layer is opened, what its recording takes, and what the model answers meanwhile.

- What `recording_size` says before a run is what a recording keeps, what is counted, and what would not fit is
  refused at once; what is free is what may be taken.
- An LSTM is opened to the same values whether steps are taken one by one or in stretches, whatever is kept.
- What a model answers to sequences of several lengths, whatever runs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from bodies import Model, loop
from cells_by_hand import Leaky
from known_machines import READ, Reader
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Signal, Step
from probe.hooks import memory
from probe.methods.outputs import answers_by_length
from probe.recurrent.calls import Call, read_call
from probe.recurrent.cells import cell, scan
from probe.recurrent.finding import find_layers
from probe.recurrent.layers import Layer
from probe.recurrent.steps import registry

ROWS, TIME = 3, 7


class Turning(nn.Module):
    """A state of complex numbers, (unit, 2), in a layer that reads whole sequences; it counts its calls."""

    calls = 0

    def __init__(self, units: int) -> None:
        super().__init__()
        self.v, self.o, self.units = nn.Linear(4, 2 * units), nn.Linear(2 * units, 4), units

    def added(self, x: Tensor) -> Tensor:
        """Return what an input adds to the state."""
        return self.v(x).unflatten(-1, (self.units, 2)).to(torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, time, input)."""
        Turning.calls += 1
        return self.o(self.added(x).cumsum(1).real.flatten(-2))


class TurningStep(Step):
    """Its step."""

    names: ClassVar = {"state": "memory"}

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
def model(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Return two such layers with torch's LSTM between them."""
    monkeypatch.setitem(registry._registered, Turning, TurningStep)
    rnn = nn.LSTM(4, 4, batch_first=True)
    return Model(lambda m, x: m.last(m.rnn(m.first(x))[0]), first=Turning(5), rnn=rnn, last=Turning(6))


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
    said, found = probe.inspect(model).recording_size(ROWS, TIME, **options), dict[str, int]()
    for part in probe.record(model, torch.randn(ROWS, TIME, 4), **options).parts:
        for signal, value in part.signals.items():
            found[signal] = found.get(signal, 0) + value.nbytes
    output = found.pop("output", 0)
    assert said.signals == found
    assert said.total == sum(found.values())
    assert bool(said.untold) == bool(output)


def test_what_is_said_can_be_read(model: nn.Module) -> None:
    """Megabytes, and what only a call tells: an output, and a cell in a loop, is not left out in silence."""
    lines = str(probe.inspect(model).recording_size(20, 512)).splitlines()
    assert lines[0] == "20 rows of 512 steps: 2.79 MB"
    assert "  memory: 1.8 MB" in lines
    assert "  output: only a call tells, in 2 layers" in lines
    assert "only a call tells, in 1 layer" in str(probe.inspect(Model(loop, cell=Leaky())).recording_size(1, 1))


@pytest.mark.parametrize(
    "options", [{"signals": ["memmory"]}, {"layers": ["third"]}, {"signals": "memory"}, {"rows": -1}, {"steps": True}]
)
def test_the_size_of_what_does_not_exist_is_refused(model: nn.Module, options: dict[str, Any]) -> None:
    """Signals, layers, and numbers that are none."""
    given: dict[str, Any] = {"rows": 1, "steps": 1} | options
    with refused():
        _ = probe.inspect(model).recording_size(**given)


def test_all_layers_are_refused_at_the_first_ones_call(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one layer takes would fit, and both together would not: the first call says so, before the second."""
    x, sizes = torch.randn(ROWS, TIME, 4), probe.inspect(model)
    both = sizes.recording_size(ROWS, TIME, signals=["memory"]).total
    first = sizes.recording_size(ROWS, TIME, signals=["memory"], layers=["first"]).total
    monkeypatch.setattr(memory, "ASK_FROM", 1)
    monkeypatch.setattr(memory, "free", lambda _: both)
    _ = probe.record(model, x, signals=["memory"])
    for free in (both - 1, first):
        monkeypatch.setattr(memory, "free", lambda _, free=free: free)
        before = Turning.calls
        with refused():
            _ = probe.record(model, x, signals=["memory"])
        assert Turning.calls == before + 1
        _ = probe.record(model, x, signals=["memory"], layers=["first"])


GB = 1_000_000_000


def opened(module: nn.Module, time: int = 1000, rows: int = 1000) -> tuple[Any, Call]:
    """Return the layers of a module and a call of it, whose numbers are never looked at."""
    layers = find_layers(module)
    return layers, read_call(layers, (torch.empty(1, 1, 3).expand(time, rows, 3),), {})


def request(layers: tuple[Layer, ...], *signals: str, **other: Any) -> memory.Request:
    """Return that some signals of every layer are kept, or all of them."""
    chosen = {layer: tuple(s for s in layer.signals if not signals or s in signals) for layer in layers}
    plain = {"steps": 1000, "dtype": None, "device": None, "differentiate": False, "later": {}}
    return memory.Request(chosen, **(plain | other))


def test_what_is_kept_is_added_up() -> None:
    """Layers x signals x units x steps x rows x bytes of a number, and as much for derivatives."""
    layers, call = opened(nn.LSTM(3, 8, 2))
    numbers = 2 * 10 * 8 * 1000 * 1000
    assert memory.kept(call, request(layers)) == numbers * 4
    assert memory.kept(call, request(layers[:1], "cell_state")) == numbers * 4 // 20
    assert memory.kept(call, request(layers, steps=1, dtype=torch.float16)) == numbers * 2 // 1000
    assert memory.kept(call, request(layers, differentiate=True)) == 2 * numbers * 4
    model = nn.GRU(3, 8, bidirectional=True)
    layers, call = opened(model, 20, 5)
    recording = probe.record(model, torch.randn(20, 5, 3), signals=layers[0].signals)
    held = sum(value.nbytes for part in recording.parts for value in part.signals.values())
    assert held == memory.kept(call, request(layers, steps=20))


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is kept, how much there is, and what takes less; little is not looked up."""
    layers, call = opened(nn.LSTM(3, 8))
    asked: list[str] = []
    monkeypatch.setattr(memory, "free", lambda device: asked.append(str(device)) or GB // 5)
    for wanted in (request(layers), request(layers, differentiate=True, device="cuda:0")):
        with refused():
            memory.check_fits(call, wanted)
    memory.check_fits(call, request(layers, "hidden_state"))
    assert set(asked) == {"cpu", "cuda:0"}
    asked.clear()
    memory.check_fits(opened(nn.LSTM(3, 8), 10, 10)[1], request(layers, steps=10))
    assert not asked


CACHED = "anon 1\ninactive_file 300\nactive_file 200\nfile 999\n"
#: The cgroup of a process, the files of /sys/fs/cgroup, and how many bytes are free there.
SYSTEMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "no limit": ("0::/", {}, 20 * GB),
    "a limit": ("0::/", {"memory.max": GB, "memory.high": "max", "memory.current": GB // 4}, 3 * GB // 4),
    "cached files": ("0::/", {"memory.max": GB, "memory.current": GB, "memory.stat": CACHED}, 500),
    "a lower one": (
        "0::/user/job",
        {"user/job/memory.max": 4 * GB, "user/job/memory.high": 2 * GB, "user/job/memory.current": GB},
        GB,
    ),
    "a limit around": (
        "0::/user/job",
        {"user/job/memory.max": "max", "user/memory.max": 2 * GB, "user/memory.current": GB // 2},
        3 * GB // 2,
    ),
    "more used than allowed": ("0::/", {"memory.max": 100, "memory.current": 200}, 0),
    "a path that is not mounted": ("0::/../../other", {"memory.max": GB, "memory.current": 0}, GB),
    "nonsense": ("\n::\nx\n0::/", {"memory.max": "\n\nmany", "memory.current": ""}, 20 * GB),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_limits_of_containers_are_read(name: str, tmp_path: Path) -> None:
    """What is free is the least of what the system has and what each cgroup around the process leaves."""
    cgroup, files, expected = SYSTEMS[name]
    texts = {"proc/self/cgroup": cgroup} | {f"sys/fs/cgroup/{path}": content for path, content in files.items()}
    for available in (20 * GB, 1024):
        for path, content in (
            texts | {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB"}
        ).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            _ = (tmp_path / path).write_text(f"{content}\n")
        assert memory.free("cpu", tmp_path) == min(available, expected)


def test_where_nobody_says_nothing_is_known(tmp_path: Path) -> None:
    """Without /proc, and on a device of another kind, a recording is not refused."""
    assert memory.free("cpu", tmp_path) is None
    assert memory.free("meta") is None


def drawn(time: int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is written, forget gates of which some are 0 and some 1, and a state to begin with."""
    generator = torch.Generator().manual_seed(time)
    written, f = torch.randn(2, time, 3, 5, generator=generator, dtype=torch.float64)
    f = (4 * f).sigmoid()
    f[:, 0], f[:, 1, 0], f[::3, 2] = 1e-9, 1, 0
    return written.to(dtype), f.to(dtype), torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype)


def one_by_one(written: Tensor, f: Tensor, c: Tensor) -> Tensor:
    """Return c at every step, as single steps give it in the type of the numbers."""
    states = []
    for now, forgotten in zip(written, f, strict=True):
        c = forgotten * c + now
        states.append(c)
    return torch.stack(states)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("time", [1, 2, 63, 64, 65, 80, 81, 1000])
def test_every_length_gives_what_single_steps_give(time: int, turned: bool) -> None:
    """Stretches that do not divide the steps too, and arrays with the units first in memory."""
    written, f, c = drawn(time)
    wanted = one_by_one(written.double(), f.double(), c.double())
    if turned:
        written, f = (array.permute(2, 0, 1).contiguous().permute(1, 2, 0) for array in (written, f))
    before = f.clone()
    last = scan.scan(written, f, c, bounded=True)
    torch.testing.assert_close(written.double(), wanted, rtol=1e-5, atol=1e-5)  # as far as single steps in float32
    assert torch.equal(last, written[-1])
    assert torch.equal(f, before)


@pytest.mark.parametrize(("time", "bounded"), [(63, True), (64, False), (64, True)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_stretches_are_taken_where_steps_are_many_and_small(
    dtype: torch.dtype, time: int, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 alone, and where products of f stay finite: all else is one step after the other, to the bit."""
    taken: list[int] = []
    stretches = scan._scan_stretches
    monkeypatch.setattr(scan, "_scan_stretches", lambda *given: taken.append(len(given[0])) or stretches(*given))
    written, f, c = drawn(time, dtype=dtype)
    wanted = one_by_one(written, f, c)
    _ = scan.scan(written, f, c, bounded=bounded)
    assert taken == [64] * ((dtype, time, bounded) == (torch.float32, 64, True))
    assert taken or torch.equal(written, wanted)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [-1, 0, 40, 199])
def test_a_number_that_is_none_reaches_all_later_steps_of_its_unit(place: int, number: float) -> None:
    """NaN goes on as in single steps, from the state before them and from one of them, and nobody is warned."""
    written, f, c = drawn(200)
    (c if place < 0 else written[place])[1, 2] = number
    wanted = one_by_one(written.double(), f.double(), c.double()).isfinite()
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
            for check in (True, False):
                assert torch.equal(probe.record(layer, x, signals=[signal], check=check)[signal], value)


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


def every(m: Any, x: Tensor) -> Tensor:
    """Read off the mean over steps, and off the last cell state too; the layer starts from a state of its own."""
    start = x.new_full((1, len(x), 3), 0.5)
    h, (_, c) = m.rnn(x, (start, -start))
    return m.head(h.mean(1) + c[0])


def packed(m: Any, x: Tensor) -> Tensor:
    """Read packed sequences."""
    lengths = torch.full((len(x),), x.shape[1])
    return m.head(m.rnn(pack_padded_sequence(x, lengths, batch_first=True))[1][0][0])


@pytest.mark.parametrize("body", [every, packed, lambda m, x: torch.cat([x.sum(1), x.prod(1), x.amax(1)], 1)])
def test_answers_are_those_of_the_model_as_it_is(body: Any) -> None:
    """In float64, for each length, to 1e-12; the model itself stays in float32."""
    model: Any = Model(body, **dict(Reader("lstm").named_children()))
    asked = {length: torch.randn(rows, length, 2) for length, rows in ((4, 300), (6, 1500))}  # more than run together
    given, shown = answers_by_length(model, asked, READ["answer"], READ["expected"])
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    for length, x in asked.items():
        with torch.no_grad():
            output = model.double()(x.double())
        assert given[length].tolist() == READ["answer"](output).tolist()
        assert shown[length].tolist() == pytest.approx(READ["expected"](output).tolist(), abs=1e-12)
