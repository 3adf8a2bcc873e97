"""A study hands its tolerance to every run that it makes, and answers under another tolerance are other answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from studied import bits, ones, planted, study_of, without_pictures, written
from torch import Tensor, nn

import probe
from probe import Finding, Study
from probe.command_line import main
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study


class Off(nn.GRU):
    """A GRU that returns its states a little larger than its weights make them."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return states, (batch, time, unit), and the last ones."""
        states, last = super().forward(input, hx)
        return states * (1 + 3e-4), last * (1 + 3e-4)


class Turning(nn.Module):
    """A recurrence of one's own: a rotation that decays, and the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(1, 4, bias=False)
        self.across = nn.Parameter(torch.linalg.qr(torch.arange(16.0).reshape(4, 4).sin())[0] * 0.8)

    def forward(self, x: Tensor) -> Tensor:
        """Return states, (batch, time, unit)."""
        state, found = x.new_zeros(len(x), 4), []
        for step in self.into(x).unbind(1):
            state = torch.tanh(state @ self.across + step)
            found.append(state)
        return torch.stack(found, 1)


class Near(probe.Step):
    """Its step, which is a little off."""

    def inputs(self, x: Tensor) -> Tensor:
        """Return what it reads, (batch, time, number)."""
        return x

    def initial(self, batch: int) -> Tensor:
        """Return the state before the first step."""
        return torch.zeros(batch, 4)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the next state."""
        after = torch.tanh(state @ self.module.across + self.module.into(x)) * (1 + 1e-4)
        return after, after


class Answering(nn.Module):
    """A layer with a head on its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = layer, nn.Linear(4, 9)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, 9)."""
        found = self.layer(x)
        return self.head((found[0] if isinstance(found, tuple) else found)[:, -1])


def asked(study: Study, folder: Path) -> set[str]:
    """Return the questions that a study answers."""
    with without_pictures():
        _ = study.run(folder)
    found = {path.name: Finding.read(path) for path in (folder / "findings").iterdir()}
    return {name for name, finding in found.items() if not finding.measurements.empty}


def answering(layer: nn.Module) -> Answering:
    """Return a model with weights that a seed draws."""
    torch.manual_seed(1)
    return Answering(layer)


def test_a_network_that_is_a_little_off_is_asked_what_an_exact_one_is(tmp_path: Path) -> None:
    """Its own output, states in both types of number, answers and controls: no run is refused in the middle."""
    torch.manual_seed(0)
    exact = nn.GRU(1, 4, batch_first=True)
    off = Off(1, 4, batch_first=True)
    _ = off.load_state_dict(exact.state_dict())
    given: dict[str, Any] = {"inputs": bits(40), "concepts": {"ones": ones}}
    with refused():
        _ = Study(answering(off), **given).run(tmp_path / "refused")
    wanted = asked(Study(answering(exact), **given), tmp_path / "exact")
    assert wanted >= {"answers", "fixed-points", "gates", "network", "one-sequence", "reading-ones"}
    assert asked(Study(answering(off), **given, tolerance=1e-3), tmp_path / "off") == wanted
    assert "differ from the network" in (tmp_path / "off" / "index.html").read_text()
    assert "differ from the network" not in (tmp_path / "exact" / "index.html").read_text()


def test_a_step_that_is_a_little_off_is_run_from_its_states(tmp_path: Path) -> None:
    """What runs a layer alone has the same bound as what records it."""
    probe.register(Turning, Near)
    given: dict[str, Any] = {"inputs": bits(40), "concepts": {"ones": ones}, "questions": ["fixed-points"]}
    with refused():
        _ = Study(answering(Turning()), **given).run(tmp_path / "refused")
    assert asked(Study(answering(Turning()), **given, tolerance=1e-3), tmp_path / "taken") == {
        "network",
        "fixed-points",
    }


def test_answers_under_another_tolerance_are_not_reused(tmp_path: Path) -> None:
    """The folder is that of another study, until it is overwritten."""
    _ = study_of(planted(), questions=["answers"]).run(tmp_path)
    with refused():
        _ = study_of(planted(), questions=["answers"], tolerance=1e-4).run(tmp_path)


def test_a_study_file_says_it_under_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what refuses a network says where."""
    path = written(tmp_path)
    path.write_text(path.read_text().replace("[network]\n", "[network]\ntolerance = 1e-4\n"))
    study = read_study(path)
    assert (study.tolerance, prepare(study)[0].tolerance) == (1e-4, 1e-4)
    path.write_text(path.read_text().replace("1e-4", "1e-12"))
    assert main.run(["report", str(path), "-o", str(tmp_path / "report")]) == 1
    assert "tolerance" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [-1e-5, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(wrong: float) -> None:
    """It is a number from 0."""
    with refused():
        _ = study_of(planted(), tolerance=wrong)
