"""What a recording is expected to take is what it takes, and what is free is what may be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.hooks import memory
from probe.recurrent.calls import Call, read_call
from probe.recurrent.finding import find_layers
from probe.recurrent.layers import Layer

GB = 1_000_000_000


def opened(module: nn.Module, time: int = 1000, rows: int = 1000, *, packed: bool = False) -> tuple[Any, Call]:
    """Return the layers of a module and a call of it, whose numbers are never looked at."""
    layers = find_layers(module)
    x: Any = torch.empty(1, 1, 3).expand(time, rows, 3)
    if packed:
        x = pack_padded_sequence(x, torch.full((rows,), time))
    return layers, read_call(layers, (x,), {})


def keep(layers: tuple[Layer, ...], *signals: str) -> dict[Layer, Any]:
    """Return that some signals of every layer are kept, or all of them."""
    return {layer: tuple(s for s in layer.signals if not signals or s in signals) for layer in layers}


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


def test_a_recording_holds_what_is_counted() -> None:
    """The bytes of a recording's arrays are those that were counted."""
    model = nn.GRU(3, 8, bidirectional=True)
    layers, call = opened(model, 20, 5)
    recording = probe.record(model, torch.randn(20, 5, 3), signals=layers[0].signals)
    held = sum(value.nbytes for part in recording.parts for value in part.signals.values())
    assert held == memory.kept(call, request(layers, steps=20))


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is kept, how much there is, and what takes less; little is not looked up."""
    layers, call = opened(nn.LSTM(3, 8))
    asked: list[object] = []

    def free(device: object) -> int:
        asked.append(device)
        return GB // 5

    monkeypatch.setattr(memory, "free", free)
    for wanted in (request(layers), request(layers, differentiate=True, device="cuda:0")):
        with refused():
            memory.check_fits(call, wanted)
    assert {str(device) for device in asked} == {"cpu", "cuda:0"}
    memory.check_fits(call, request(layers, "hidden_state"))
    asked.clear()
    memory.check_fits(opened(nn.LSTM(3, 8), 10, 10)[1], request(layers, steps=10))
    assert not asked


def system(root: Path, files: dict[str, str], *, available: int = 20 * GB) -> Path:
    """Write files of a system below a folder."""
    meminfo = f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB\n"
    for name, content in ({"proc/meminfo": meminfo} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_text(content)
    return root


#: The files of a system, and how much is free there.
SYSTEMS: dict[str, tuple[dict[str, str], int]] = {
    "no limit": ({"proc/self/cgroup": "0::/\n"}, 20 * GB),
    "version 2": (
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.high": "max\n",
            "sys/fs/cgroup/memory.current": f"{GB // 4}\n",
        },
        3 * GB // 4,
    ),
    "version 2, cached files": (
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.current": f"{GB}\n",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 300\nactive_file 200\nfile 999\n",
        },
        500,
    ),
    "version 2, high": (
        {
            "proc/self/cgroup": "0::/user/job\n",
            "sys/fs/cgroup/user/job/memory.max": f"{4 * GB}\n",
            "sys/fs/cgroup/user/job/memory.high": f"{2 * GB}\n",
            "sys/fs/cgroup/user/job/memory.current": f"{GB}\n",
        },
        GB,
    ),
    "version 2, a limit around": (
        {
            "proc/self/cgroup": "0::/user/job\n",
            "sys/fs/cgroup/user/job/memory.max": "max\n",
            "sys/fs/cgroup/user/job/memory.current": "1\n",
            "sys/fs/cgroup/user/memory.max": f"{2 * GB}\n",
            "sys/fs/cgroup/user/memory.current": f"{GB // 2}\n",
        },
        3 * GB // 2,
    ),
    "version 2, more used than allowed": (
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "100\n",
            "sys/fs/cgroup/memory.current": "200\n",
        },
        0,
    ),
    "a path that is not mounted": (
        {
            "proc/self/cgroup": "0::/../../other\n",
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.current": "0\n",
        },
        GB,
    ),
    "nonsense": (
        {
            "proc/self/cgroup": "\n::\nx\n0::/\n",
            "sys/fs/cgroup/memory.max": "\n\nmany\n",
            "sys/fs/cgroup/memory.current": "",
        },
        20 * GB,
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_limits_of_containers_are_read(name: str, tmp_path: Path) -> None:
    """What is free is the least of what the system has and what each cgroup around the process leaves."""
    files, expected = SYSTEMS[name]
    found = memory.free("cpu", system(tmp_path, files, available=20 * GB))
    assert found is not None
    assert abs(found - expected) < 1024
    assert memory.free("cpu", system(tmp_path, files, available=1024)) == min(1024, expected)


def test_where_nobody_says_nothing_is_known(tmp_path: Path) -> None:
    """Without /proc, and on a device of another kind, a recording is not refused."""
    assert memory.free("cpu", tmp_path) is None
    assert memory.free("meta") is None
