"""The benchmarks of speed and of states.

- The benchmarks of speed: what they time is right, two trees are compared first, and pages are built of results.
- The section of docs/speed.md that `python -m benchmarks.states` writes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import probe
from benchmarks import by_hand, scale, speed, speed_page, tasks, trees, versions
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
    x, source = x[:5], source[:5]
    with torch.no_grad():
        (found,) = tasks.on_counter(model, x, source)()
        torch.testing.assert_close(found, by_hand.sweep(model, x, source), rtol=0, atol=1e-6)


def called(group: str, name: str) -> list[torch.Tensor]:
    """Return what a task returns."""
    with torch.no_grad():
        return tasks.GROUPS[group][name]().call()


def test_recordings_and_calls_agree_with_each_other() -> None:
    """A small recording is the loop's by hand; an edited recording has the hidden states that `intervene` returns."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(1, 12, batch_first=True)
    x = torch.randint(0, 2, (10, 10, 1)).float()
    with torch.no_grad():
        signals = dict(zip(by_hand.SIGNALS, by_hand.record(lstm, x), strict=True))
    for found, signal in zip(called("small", "10 x 10"), sorted(signals), strict=True):
        torch.testing.assert_close(found, signals[signal], rtol=0, atol=1e-6)
    hidden = sorted(by_hand.SIGNALS).index("hidden_state")
    (output,) = called("calls", "intervene")
    torch.testing.assert_close(called("calls", "one patch")[hidden], output, rtol=0, atol=1e-6)
    assert [len(called("calls", name)) for name in ("cell in a loop", "watch", "gradient")] == [6, 6, 12]
    assert called("calls", "gradient")[6 + hidden][:, -1].unique().tolist() == [1.0]


def test_tasks_are_chosen_by_group_or_name() -> None:
    """Without words all are; a word that names nothing is an error with the names."""
    every = list(tasks.chosen([]))
    assert len(every) == sum(map(len, tasks.GROUPS.values()))
    assert list(tasks.chosen(["watch", "small"])) == [
        *(("small", n) for n in tasks.GROUPS["small"]),
        ("calls", "watch"),
    ]
    with pytest.raises(ValueError, match=r"There is no task 'sweep'; there are 'sweeps', .*'lower of two layers'"):
        list(tasks.chosen(["sweep"]))


def test_two_trees_are_timed_where_they_agree_and_refused_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree whose `sweep` is wrong by little is timed at what is right, and ends the run at a sweep."""
    monkeypatch.setattr(versions, "FEWEST", 2)
    folder = tmp_path / "tree"
    shutil.copytree(trees.ROOT / "probe", folder / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    with folder.joinpath(*probe.sweep.__module__.split(".")).with_suffix(".py").open("a", encoding="utf-8") as file:
        file.write("\n\n_right = sweep\n\n\ndef sweep(*a, **k):\n    return _right(*a, **k) + 1e-3\n")
    found = versions.timings(folder, "old", [("calls", "watch"), ("sweeps", "c")], 0.0, tmp_path)
    timing = next(found)
    assert (timing.group, timing.name) == ("calls", "watch")
    assert len(timing.old) == len(timing.new) == 2
    assert min(*timing.old, *timing.new) > 0
    with pytest.raises(trees.TreeError, match=r"sweeps: c: this tree and old differ by 0\.001 \(allowed: 1e-05\)"):
        next(found)


def test_a_folder_without_probe_is_no_tree(tmp_path: Path) -> None:
    """The control arm: `probe` is not taken from elsewhere, and the error says where it came from."""
    with (
        trees.Tree("empty", tmp_path) as tree,
        pytest.raises(trees.TreeError, match=r"empty: \w+: .*probe"),
    ):
        tree.ask(do="time")


def test_a_revision_is_written_into_a_folder(tmp_path: Path) -> None:
    """With its `probe`; one that git does not know is an error."""
    commit = versions.extracted("HEAD", tmp_path)
    assert versions.git("rev-parse", "HEAD").decode().startswith(commit)
    assert (tmp_path / "probe" / "__init__.py").is_file()
    with pytest.raises(trees.TreeError, match="git rev-parse"):
        versions.extracted("no-such-revision", tmp_path)


def test_a_row_has_medians_of_pairs() -> None:
    """Of the ratios, and not the ratio of the medians."""
    timing = versions.Timing("sweeps", "c", [1.0, 8.0, 3.0], [1.0, 1.0, 2.0])
    lines = list(versions.table(iter([timing]), "abc"))
    assert lines[0].startswith("| task | abc (ms) | this tree (ms) |")
    assert lines[1:] == ["| sweeps: c | 3,000.00 | 1,000.00 | 1.50 | 1.05 to 7.35 | 3 |"]


def test_results_that_are_kept_are_in_memory_of_their_own() -> None:
    """Nothing that was returned is written over by the calls after it."""
    count = iter(range(10_000))
    found, kept = harness.fresh(lambda: torch.full((500_000,), float(next(count))), lambda: sum(range(1000)), 2)
    assert [int(value[-1]) for value in kept] == list(range(len(kept)))
    assert len(found["fresh ratio"]) == 2


def test_pairs_repeat_the_bare_call_by_its_own_count() -> None:
    """A bare call that takes little is repeated more often than what it is compared with."""
    calls = {"slow": 0, "bare": 0}

    def work(name: str, numbers: int) -> int:
        calls[name] += 1
        return sum(range(numbers))

    found = harness.pairs(lambda: work("slow", 200_000), lambda: work("bare", 2_000), 2)
    assert calls["bare"] > 10 * calls["slow"]
    assert min(found["ratio"]) > 10
    calls.update(slow=0, bare=0)
    harness.pairs(lambda: work("slow", 10), lambda: work("bare", 10), 1, (1, 1))
    assert calls == {"slow": 1, "bare": 1}


def test_the_table_of_growth_has_a_row_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed in pairs for short calls and once for long ones."""
    monkeypatch.setattr(scale, "AXES", {"time": [1, 4]})
    monkeypatch.setattr(scale, "PAIRS", 1)
    for long in (scale.LONG, 0.0):
        monkeypatch.setattr(scale, "LONG", long)
        with torch.no_grad():
            lines = [line.strip("| ").split(" | ") for line in "".join(scale.axes()).splitlines()]
        assert [line[:2] for line in lines[2:]] == [["time", "1"], ["time", "4"]]
        assert float(lines[3][4]) > 1


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


def test_every_part_of_ours_is_a_mode_of_its_script() -> None:
    """The parent asks the script for it, and no other tool."""
    ours, other = speed.runners()[:2]
    from benchmarks.peers.with_probe import TOOL

    for part in speed.OURS:
        assert part in TOOL.more
        assert list(speed.jobs(ours, part, 3)) == [(part, (part, "--pairs", "3"))]
        assert list(speed.jobs(other, part, 3)) == []
