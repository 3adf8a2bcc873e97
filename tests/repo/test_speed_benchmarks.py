"""The benchmarks of speed: what they time is right, and the page is built of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import probe
from benchmarks import by_hand, speed, speed_page, tasks
from benchmarks.peers import harness


def smaller(sweep: tasks.Sweep) -> tasks.Sweep:
    """Return a sweep of 3 steps and 2 units on a few short strings, whose ends still depend on what was patched."""
    length = 4 if len(sweep.inputs) == 1 else 8

    def few(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x, *lengths = (value[300:308] for value in inputs)
        return x[:, :length], *(value - 2 for value in lengths)

    return replace(sweep, inputs=few(sweep.inputs), sources=tuple(map(few, sweep.sources)), steps=3, units=2)


@pytest.mark.parametrize("name", tasks.SWEEPS)
def test_a_sweep_is_what_runs_edit_by_edit_give(name: str) -> None:
    """Each timed sweep has 120 edits; on a few strings it agrees with a run for each edit, and edits do something."""
    whole = tasks.SWEEPS[name]()
    assert len(whole.edits()) == 120
    sweep = smaller(whole)
    (found,) = sweep()
    wanted = torch.stack([probe.record(sweep.model, *sweep.inputs, edits=[edit]).output for edit in sweep.edits()])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert len(found) == 6 * len(sweep.sources)
    last = (found - sweep.bare()).abs()[[4, 5]]
    assert last.max() > 1e-4


def test_the_sweep_of_c_is_the_one_that_peers_do() -> None:
    """It agrees with the sweep by hand that every tool is compared with."""
    model, x, source = harness.counter()
    with torch.no_grad():
        (found,) = tasks.on_counter(model, x[:5], source[:5])()
        torch.testing.assert_close(found, by_hand.sweep(model, x[:5], source[:5]), rtol=0, atol=1e-6)


def test_kept_results_have_memory_of_their_own_and_bare_calls_a_count_of_their_own() -> None:
    """Nothing that was returned is written over; a bare call that takes little is repeated more often."""
    count, calls = iter(range(10_000)), {"slow": 0, "bare": 0}
    found, kept = harness.fresh(lambda: torch.full((500_000,), float(next(count))), lambda: sum(range(1000)), 2)
    assert [int(value[-1]) for value in kept] == list(range(len(kept)))
    assert len(found["fresh ratio"]) == 2

    def work(name: str, numbers: int) -> int:
        calls[name] += 1
        return sum(range(numbers))

    found = harness.pairs(lambda: work("slow", 200_000), lambda: work("bare", 2_000), 2)
    assert calls["bare"] > 10 * calls["slow"]
    assert min(found["ratio"]) > 10


def test_the_page_is_built_of_what_was_measured() -> None:
    """Made-up results: fresh memory stands beside each recording, and ours have a table."""
    way = {"ratio": [2.0, 4.0], "bare": [0.001], "seconds": [0.003], "difference": 0.0}
    fresh = way | {"fresh ratio": [5.0]}
    ours = {
        "versions": {"rnn-probe": "0.1.0", "torch": "2.13.0"},
        "record 0": {"record": fresh},
        "sweep": {"sweep": way},
        "memory 2": {"ratio": 2.0, "peak": 10 << 20},
    }
    ours |= {part: {"some task": way} for part in speed.OURS}
    scripts = {"rnn-probe": Path(speed.__file__).with_name("peers") / "with_probe.py"}
    page = speed_page.page({"rnn-probe": ours}, scripts)
    cell = "3.00 <sub>3.0 ms</sub><br>5.00 <sub>fresh</sub>"
    assert f"| **`probe.record`** | {cell} | - | - | - |" in page
    assert page.count("| some task | 3.00 <sub>3.0 ms</sub> |") == len(speed.OURS) == 2
    assert "| rnn-probe 0.1.0 | 3.00 <sub>3.0 ms</sub> | 2.00 <sub>10 MiB</sub> |" in page
    assert "## Other sweeps and layers" in page
    grown = page + speed_page.GROWTH + "\nMeasured by others.\n"
    assert [speed_page.renewed(old, page) for old in (grown, page)] == [grown, page]
