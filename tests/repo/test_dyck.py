"""The study in one file: two networks that are trained quickly, one of which is replaced by a counter."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

import probe
from analyses import dyck
from analyses.__main__ import run

COUNTER, LEARNER = 0, 1
#: What the counter is known to give: every answer right, its cell the depth, each push one bracket.
KNOWN = {
    ("answers", "worst_step_error"): 0,
    ("cell", "lasting_monotone_accuracy"): 1,
    ("one-level", "moved_by_one"): 1,
}


def counter() -> dict[str, torch.Tensor]:
    """Return an LSTM of one unit with open gates: each bracket adds tanh(1) to its cell, or takes it off."""
    return {
        "lstm.weight_ih_l0": torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0], [0.0, 0.0]]),
        "lstm.weight_hh_l0": torch.zeros(4, 1),
        "lstm.bias_ih_l0": torch.tensor([30.0, 30.0, 0.0, 30.0]),
        "lstm.bias_hh_l0": torch.zeros(4),
        "head.weight": torch.full((1, 1), 10.0),
        "head.bias": torch.full((1,), -3.0),
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory):
    """Return the folder of the page, and of the networks that it is about."""
    folder = tmp_path_factory.mktemp("dyck")
    small = {"SEEDS": (COUNTER, LEARNER), "UPDATES": 60, "ASKED": 150, "FOLDER": folder / "models"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(dyck, name, value)
        safetensors.torch.save_file(counter(), dyck.train(COUNTER)["trained"])
        assert run(["dyck", "--out", str(folder / "page")]) == 0
        patch.setattr(torch.optim, "Adam", None)
        assert len(dyck.study().networks["trained"]) == 2
    return folder


def test_a_study_is_one_short_file():
    """A third study costs no more than this, with its rules and its training."""
    assert len(Path(dyck.__file__).read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(("question", "metric"), KNOWN)
def test_a_counter_is_recognised_beside_its_controls(report: Path, question: str, metric: str):
    """And no control of it does as well."""
    table = probe.Finding.read(report / "page" / "findings" / question).measurements
    rows = table[(table["metric"] == metric) & (table["pair"] == f"seed-{COUNTER}")]
    values = rows.groupby("role")["value"].first()
    assert values["trained"] == pytest.approx(KNOWN[question, metric], abs=1e-6)
    assert (abs(values.drop("trained") - values["trained"]) > 0.05).all()


def test_every_rule_is_judged_and_told(report: Path):
    """Two networks are too few for a verdict, and the page counts in how many each claim is true."""
    claims = [claim for path in (report / "page" / "findings").iterdir() for claim in probe.Finding.read(path).claims]
    assert {claim.verdict for claim in claims} == {"undecided"}
    page = (report / "page" / "index.html").read_text(encoding="utf-8")
    told = {claim.rule for claim in claims if claim.rule.on_page in page}
    assert told > {dyck.NEVER_WRONG, dyck.ONE_MAP, dyck.STRAIGHT, dyck.ONE_LEVEL}


def test_training_is_the_same_each_time(report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its seed decides every bit."""
    monkeypatch.setattr(dyck, "UPDATES", 60)
    monkeypatch.setattr(dyck, "FOLDER", tmp_path)
    for path in dyck.train(LEARNER).values():
        assert path.read_bytes() == (report / "models" / path.relative_to(tmp_path)).read_bytes()
