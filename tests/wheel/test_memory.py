"""What a recording is expected to take is what it takes, and what is free is what may be taken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from memory_peaks import MODES
from refusing import refused
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.hooks import memory
from probe.recurrent.calls import Call, read_call
from probe.recurrent.finding import find_layers
from probe.recurrent.layers import Layer

GB = 1_000_000_000
SCRIPT = Path(__file__).with_name("memory_peaks.py")
#: One of each kind for every run of the tests; the others take a minute.
SOME = (
    "lstm",
    "rnn",
    "one step",
    "half precision",
    "double precision",
    "three layers",
    "two directions",
    "packed",
    "unchecked gru",
    "edit of a step",
    "edit below a layer",
    "gradient of lstm",
    "gradient of two layers",
    "lstm in a loop",
)


def measured(names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return for each mode the bytes that it took and those expected, each measured in a process of its own."""
    ran = subprocess.run([sys.executable, str(SCRIPT), *names], capture_output=True, text=True, check=True)
    return {name: (taken, expected) for name, (taken, expected) in json.loads(ran.stdout).items()}


def assert_within(found: dict[str, tuple[int, int]], names: tuple[str, ...]) -> None:
    """Assert that each mode was measured, and that what was expected lies within 1.5 x of it, both ways."""
    assert set(found) == set(names)
    ratios = {name: expected / taken for name, (taken, expected) in found.items()}
    assert {name: ratio for name, ratio in ratios.items() if not 1 / 1.5 < ratio < 1.5} == {}
    # The control arm: one number for all modes, such as what is kept in the end, would not do.
    peaks = [taken for taken, _ in found.values()]
    assert max(peaks) > 4 * min(peaks)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process took at its peak")
def test_what_is_expected_is_what_is_taken() -> None:
    """Within 1.5 x of the measured peak, both ways: plain, with steps, in other types, with edits and derivatives."""
    assert_within(measured(SOME), SOME)


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process took at its peak")
def test_what_is_expected_in_every_mode_is_what_is_taken() -> None:
    """The same for every mode that there is."""
    assert_within(measured(tuple(MODES)), tuple(MODES))


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


def test_less_is_expected_where_less_is_kept() -> None:
    """Fewer signals and layers, and a check that is left out, take less; edits and derivatives take more."""
    layers, call = opened(nn.LSTM(3, 8, 2))
    every = memory.Request(keep(layers))

    def expected(request: memory.Request) -> int:
        return sum(memory.peak(layers, call, request).values())

    plain = expected(every)
    assert expected(memory.Request(keep(layers, "cell_state"))) < plain
    assert expected(memory.Request(keep(layers[:1]))) < plain
    assert (
        expected(memory.Request(every.keep, steps=1))
        < plain
        < expected(memory.Request(every.keep, dtype=torch.float64))
    )
    layers, call = opened(nn.LSTM(3, 8))
    every = memory.Request(keep(layers))
    edited = [expected(memory.Request(every.keep, edited={layers[0]: [step]})) for step in (0, 500, 999)]
    assert (
        expected(every) < edited[2] < edited[1] < edited[0] < expected(memory.Request(every.keep, differentiate=True))
    )


def test_what_is_kept_elsewhere_is_expected_there() -> None:
    """With device= the run takes its part where it is, and what is kept takes the other part where it goes."""
    layers, call = opened(nn.LSTM(3, 8))
    numbers = 1000 * 1000 * 8
    both = memory.peak(layers, call, memory.Request(keep(layers), device="cuda:0"))
    assert set(both) == {torch.device("cpu"), torch.device("cuda:0")}
    assert both[torch.device("cuda:0")] == 10 * numbers * 4
    halved = memory.peak(layers, call, memory.Request(keep(layers), device="cuda:0", dtype=torch.float16, steps=500))
    assert halved[torch.device("cuda:0")] == 10 * numbers


def test_the_edited_steps_are_in_the_layers_own_order() -> None:
    """A reverse layer reaches the last step first; a step counted from the ends of different rows may be any."""
    layers, call = opened(nn.LSTM(3, 8, bidirectional=True), 10, 4)
    edits = [probe.clamp("hidden_state", 0.0, steps=[4, -2]), probe.clamp("cell_state", 0.0, steps=7)]
    assert memory.edited_steps({layers[0]: edits, layers[1]: edits}, call) == {
        layers[0]: [4, 7, 8],
        layers[1]: [1, 2, 5],
    }
    assert memory.edited_steps({layers[0]: [probe.clamp("cell_state", 0.0)]}, call) == {layers[0]: list(range(10))}
    _, call = opened(nn.LSTM(3, 8, bidirectional=True), 10, 4, packed=True)
    assert memory.edited_steps({layers[0]: edits}, call) == {layers[0]: range(10)}
    assert memory.edited_steps({layers[0]: edits[1:]}, call) == {layers[0]: [0, 7]}


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much it takes, how much there is, and what takes less in that mode."""
    layers, call = opened(nn.LSTM(3, 8))
    asked: list[object] = []

    def free(device: object) -> int:
        asked.append(device)
        return GB // 5

    monkeypatch.setattr(memory, "free", free)
    every = keep(layers)
    for wanted in (
        memory.Request(every),
        memory.Request(every, differentiate=True),
        memory.Request(every, edited={layers[0]: [0]}),
    ):
        with refused():
            memory.check_fits(layers, call, wanted)
    memory.check_fits(layers, call, memory.Request(keep(layers, "hidden_state")))
    asked.clear()
    memory.check_fits(*opened(nn.LSTM(3, 8), 10, 10), memory.Request(keep(layers)))
    assert not asked


def system(root: Path, files: dict[str, str], *, available: int = 20 * GB) -> Path:
    """Write files of a system below a folder."""
    meminfo = f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB\n"
    for name, content in ({"proc/meminfo": meminfo} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_text(content)
    return root


VERSION_2 = "30 1 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
VERSION_1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
UNLIMITED = str(2**63 - 4096)
#: The files of a system, and how much is free there.
SYSTEMS: dict[str, tuple[dict[str, str], int]] = {
    "no limit": ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": VERSION_2}, 20 * GB),
    "version 2": (
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.high": "max\n",
            "sys/fs/cgroup/memory.current": f"{GB // 4}\n",
        },
        3 * GB // 4,
    ),
    "version 2, cached files": (
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.current": f"{GB}\n",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 300\nactive_file 200\nfile 999\n",
        },
        500,
    ),
    "version 2, high": (
        {
            "proc/self/cgroup": "0::/user/job\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/user/job/memory.max": f"{4 * GB}\n",
            "sys/fs/cgroup/user/job/memory.high": f"{2 * GB}\n",
            "sys/fs/cgroup/user/job/memory.current": f"{GB}\n",
        },
        GB,
    ),
    "version 2, a limit around": (
        {
            "proc/self/cgroup": "0::/user/job\n",
            "proc/self/mountinfo": VERSION_2,
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
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/memory.max": "100\n",
            "sys/fs/cgroup/memory.current": "200\n",
        },
        0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/job\n0::/\n",
            "proc/self/mountinfo": VERSION_1,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{9 * GB}",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{GB}",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GB // 2}",
            "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 100\n",
        },
        GB // 2 + 100,
    ),
    "version 1 in a container": (
        {
            "proc/self/cgroup": "5:cpu,memory:/docker/abc\n",
            "proc/self/mountinfo": VERSION_1.replace(" / /sys", " /docker/abc /sys"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GB}",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "0",
        },
        GB,
    ),
    "a path that is not mounted": (
        {
            "proc/self/cgroup": "0::/../../other\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/memory.max": f"{GB}\n",
            "sys/fs/cgroup/memory.current": "0\n",
        },
        GB,
    ),
    "nonsense": (
        {
            "proc/self/cgroup": "\n::\nx\n0::/\n",
            "proc/self/mountinfo": "\nx\n - \n" + VERSION_2,
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


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux has /proc")
def test_limits_of_the_process_are_read() -> None:
    """A process with a limit of its own is told what that leaves; without one, what the system has."""
    code = (
        "import resource, sys\n"
        "from probe.hooks import memory\n"
        "before = memory.free('cpu')\n"
        "taken = next(memory._numbers(memory.Path('/proc/self/status'), 'VmSize:', 1024))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000, resource.RLIM_INFINITY))\n"
        "sys.stdout.write(f'{before} {memory.free(\"cpu\")}')\n"
    )
    before, after = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(after) <= 100_000_000 < int(before)
    assert int(after) > 50_000_000
