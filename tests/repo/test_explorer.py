"""The page's explorer against Python: its engine, its programs, and the code that a reader copies.

The script that pages carry is run by node: random states of pages, beside what `probe.intervene` gives, and its rival
programs on random strings. The Python that a reader copies runs as it is, and gives what the page shows.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pages_read import carried
from torch import Tensor, nn

import probe
from analyses.counter import explored as counter
from analyses.flipflop import page as flipflop
from models.populations import SECOND_JUDGED
from models.zoo import networks
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.explorer.rival_programs import described
from probe.hooks.record import record
from probe.methods.abstraction.programs import agreement
from tests.repo import golden_runs
from tests.repo.golden_runs import drawn, some

JS = Path(__file__).resolve().parents[2] / "js"
TOLERANCE = 1e-12
BITS = {"0": 0.0, "1": 1.0}
EXAMPLE = "0110101101"


def by_node(script: str, given: Any, folder: Path) -> Any:
    """Return what a script makes of a folder, or of what is asked; without node skip, and fail in CI."""
    node = shutil.which("node")
    if node is None:
        said = "node is not installed; install Node.js 20 or later"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    if not isinstance(given, Path):
        (folder / "asked.json").write_text(json.dumps(given))
        given = folder / "asked.json"
    done = subprocess.run([node, JS / script, given], capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.exhaustive
def test_the_page_runs_every_string_under_every_edit_as_python_does(tmp_path: Path) -> None:
    """All 1,024 strings under at least 200 edits of an LSTM, a GRU, an RNN and a stack: 1e-12, no other answer."""
    strings, sources = golden_runs.every_string(), golden_runs.every_string()[3::128]
    chosen = golden_runs.golden_networks()[:4]
    runs = golden_runs.write(tmp_path, chosen, strings, sources, edits=200, seed=0)
    found = by_node("golden.mjs", tmp_path, tmp_path)
    assert found["runs"] == runs >= 800 * len(strings)
    assert (max(found["largest"], found["largest_sum"]) <= TOLERANCE, found["answers"]) == (True, 0)


KINDS = ("clamp", "steer", "patch", "ablate", "mean", "resample")
DRIFTS = {f"counter/seed-{seed}": 0.7 for seed in SECOND_JUDGED.seeds} | {f"{counter.RECIPE}/seed-1000": 0.1}
#: The explorers of the pages, and one of other layers and stacks; of each so many cases, a thousand in all.
MADE: list[tuple[int, Callable[[], Explorer]]] = [
    (400, lambda: counter.explorer(pd.Series(DRIFTS))),
    (240, flipflop.explorer),
    (360, lambda: Explorer(golden_runs.golden_networks()[1:], [[0.5, -1.0]])),
]


def random_case(explorer: Explorer, rng: np.random.Generator) -> ExplorerExperiment:
    """Return a sequence with up to three edits of a network, or what its memory keeps put in whole at one step."""
    network = explorer.networks[int(rng.integers(len(explorer.networks)))]
    layers, length, symbols = network.layers, int(rng.integers(1, 25)), list(explorer.alphabet or ())

    def sequence() -> Any:
        rows = rng.normal(size=(length, layers[0].inputs)).tolist()
        return "".join(rng.choice(symbols, size=length)) if symbols else rows

    x, second = sequence(), [sequence() for _ in range(int(rng.integers(1, 5)) if symbols else 1)]
    edits = list[ExplorerEdit]()
    if rng.random() < 0.2:
        step = [int(rng.integers(length))]
        edits += [ExplorerEdit("patch", signal, steps=step) for signal in layers[0].whole_state if len(layers) == 1]
    for _ in range(int(rng.integers(4)) if not edits else 0):
        layer, kind = layers[int(rng.integers(len(layers)))], str(rng.choice(KINDS))
        value = int(rng.integers(2**40)) if kind == "resample" else float(rng.normal())
        signal, units = str(rng.choice([str(one) for one in layer.signals])), some(rng, layer.units)
        edits.append(ExplorerEdit(kind, signal, value, units, some(rng, length), layer.name))
    return ExplorerExperiment("try", x, second, edits, network.name)


@pytest.mark.parametrize(("count", "make"), MADE, ids=["counter", "flip-flop", "others"])
def test_the_page_computes_what_torch_does_in_a_thousand_random_cases(
    count: int, make: Callable[[], Explorer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every network of the pages: scores and all signals, to 1e-12; a third of the edits as JSON, a fifth put in.

    Each is run in Python when the explorer is made; these runs are what the page is compared with.
    """
    runs = list[tuple[probe.Recording, list[probe.Edit]]]()

    def watched(model: nn.Module, x: Tensor, **options: Any) -> probe.Recording:
        given: dict[str, Any] = {**options, "signals": probe.Signal}
        run = record(model, x, **given)
        if "edits" in options:
            runs.append((run, options["edits"]))
        return run

    explorer, rng = make(), np.random.default_rng(count)
    cases = [random_case(explorer, rng) for _ in range(count)]
    monkeypatch.setattr("probe.hooks.record.record", watched)
    made = replace(explorer, experiments=cases, classes=())
    data = carried(made)
    states = [one["state"] for one in data["experiments"]]
    for state, (_, edits) in list(zip(states, runs, strict=True))[::3]:
        if state["edits"]:
            state["edits"] = [draft("json", "", "", "", edit.to_json()) for edit in edits]
    found = by_node("states.mjs", {"data": data, "states": states}, tmp_path)
    layers, moved = {network.name: network.layers for network in explorer.networks}, 0
    for case, (run, _), (before, after) in zip(cases, runs, found, strict=True):
        expected = golden_runs.summed(run, layers[case.network or ""])[0]
        assert after == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
        moved += before != after
    assert (moved > count / 2, sum("put" in state for state in states) > count / 20) == (True, True)


def test_the_page_answers_as_python_does(tmp_path: Path) -> None:
    """Thirty random programs on random strings, after every symbol: the same floats, and the same classes agree."""
    rng, symbols = np.random.default_rng(0), list("01a<\U0001d7d8")
    programs = list[ExplorerProgram]()
    for k in range(30):
        start, *steps = (rng.normal(size=(6, 2)) if k % 2 else rng.integers(-3, 4, size=(6, 2))).tolist()
        given = {symbol: step if rng.random() < 0.5 else step[0] for symbol, step in zip(symbols, steps, strict=True)}
        programs.append(ExplorerProgram(f"p{k}", start[0], given))
    strings = ["".join(rng.choice(symbols, size=int(rng.integers(1, 30)))) for _ in range(25)]
    # A half agrees with both of its neighbours, and not where it is half and a millionth.
    halves = [ExplorerProgram("half", start, dict.fromkeys(symbols, 0)) for start in (3.5, 3.500001, -0.5)]
    every = [*programs, *halves]
    found = by_node("answers.mjs", {"programs": [*map(described, every)], "strings": strings}, tmp_path)
    agreeing = 0
    for program, rows in zip(every, found, strict=True):
        for string, row in zip(strings, rows, strict=True):
            assert row["answers"] == [program(string[: end + 1]) for end in range(len(string))]
            answer = np.array([program(string)])
            assert row["agrees"] == [agreement(np.array([place]), answer).share == 1 for place in range(11)]
            agreeing += sum(row["agrees"])
    assert 100 < agreeing < 30 * 25
    agreed = [[place for place in range(11) if rows[0]["agrees"][place]] for rows in found[-3:]]
    assert agreed == [[3, 4], [4], [0]]


#: A name that would end the string it stands in, were it not quoted.
HOSTILE = "it's \" + print(1) + \\"


class Deep(nn.Module):
    """A stack two modules deep, under a name that is no identifier."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = nn.ModuleDict({HOSTILE: drawn(nn.RNN, 3, num_layers=2, nonlinearity="relu").rnn})

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state, (batch, unit)."""
        return self.readout[HOSTILE](x)[0][:, -1]


def draft(kind: str, signal: str, units: str, steps: str, value: str = "", *, layer: int = 0) -> dict[str, Any]:
    """Return an edit as a reader writes it."""
    return {"kind": kind, "layer": layer, "signal": signal, "units": units, "steps": steps, "value": value}


def printed(code: str) -> dict[str, list[float]]:
    """Run code in an empty namespace and return the lists that it prints, by the word before them."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "copied", "exec"), {"__name__": "copied"})
    return {line.split()[0]: json.loads(line.partition(" ")[2]) for line in out.getvalue().splitlines()}


def copied(explorer: Explorer, states: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the code that the page gives for each state, and what it shows before and after."""
    return by_node("copied.mjs", {"data": carried(explorer), "states": states}, folder)


PASTED = probe.clamp("hidden_state", [0.5, -1.0], units=[0, 3], steps=[-1, 2]).to_json()
#: Of the counter and the GRU: nothing, one unit put in, and what is written as no experiment is.
STATES: list[dict[str, Any]] = [
    {},
    {"y": "1111, 0000", "put": "u3", "from": 1, "at": 6, "edits": [draft("clamp", "forget_gate", "2", "8", "1")]},
    {"edits": [draft("json", "", "", "", PASTED), draft("steer", "output_gate", "2", "", "-1.5")]},
    {"network": 1, "x": "01", "y": "10 11", "edits": [draft("mean", "hidden_state", "0, 3", "1", "of no use")]},
]
#: Of a stack deep inside a model, with a hostile name and no head, and of a bare GRU that reads numbers.
OF_NUMBERS: list[dict[str, Any]] = [
    {"edits": [draft("clamp", "hidden_state", "1", "1", "2", layer=1)]},
    {"put": "all", "from": 0, "at": 1, "y": "9 9;1 0"},
    {"network": 1, "edits": [draft("ablate", "hidden_state", "1", "1")]},
]


def test_copied_python_runs_and_agrees(tmp_path: Path) -> None:
    """To 1e-12 in float64, whatever modules are called and whatever networks read; of random cases too."""
    models = [networks(seeds=[0])[0].model, networks("gru", seeds=[0])[0].model]
    pair = Explorer([ExplorerNetwork(*named) for named in zip(("lstm", "gru"), models, strict=True)], EXAMPLE, BITS)
    rng = np.random.default_rng(0)
    tried = carried(replace(pair, experiments=[random_case(pair, rng) for _ in range(20)]))["experiments"]
    bare = [ExplorerNetwork("deep", Deep()), ExplorerNetwork("bare", drawn(nn.GRU, 1, bias=False).rnn)]
    numbers = Explorer(bare, [[0.1, -2.0], [1e-7, 3.5], [0.0, 1.0]])
    for explorer, states in ((pair, [*STATES, *(one["state"] for one in tried)]), (numbers, OF_NUMBERS)):
        for state, found in zip(states, copied(explorer, states, tmp_path), strict=True):
            given = printed(found["code"])
            assert given["before"] == pytest.approx(found["before"], abs=1e-12)
            assert given["after"] == pytest.approx(found["after"], abs=1e-12)
            assert (given["before"] != given["after"]) == (found["before"] != found["after"])
            assert "x" in state or (found["before"] != found["after"]) == bool(state)
