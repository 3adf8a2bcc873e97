"""How a layer is opened, what its recording takes, and what the model answers meanwhile.

- What `recording_size` says before a run is what a recording keeps, what is counted, and what would not fit is
  refused at once; what is free is what may be taken.
- An LSTM is opened to the same values whether steps are taken one by one or in stretches, whatever is kept.
- What a model answers to sequences of several lengths, whatever runs it.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from bodies import Model, loop
from cells_by_hand import Leaky
from comparing import same
from known_machines import READ, Reader
from layer_by_hand import FEATURES, UNITS, Layer, LayerStep
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Signal
from probe.hooks import collector
from probe.methods.readouts import answers_by_length
from probe.recurrent import memory
from probe.recurrent.calls import Call, read_call
from probe.recurrent.cells import cell, lstm
from probe.recurrent.finding import find_layers
from probe.recurrent.steps import registry

ROWS, TIME = 3, 7


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Return two layers with steps of their own, whose states are pairs, with torch's LSTM between them."""
    monkeypatch.setitem(registry._registered, Layer, LayerStep)
    rnn = nn.LSTM(UNITS, FEATURES, batch_first=True)
    return Model(lambda m, x: m.last(m.rnn(m.first(x)[0])[0])[0], first=Layer(), rnn=rnn, last=Layer())


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"signals": Signal}, {"signals": ["hidden", "cell_state"]}),
        *({"layer": ["rnn[0]", "last"]}, {"layer": ["last"], "signals": ["hidden"]}),
    ],
)
def test_what_is_said_is_what_is_kept(model: nn.Module, options: dict[str, Any]) -> None:
    """Each signal to the byte, those of several layers too; an output is said to be untold."""
    said, found = probe.inspect(model).recording_size(ROWS, TIME, **options), dict[str, int]()
    for part in probe.record(model, torch.randn(ROWS, TIME, FEATURES), **options).parts:
        for signal, value in part.signals.items():
            found[signal] = found.get(signal, 0) + value.nbytes
    output = found.pop("output", 0)
    assert ((said.signals, said.total), bool(said.untold)) == ((found, sum(found.values())), bool(output))


def test_what_is_said_can_be_read(model: nn.Module) -> None:
    """Megabytes, and what only a call tells: an output, and a cell in a loop, is not left out in silence."""
    lines = str(probe.inspect(model).recording_size(20, 512)).splitlines()
    assert lines[0] == "20 rows of 512 steps: 1.56 MB"
    assert "  hidden: 410 kB" in lines
    assert "  output: only a call tells, in 2 layers" in lines
    assert "only a call tells, in 1 layer" in str(probe.inspect(Model(loop, cell=Leaky())).recording_size(1, 1))
    for wrong in (
        {"signals": ["memmory"]},
        {"layer": ["third"]},
        {"rows": -1},
        {"steps": True},
    ):
        given: dict[str, Any] = {"rows": 1, "steps": 1} | wrong
        with refused():
            _ = probe.inspect(model).recording_size(**given)


def test_all_layers_are_refused_at_the_first_ones_call(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one layer takes would fit, and both together would not: the first call says so, before the second."""
    x, sizes, calls = torch.randn(ROWS, TIME, FEATURES), probe.inspect(model), list[int]()
    both = sizes.recording_size(ROWS, TIME, signals=["hidden"]).total
    first = sizes.recording_size(ROWS, TIME, signals=["hidden"], layer=["first"]).total
    monkeypatch.setattr(collector, "ASK_FROM", 1)
    model.rnn.register_forward_pre_hook(lambda *_: calls.append(1))
    for free, called in ((both, 1), (both - 1, 0), (first, 0)):
        monkeypatch.setattr(memory, "free", lambda _, free=free: free)
        calls.clear()
        with nullcontext() if called else refused():
            _ = probe.record(model, x, signals=["hidden"])
        assert len(calls) == called
        _ = probe.record(model, x, signals=["hidden"], layer=["first"])


GB = 1_000_000_000


def opened(module: nn.Module, time: int = 1000, rows: int = 1000) -> tuple[Any, Call]:
    """Return the layers of a module and a call of it, whose numbers are never looked at."""
    layers = find_layers(module)
    return layers, read_call(layers, (torch.empty(1, 1, 3).expand(time, rows, 3),), {})


def request(layers: tuple[Any, ...], *signals: str, **other: Any) -> collector.Request:
    """Return that some signals of every layer are kept, or all of them."""
    chosen = {layer: tuple(s for s in layer.signals if not signals or s in signals) for layer in layers}
    plain = {"steps": 1000, "dtype": None, "device": None, "differentiate": False, "later": {}}
    return collector.Request(chosen, **(plain | other))


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is kept, how much there is, and what takes less; little is not looked up."""
    layers, call = opened(nn.LSTM(3, 8))
    asked: list[str] = []
    monkeypatch.setattr(memory, "free", lambda device: asked.append(str(device)) or GB // 5)
    for wanted in (request(layers), request(layers, differentiate=True, device="cuda:0")):
        with refused():
            collector.check_fits(call, wanted)
    collector.check_fits(call, request(layers, "hidden_state"))
    assert collector.bytes_kept(call, request(layers, differentiate=True)) == 2 * 10 * 8 * 1000 * 1000 * 4
    assert set(asked) == {"cpu", "cuda:0"}
    asked.clear()
    collector.check_fits(opened(nn.LSTM(3, 8), 10, 10)[1], request(layers, steps=10))
    assert not asked


CACHED = "anon 1\ninactive_file 300\nactive_file 200\nfile 999\n"
#: The cgroup of a process, the files of /sys/fs/cgroup, and how many bytes are free there.
SYSTEMS: list[tuple[str, dict[str, Any], int]] = [
    ("0::/", {}, 20 * GB),
    ("0::/", {"memory.max": GB, "memory.high": "max", "memory.current": GB // 4}, 3 * GB // 4),
    ("0::/", {"memory.max": GB, "memory.current": GB, "memory.stat": CACHED}, 500),
    ("0::/a/b", {"a/b/memory.max": 4 * GB, "a/b/memory.high": 2 * GB, "a/b/memory.current": GB}, GB),
    ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": 2 * GB, "a/memory.current": GB // 2}, 3 * GB // 2),
    ("0::/", {"memory.max": 100, "memory.current": 200}, 0),  # more is used than allowed
    ("0::/../../other", {"memory.max": GB, "memory.current": 0}, GB),  # a path that is not mounted
    ("\n::\nx\n0::/", {"memory.max": "\n\nmany", "memory.current": ""}, 20 * GB),
]


def test_limits_of_containers_are_read(tmp_path: Path) -> None:
    """What is free is the least of what the system has and what each cgroup around the process leaves."""
    for number, (cgroup, files, expected) in enumerate(SYSTEMS):
        root = tmp_path / str(number)
        texts = {"proc/self/cgroup": cgroup} | {f"sys/fs/cgroup/{path}": content for path, content in files.items()}
        for available in (20 * GB, 1024):
            meminfo = f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB"
            for path, content in (texts | {"proc/meminfo": meminfo}).items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                _ = (root / path).write_text(f"{content}\n")
            assert memory.free("cpu", root) == min(available, expected)


def test_where_nobody_says_nothing_is_known(tmp_path: Path) -> None:
    """Without /proc, and on a device of another kind, a recording is not refused."""
    assert memory.free("cpu", tmp_path) is None
    assert memory.free("meta") is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("time", [1, 65, 4000])
def test_a_scan_is_one_step_after_the_other(time: int, dtype: torch.dtype) -> None:
    """To the bit, of few and of many numbers; a NaN goes on."""
    written, c = torch.randn(time, 3, 5).to(dtype), torch.zeros(3, 5, dtype=dtype)
    f, before, last = torch.rand(time, 3, 5).to(dtype), written.clone(), c
    written[time // 2, 1, 2] = before[time // 2, 1, 2] = torch.nan
    found = lstm.scan(written, f, c)
    for now, forgotten, after in zip(before, f, written, strict=True):
        last = forgotten * last + now
        assert same(after, last)
    assert same(found, last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("projected", [0, 3])
@pytest.mark.parametrize("shape", [(3, 70, 5), (300, 4, 12), (3, 70, 33)])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_no_bit_depends_on_what_is_kept(
    shape: tuple[int, int, int], projected: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal alone is what it is beside all others, in one stretch and in several; to rounding if unchecked."""
    batch, time, units = shape
    layer = nn.LSTM(3, units, proj_size=projected, bidirectional=True).to(dtype)
    x = torch.randn(time, batch, 3, dtype=dtype)
    for chunk in (cell.CHUNK, 4 * units * batch * max(1, time // 3)):
        monkeypatch.setattr(cell, "CHUNK", chunk)
        whole = probe.record(layer, x, signals=Signal)
        for part, signal in product(whole.parts, whole.parts[0].signals):
            value, options = part.signals[signal], {"signals": [signal], "layer": [part.layer]}
            assert torch.equal(probe.record(layer, x, **options)[signal], value)
            for steps in (slice(None), [1, -1], [-1]):
                asked = None if isinstance(steps, slice) else steps
                alone = probe.record(layer, x, **options, steps=asked, check=False)[signal]
                assert float((alone - value[:, steps]).abs().max()) < 20 * torch.finfo(dtype).eps


def test_a_product_of_onednn_is_torchs_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operation is private to torch: where it is missing, or gives something else, torch's own is taken."""
    layer, x = nn.LSTM(3, 128, bias=False), torch.randn(7, 4, 3)
    monkeypatch.setattr(cell, "CHUNK", 0)
    assert lstm._onednn_works() == torch.backends.mkldnn.is_available()
    values = probe.record(layer, x)
    for other in (lambda: torch.ops.mkldnn.no_such_operation, lambda: lambda x, *_: x @ torch.zeros(2, 4)):
        lstm._onednn_works.cache_clear()
        monkeypatch.setattr(lstm, "_onednn_linear", other)
        own = probe.record(layer, x)
        assert all(float((values[name] - own[name]).abs().max()) < 1e-6 for name in values.parts[0].signals)
    lstm._onednn_works.cache_clear()


@pytest.mark.parametrize("units", [12, 20])
@pytest.mark.parametrize("steps_at_once", [1, 5])
def test_another_state_is_seen_at_its_step(units: int, steps_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
