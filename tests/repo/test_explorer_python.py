"""The Python that a reader copies from a page runs as it is, and gives what the page shows."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from models.zoo import networks
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork
from tests.repo.golden_runs import drawn, encoded

ROOT = Path(__file__).resolve().parents[2]
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
