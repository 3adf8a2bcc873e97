"""The page's explorer against Python: its engine, its programs, and the code that a reader copies.

- The page's engine against `probe.intervene`: the script that pages carry, run by node on golden files.
- The page's rival programs against Python's: random ones on random strings, and the four that the analysis asks.
- The Python that a reader copies from a page runs as it is, and gives what the page shows.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import probe
from analyses.counter.programs import REFERENCE, balance, ones, zeros_backwards
from models.zoo import networks
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.explorer.networks import double_of, embed
from probe.explorer.rival_programs import described
from probe.methods.abstraction.programs import agreement, as_tuples
from tests.repo import golden_runs
from tests.repo.golden_runs import drawn, encoded

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def node() -> str:
    """Return node, or skip; where CI is set, its absence fails."""
    found = shutil.which("node")
    if found is None and os.environ.get("CI"):
        pytest.fail("CI must compare the page's engine with Python, but node is not installed")
    if found is None:
        pytest.skip("node is not installed; install Node.js 20 or later")
    return found


def compared(node: str, folder: Path) -> dict[str, Any]:
    """Return what the script's engine finds on a golden folder."""
    done = subprocess.run(
        [node, str(ROOT / "js" / "golden.mjs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("every", "edits", "values"),
    [pytest.param(8, 2, 150_000, id="some"), pytest.param(1, 200, 500_000, id="all", marks=pytest.mark.exhaustive)],
)
def test_the_page_runs_every_string_under_every_edit_as_python_does(
    every: int, edits: int, values: int, node: str, tmp_path: Path
) -> None:
    """All 1,024 strings under at least 200 edits of an LSTM, a GRU, an RNN and a stack: 1e-12, no other answer.

    Of these `some` are every eighth string under each kind of edit at each signal, and under several edits together.
    """
    strings = golden_runs.every_string()[::every]
    chosen = golden_runs.golden_networks()[:4]
    sources = golden_runs.every_string()[3::128]
    runs = golden_runs.write(tmp_path, chosen, strings, sources, edits=edits, full=True, seed=0)
    found = compared(node, tmp_path)
    assert found["runs"] == runs >= 4 * edits * len(strings)
    assert found["values"] > values
    assert found["largest"] <= TOLERANCE
    assert found["largest_sum"] <= TOLERANCE
    assert found["answers"] == 0


def test_a_wrong_number_is_seen(node: str, tmp_path: Path) -> None:
    """The control arm: a weight that is off by one in its last places, and an answer exchanged, are found."""
    shutil.copytree(golden_runs.COMMITTED, tmp_path, dirs_exist_ok=True)
    numbers = np.fromfile(tmp_path / "runs.f64", "<f8")
    numbers[0] += 1e-10
    numbers[1:11] = numbers[10:0:-1]
    numbers.tofile(tmp_path / "runs.f64")
    found = compared(node, tmp_path)
    assert found["answers"] == 1
    assert found["largest"] > TOLERANCE


@pytest.mark.parametrize(
    "every", [pytest.param(5, id="some"), pytest.param(1, id="all", marks=pytest.mark.exhaustive)]
)
def test_the_committed_sample_is_what_python_gives(every: int) -> None:
    """Its edits, read from their JSON, give its numbers: the page is compared with no older Python."""
    golden = json.loads((golden_runs.COMMITTED / "runs.json").read_text())
    networks = golden_runs.golden_networks()
    assert [embed(network) for network in networks] == golden["networks"]
    doubles = [double_of(network) for network in networks]
    assert len(golden["cases"]) * len(golden["strings"]) >= 2000
    expected = np.fromfile(golden_runs.COMMITTED / "runs.f64", "<f8")
    place, compared_with = 0, set()
    for number, case in enumerate(golden["cases"]):
        which = case["network"]
        size = len(golden["strings"]) * (golden["networks"][which]["scores"] + 1)
        place += size
        if number % every:
            continue
        compared_with.add(which)
        x = golden_runs.encoded(golden["strings"], networks[which].layers[0].inputs)
        edits = [probe.Edit.from_json(text) for text in case["edits"]]
        found = golden_runs.numbers(doubles[which], networks[which].layers, x, edits, full=False)
        wanted = expected[place - size : place]
        assert np.frombuffer(found, "<f8") == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)
    assert compared_with == set(range(len(networks)))
    assert place == len(expected)


SYMBOLS = "01a<\U0001d7d8"
FOUR = {
    "ones": ExplorerProgram("ones", 0, {"0": 0, "1": 1}),
    "zeros backwards": ExplorerProgram("zeros backwards", REFERENCE, {"0": -1, "1": 0}),
    "balance": ExplorerProgram("balance", REFERENCE / 2, {"0": -0.5, "1": 0.5}),
    "ones with a drift": ExplorerProgram("ones with a drift", 0.4 * REFERENCE, {"0": -0.4, "1": 0.6}),
}


def answered(programs: Sequence[ExplorerProgram], strings: Sequence[str], folder: Path) -> list[list[dict[str, Any]]]:
    """Return what the page's script gives, by program and string: `answers` after each symbol, and who `agrees`."""
    node = shutil.which("node")
    if node is None and os.environ.get("CI"):
        pytest.fail("CI must run the page's programs, but node is not installed")
    if node is None:
        pytest.skip("node is not installed; install Node.js 20 or later")
    asked = {"programs": [described(program) for program in programs], "strings": list(strings)}
    _ = (folder / "asked.json").write_text(json.dumps(asked))
    command = [node, str(ROOT / "js" / "answers.mjs"), str(folder / "asked.json")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_the_page_answers_as_python_does(tmp_path: Path) -> None:
    """Thirty random programs on random strings, after every symbol: the same floats, and the same classes agree."""
    rng = np.random.default_rng(0)

    def number() -> float:
        return float(rng.normal() if rng.random() < 0.5 else rng.integers(-3, 4))

    def step() -> float | tuple[float, float]:
        return number() if rng.random() < 0.5 else (number(), number())

    programs = [ExplorerProgram(f"p{k}", number(), {symbol: step() for symbol in SYMBOLS}) for k in range(30)]
    strings = ["".join(rng.choice(list(SYMBOLS), size=int(rng.integers(1, 30)))) for _ in range(25)]
    found = answered(programs, strings, tmp_path)
    agreeing = 0
    for program, rows in zip(programs, found, strict=True):
        for string, row in zip(strings, rows, strict=True):
            assert row["answers"] == [program(string[: end + 1]) for end in range(len(string))]
            answer = np.array([program(string)])
            shares = [agreement(np.array([place]), answer).share == 1 for place in range(11)]
            assert row["agrees"] == shares
            agreeing += sum(shares)
    assert 100 < agreeing < 30 * 25


def test_a_half_agrees_with_both_of_its_neighbours(tmp_path: Path) -> None:
    """And not where it is half and a millionth."""
    halves = [ExplorerProgram("half", start, {"1": 0}) for start in (3.5, 3.500001, -0.5)]
    found = [rows[0]["agrees"] for rows in answered(halves, ["1"], tmp_path)]
    assert [[place for place in range(11) if row[place]] for row in found] == [[3, 4], [4], [0]]


def test_the_four_programs_of_the_analysis_can_be_written(tmp_path: Path) -> None:
    """On every string of 6, 10 and 13 bits, in Python and in the page."""
    written = {
        "ones": ones,
        "zeros backwards": zeros_backwards,
        "balance": balance,
        "ones with a drift": lambda bits: ones(bits) + 0.4 * (REFERENCE - len(bits)),
    }
    lists = [torch.tensor(list(itertools.product((0.0, 1.0), repeat=length))[::7]) for length in (6, 10, 13)]
    rows = [row for x in lists for row in as_tuples(x)]
    found = answered(list(FOUR.values()), ["".join(map(str, row)) for row in rows], tmp_path)
    for (name, program), answers in zip(FOUR.items(), found, strict=True):
        expected = [written[name](row) for row in rows]
        assert [program(row) for row in rows] == pytest.approx(expected, abs=1e-12)
        assert [answer["answers"][-1] for answer in answers] == pytest.approx(expected, abs=1e-12)
    ten = [row for row in rows if len(row) == REFERENCE]
    assert all(program(row) == pytest.approx(ones(row)) for program in FOUR.values() for row in ten)


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
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "copied", "exec"), {"__name__": "copied"})
    lines = (line.split(" ", 1) for line in out.getvalue().splitlines())
    return {name: json.loads(numbers) for name, numbers in lines}


def copied(explorer: Explorer, states: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the code that the page gives for each state, and what it shows before and after."""
    node = shutil.which("node")
    if node is None and os.environ.get("CI"):
        pytest.fail("CI must run the code that pages give, but node is not installed")
    if node is None:
        pytest.skip("node is not installed; install Node.js 20 or later")
    assert explorer.data is not None
    (folder / "states.json").write_text(json.dumps({"data": json.loads(explorer.data), "states": states}))
    command = [node, str(ROOT / "js" / "copied.mjs"), str(folder / "states.json")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_copied_python_runs_and_agrees(tmp_path: Path) -> None:
    """For a counter and a GRU, with edits of every kind and one pasted as JSON, to 1e-12 in float64."""
    models = [networks(seeds=[0])[0].model, networks("gru", seeds=[0])[0].model]
    pair = [ExplorerNetwork(name, model) for name, model in zip(("lstm", "gru"), models, strict=True)]
    explorer = Explorer(pair, "0110101101", {"0": 0.0, "1": 1.0})
    pasted = probe.clamp("hidden_state", [0.5, -1.0], units=[0, 3], steps=[-1, 2]).to_json()
    states = [
        {},
        {
            "y": "1111100000",
            "edits": [
                draft("patch", "cell_state", "0 3 -1", "5"),
                draft("clamp", "forget_gate", "all", "6, 7", "0.75"),
                draft("steer", "output_gate_preactivation", "2", "", "-1.5"),
                draft("ablate", "cell_candidate", "1", "8"),
                draft("json", "", "", "", pasted),
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
    for state, found in zip(states, copied(explorer, states, tmp_path), strict=True):
        given = printed(found["code"])
        assert given["before"] == pytest.approx(found["before"], abs=1e-12)
        assert given["after"] == pytest.approx(found["after"], abs=1e-12)
        assert (given["before"] != given["after"]) == bool(state)


def listed(values: dict[str, Any]) -> list[float]:
    """Return the numbers of an array as `Edit.to_json` writes it."""
    dtype = getattr(torch, values["dtype"])
    return torch.frombuffer(bytearray(base64.b64decode(values["base64"])), dtype=dtype).tolist()


def test_an_experiment_of_the_page_is_the_librarys_edit(tmp_path: Path) -> None:
    """For each kind of ablation and a patch: the JSON and the answers of both, to 1e-12; each seed draws its row."""
    model = networks(seeds=[0])[0].model
    strings = ["1111100000", "0000011111", "1010101010", "0000000001"]
    site: dict[str, Any] = {"units": [7, 0, -1], "steps": [-4, 2]}
    kinds = [("ablate", 0), ("mean", 0), ("patch", 0), *(("resample", seed) for seed in range(8))]
    tried = [
        ExplorerExperiment(f"{kind} {seed}", second=strings, edits=[ExplorerEdit(kind, "cell_state", seed, **site)])
        for kind, seed in kinds
    ]
    explorer = Explorer([ExplorerNetwork("lstm", model)], "0110101101", {"0": 0.0, "1": 1.0}, experiments=tried)
    assert explorer.data is not None
    states = [experiment["state"] for experiment in json.loads(explorer.data)["experiments"]]
    double = copy.deepcopy(model).double()
    source = probe.record(double, encoded(strings, 1), signals=probe.Signal)
    answers = set()
    for experiment, found in zip(tried, copied(explorer, states, tmp_path), strict=True):
        edit = experiment.edits[0].made("lstm[0]", 12, source)
        wanted, (given,) = json.loads(edit.to_json()), found["edits"]
        assert [given["edit"], given.get("kind")] == [wanted["edit"], wanted.get("kind")]
        assert [given.get("seed"), given.get("source_rows")] == [wanted.get("seed"), wanted.get("source_rows")]
        if wanted.get("values"):
            count = len(given["values"]["data"])
            assert given["values"]["data"] == pytest.approx(listed(wanted["values"])[:count], abs=1e-12)
            assert given["values"]["shape"] == wanted["values"]["shape"]
        output = probe.record(double, encoded(["0110101101"], 1), edits=[edit]).output
        assert output[0].softmax(0).tolist() == pytest.approx(found["after"], abs=1e-12)
        answers.add(tuple(found["after"]))
    assert len(answers) == 3 + len(strings) - 1  # the patch takes the first row, which a resampling draws too


def test_what_an_experiment_puts_in_by_the_handle_is_the_librarys_patch(tmp_path: Path) -> None:
    """All that is kept, each signal and one cell, also counted from the end: the answers of both, to 1e-12."""
    model = networks(seeds=[0])[0].model
    put: list[tuple[list[str], dict[str, Any]]] = [
        (["cell_state", "hidden_state"], {"steps": [6]}),
        (["cell_state"], {"steps": [6]}),
        (["hidden_state"], {"steps": [-2]}),
        (["cell_state"], {"steps": [6], "units": [-5]}),
    ]
    tried = [
        ExplorerExperiment(
            str(place), second=["11110000"], edits=[ExplorerEdit("patch", one, **site) for one in signals]
        )
        for place, (signals, site) in enumerate(put)
    ]
    explorer = Explorer([ExplorerNetwork("lstm", model)], "0110101101", {"0": 0.0, "1": 1.0}, experiments=tried)
    assert explorer.data is not None
    states = [experiment["state"] for experiment in json.loads(explorer.data)["experiments"]]
    assert [state["put"] for state in states] == ["all", "c", "h", "u7"]
    double = copy.deepcopy(model).double()
    source = probe.record(double, encoded(["11110000"], 1), signals=probe.Signal)
    answers = set()
    for experiment, found in zip(tried, copied(explorer, states, tmp_path), strict=True):
        edits = [edit.made("lstm[0]", 12, source) for edit in experiment.edits]
        output = probe.record(double, encoded(["0110101101"], 1), edits=edits).output
        assert output[0].softmax(0).tolist() == pytest.approx(found["after"], abs=1e-12)
        answers |= {tuple(found["before"]), tuple(found["after"])}
    assert len(answers) == 1 + len(put)


def test_names_of_modules_are_quoted_and_numbers_of_a_table_are_kept(tmp_path: Path) -> None:
    """A stack deep inside a model, with a hostile name and no head, and a bare GRU, run from the copied code."""
    rows = [[0.1, -2.0], [1e-7, 3.5], [0.0, 1.0]]
    bare = drawn(nn.GRU, 1, bias=False).rnn
    explorer = Explorer([ExplorerNetwork("deep", Deep()), ExplorerNetwork("bare", bare)], rows)
    edits = [draft("clamp", "hidden_state", "1", "1", "2", layer=1)]
    states = [
        {"edits": edits},
        {"put": "all", "from": 0, "at": 1, "y": "9 9;1 0"},
        {"network": 1, "edits": [draft("ablate", "hidden_state", "1", "1")]},
    ]
    for found in copied(explorer, states, tmp_path):
        given = printed(found["code"])
        assert given["before"] == pytest.approx(found["before"], abs=1e-12)
        assert given["after"] == pytest.approx(found["after"], abs=1e-12)
        assert given["before"] != given["after"]
