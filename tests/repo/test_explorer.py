"""The page's explorer against Python: its engine, its programs, and the code that a reader copies.

The script that pages carry is run by node: its engine on golden files, which hold what `probe.intervene` gives, and
its rival programs on random strings. The Python that a reader copies runs as it is, and gives what the page shows.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import probe
from models.zoo import networks
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.explorer.networks import double_of, embed
from probe.explorer.rival_programs import described
from probe.methods.abstraction.programs import agreement
from tests.repo import golden_runs
from tests.repo.golden_runs import drawn, encoded

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
    assert max(found["largest"], found["largest_sum"]) <= TOLERANCE
    assert found["answers"] == 0


def test_the_page_runs_the_committed_sample_as_python_did(tmp_path: Path) -> None:
    """To 1e-12; a weight that is off by one in its last places, and an answer exchanged, are found."""
    clean = by_node("golden.mjs", golden_runs.COMMITTED, tmp_path)
    assert (max(clean["largest"], clean["largest_sum"]) <= TOLERANCE, clean["answers"]) == (True, 0)
    shutil.copytree(golden_runs.COMMITTED, tmp_path, dirs_exist_ok=True)
    numbers = np.fromfile(tmp_path / "runs.f64", "<f8")
    numbers[0] += 1e-10
    numbers[1:11] = numbers[10:0:-1]
    numbers.tofile(tmp_path / "runs.f64")
    found = by_node("golden.mjs", tmp_path, tmp_path)
    assert (found["answers"], found["largest"] > TOLERANCE) == (1, True)


def test_the_committed_sample_is_what_python_gives() -> None:
    """Some of its edits, read from their JSON, give its numbers: the page is compared with no older Python."""
    golden, chosen = json.loads((golden_runs.COMMITTED / "runs.json").read_text()), golden_runs.golden_networks()
    assert [embed(network) for network in chosen] == golden["networks"]
    strings, cases = golden["strings"], golden["cases"]
    assert len(cases) * len(strings) >= 2000
    sizes = [len(strings) * (golden["networks"][case["network"]]["scores"] + 1) for case in cases]
    expected = np.split(np.fromfile(golden_runs.COMMITTED / "runs.f64", "<f8"), np.cumsum(sizes))
    assert (len(expected.pop()), {case["network"] for case in cases[::13]}) == (0, set(range(len(chosen))))
    for case, wanted in list(zip(cases, expected, strict=True))[::13]:
        network = chosen[case["network"]]
        x = encoded(strings, network.layers[0].inputs)
        edits = [probe.Edit.from_json(text) for text in case["edits"]]
        found = golden_runs.numbers(double_of(network), network.layers, x, edits)
        assert np.frombuffer(found, "<f8") == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)


def test_the_page_answers_as_python_does(tmp_path: Path) -> None:
    """Thirty random programs on random strings, after every symbol: the same floats, and the same classes agree."""
    rng, symbols = np.random.default_rng(0), list("01a<\U0001d7d8")

    def number() -> float:
        return float(rng.normal() if rng.random() < 0.5 else rng.integers(-3, 4))

    def step() -> float | tuple[float, float]:
        return number() if rng.random() < 0.5 else (number(), number())

    programs = [ExplorerProgram(f"p{k}", number(), {symbol: step() for symbol in symbols}) for k in range(30)]
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
    assert explorer.data is not None
    return by_node("copied.mjs", {"data": json.loads(explorer.data), "states": states}, folder)


PASTED = probe.clamp("hidden_state", [0.5, -1.0], units=[0, 3], steps=[-1, 2]).to_json()
#: Of the counter and the GRU with edits of every kind, one pasted as JSON, and by the handle.
STATES: list[dict[str, Any]] = [
    {},
    {
        "y": "1111100000",
        "edits": [
            draft("patch", "cell_state", "0 3 -1", "5"),
            draft("clamp", "forget_gate", "all", "6, 7", "0.75"),
            draft("steer", "output_gate_preactivation", "2", "", "-1.5"),
            draft("ablate", "cell_candidate", "1", "8"),
            draft("json", "", "", "", PASTED),
        ],
    },
    {"network": 1, "x": "111", "y": "000", "edits": [draft("patch", "update_gate", "", "")]},
    {
        "y": "1111100000, 0000011111 1010101010",
        "edits": [
            draft("mean", "input_gate", "all", "5 6"),
            draft("resample", "cell_state", "0 3", "7", "12345678901"),
            draft("patch", "forget_gate", "1", "-1"),
        ],
    },
    {"y": "0000000", "put": "all", "from": 4, "at": 6},
    {"y": "1111, 0000", "put": "u3", "from": 1, "at": 6, "edits": [draft("clamp", "forget_gate", "2", "8", "1")]},
    {"network": 1, "x": "0110", "y": "11111", "put": "c", "from": 4, "at": 1},
    {"network": 1, "x": "01", "y": "10 11", "edits": [draft("mean", "hidden_state", "all", "1", "of no use")]},
]
#: Of a stack deep inside a model, with a hostile name and no head, and of a bare GRU that reads numbers.
OF_NUMBERS: list[dict[str, Any]] = [
    {"edits": [draft("clamp", "hidden_state", "1", "1", "2", layer=1)]},
    {"put": "all", "from": 0, "at": 1, "y": "9 9;1 0"},
    {"network": 1, "edits": [draft("ablate", "hidden_state", "1", "1")]},
]


def test_copied_python_runs_and_agrees(tmp_path: Path) -> None:
    """To 1e-12 in float64, whatever modules are called and whatever networks read."""
    models = [networks(seeds=[0])[0].model, networks("gru", seeds=[0])[0].model]
    pair = [ExplorerNetwork(name, model) for name, model in zip(("lstm", "gru"), models, strict=True)]
    bare = [ExplorerNetwork("deep", Deep()), ExplorerNetwork("bare", drawn(nn.GRU, 1, bias=False).rnn)]
    numbers = Explorer(bare, [[0.1, -2.0], [1e-7, 3.5], [0.0, 1.0]])
    for explorer, states in ((Explorer(pair, EXAMPLE, BITS), STATES), (numbers, OF_NUMBERS)):
        for state, found in zip(states, copied(explorer, states, tmp_path), strict=True):
            given = printed(found["code"])
            assert given["before"] == pytest.approx(found["before"], abs=1e-12)
            assert given["after"] == pytest.approx(found["after"], abs=1e-12)
            assert (given["before"] != given["after"]) == bool(state)


SEVERAL = ["1111100000", "0000011111", "1010101010", "0000000001"]
SITE: dict[str, Any] = {"units": [7, 0, -1], "steps": [-4, 2]}
KINDS = [("ablate", 0), ("mean", 0), ("patch", 0), *(("resample", seed) for seed in range(8))]
BY_FORM = [[ExplorerEdit(kind, "cell_state", seed, **SITE)] for kind, seed in KINDS]


def test_an_experiment_of_the_page_is_the_librarys_edit(tmp_path: Path) -> None:
    """Ablations and patches: the answers are the library's; each seed draws its row, which a patch may take too."""
    model = networks(seeds=[0])[0].model
    experiments = [ExplorerExperiment(str(place), second=SEVERAL, edits=one) for place, one in enumerate(BY_FORM)]
    explorer = Explorer([ExplorerNetwork("lstm", model)], EXAMPLE, BITS, experiments=experiments)
    assert explorer.data is not None
    states = [experiment["state"] for experiment in json.loads(explorer.data)["experiments"]]
    double = copy.deepcopy(model).double()
    source = probe.record(double, encoded(SEVERAL, 1), signals=probe.Signal)
    answers = set()
    for experiment, found in zip(experiments, copied(explorer, states, tmp_path), strict=True):
        edits = [edit.made("lstm[0]", 12, source) for edit in experiment.edits]
        output = probe.record(double, encoded([EXAMPLE], 1), edits=edits).output
        assert output[0].softmax(0).tolist() == pytest.approx(found["after"], abs=1e-12)
        assert found["before"] != found["after"]
        answers.add(tuple(found["after"]))
    assert len(answers) == 3 + 3
