"""A study file names a module of one's own, a study takes a list of networks, and fixed inputs have names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import bits, ones, parts, planted, study_of, without_pictures
from torch import nn

from probe import Finding, Study
from probe.command_line import main
from probe.questions.states import held_inputs
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 9)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

def make():
    torch.manual_seed(0)
    return Net()

net = make()

def wrong():
    return 3

def needs(units):
    return Net()

def ones(x):
    return x[:, 0].cumsum()
"""
REST = '\n[inputs]\nfile = "inputs.npy"\n[concepts.ones]\nfunction = "net.py:ones"\n'


def gru(seed: int) -> nn.GRU:
    """Return an untrained network."""
    torch.manual_seed(seed)
    return nn.GRU(1, 4, batch_first=True)


def study_file(folder: Path, network: str) -> Path:
    """Write a study of a module beside it, three files of its weights, and three of how it began."""
    (folder / "net.py").write_text(NET)
    np.save(folder / "inputs.npy", bits(60))
    for place, kind in enumerate(("trained", "initial")):
        (folder / kind).mkdir()
        for seed in range(3):
            torch.manual_seed(10 * place + seed + 1)
            layers = {"rnn": nn.GRU(1, 4), "head": nn.Linear(4, 9)}
            weights = {
                f"{key}.{name}": one for key, layer in layers.items() for name, one in layer.state_dict().items()
            }
            torch.save(weights, folder / kind / f"seed-{seed}.pt")
    (folder / "study.toml").write_text(f'questions = ["answers"]\n[network]\n{network}{REST}')
    return folder / "study.toml"


@pytest.mark.parametrize("named", ["make", "Net", "net"])
def test_a_study_file_names_a_module_of_ones_own(named: str, tmp_path: Path) -> None:
    """A function or a class that makes it, or the module itself; its output is the readout."""
    (subject,) = prepare(read_study(study_file(tmp_path, f'module = "net.py:{named}"')))
    assert (type(subject.model).__name__, subject.asked.concept) == ("Net", "ones")
    assert [layer.name for layer in subject.layers] == ["rnn[0]"]


def test_files_of_weights_go_into_the_module(tmp_path: Path) -> None:
    """One file, or a pattern with the own initialisations; networks are named and paired by their files."""
    table = 'module = "net.py:make"\nfile = "trained/*.pt"\n[network.controls]\n"own initialisation" = "initial/*.pt"'
    subjects = prepare(read_study(study_file(tmp_path, table)))
    assert [(one.network.name, one.network.pair) for one in subjects[2:4]] == [
        ("seed-2", "seed-2"),
        ("seed-0/own initialisation", "seed-0"),
    ]
    for one, file in zip(subjects[:3], sorted((tmp_path / "trained").iterdir()), strict=True):
        given = torch.load(file)
        assert all(torch.equal(value, given[name]) for name, value in one.model.state_dict().items())


def test_a_module_of_a_study_file_is_reported_in_worker_processes(tmp_path: Path) -> None:
    """Its class is known to no other process by its name."""
    path = study_file(tmp_path, 'module = "net.py:make"\nfile = "trained/*.pt"')
    with without_pictures():
        assert main.run(["report", str(path), "-o", str(tmp_path / "report"), "--jobs", "2"]) == 0
    table = Finding.read(tmp_path / "report" / "findings" / "answers").measurements
    assert set(table[table["role"] == "trained"]["network"]) == {"seed-0", "seed-1", "seed-2"}


@pytest.mark.parametrize(
    "network",
    [
        'module = "net.py:wrong"',
        'module = "net.py:needs"',
        'module = "net.py:mak"',
        'module = "make"',
        'module = "net.py:make"\nforget_bias = 1.0',
        'module = "net.py:make"\n[network.controls]\nother = "initial/*.pt"',
        'module = "net.py:make"\nname = "rnn"',
        'module = "net.py:make"\nfile = "trained/*.pt"\nnames = {"head.bias" = ""}',
    ],
)
def test_what_makes_no_module_is_refused(network: str, tmp_path: Path) -> None:
    """The sentence says what was named, and what must be."""
    with refused():
        _ = prepare(read_study(study_file(tmp_path, network)))


@pytest.mark.parametrize("several", [list, tuple, nn.ModuleList])
def test_a_list_of_networks_are_trained_ones(several: Any) -> None:
    """As if each were in the table under this role."""
    subjects = prepare(Study(several([gru(0), gru(1)]), bits(60), {"ones": ones}))
    assert [(one.network.name, one.network.role, one.network.pair) for one in subjects] == [
        ("0", "trained", "0"),
        ("1", "trained", "1"),
    ]


@pytest.mark.parametrize(
    "networks",
    [[], [gru(0), 3], [gru(0), gru(1).state_dict()], gru(0).state_dict(), {"trained": gru(0).state_dict()}],
)
def test_a_list_of_other_things_is_refused(networks: Any) -> None:
    """A state_dict is told how it becomes a network."""
    with refused():
        _ = prepare(Study(networks, bits(60), {"ones": ones}))


@pytest.mark.parametrize("save", [True, False])
def test_a_state_dict_becomes_a_network_as_its_refusal_says(save: bool, tmp_path: Path) -> None:
    """Both ways."""
    model, path = gru(0), tmp_path / "weights.pt"
    torch.save(gru(1).state_dict(), path)
    _ = model.load_state_dict(gru(1).state_dict())
    (subject,) = prepare(Study(path if save else model, bits(60), {"ones": ones}))
    assert all(
        torch.equal(value, gru(1).state_dict()[name.removeprefix("rnn.")])
        for name, value in subject.model.state_dict().items()
    )


def test_fixed_inputs_have_names(tmp_path: Path) -> None:
    """They are those of the table, of a study file too; a name is a part of the study, symbols are not asked."""
    named = study_of(planted(), fixed_inputs={"silence": 0.0, "a one": [1.0]}, symbols={"n": 0, "e": 1})
    held, words = held_inputs.inputs_of(prepare(named)[0])
    assert {name: value.tolist() for name, value in held.items()} == {
        "the input “silence”": [0.0],
        "the input “a one”": [1.0],
    }
    assert words == "the inputs that the study names"
    other = study_of(planted(), fixed_inputs=[[0.0], [1.0]], symbols={"n": 0, "e": 1})
    assert parts(prepare(named)[0])["fixed_inputs"] != parts(prepare(other)[0])["fixed_inputs"]
    path = study_file(tmp_path, 'module = "net.py:make"')
    path.write_text(path.read_text() + "[inputs.fixed]\nsilence = [0]\n")
    assert read_study(path).fixed_inputs == {"silence": [0]}


@pytest.mark.parametrize("given", [{"rest": [0, 0]}, {"": [0]}, {3: [0]}, {"rest": ["a"]}, {"rest": [float("nan")]}])
def test_a_table_of_fixed_inputs_that_are_none_is_refused(given: Any) -> None:
    """A name stands for as many numbers as an input has."""
    with refused():
        _ = prepare(study_of(planted(), fixed_inputs=given))
