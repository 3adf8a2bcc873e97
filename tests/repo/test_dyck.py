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


def test_a_counter_is_recognised_beside_its_controls_and_every_rule_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No control of it does as well; two networks are too few for a verdict; training is the same each time."""
    small = {"SEEDS": (COUNTER, LEARNER), "UPDATES": 40, "ASKED": 120, "FOLDER": tmp_path / "models"}
    for name, value in small.items():
        monkeypatch.setattr(dyck, name, value)
    safetensors.torch.save_file(counter(), dyck.train(COUNTER)["trained"])
    assert run(["dyck", "--out", str(tmp_path / "page")]) == 0
    folder = tmp_path / "page" / "findings"
    for (question, metric), known in KNOWN.items():
        table = probe.Finding.read(folder / question).measurements
        rows = table[(table["metric"] == metric) & (table["pair"] == f"seed-{COUNTER}")]
        values = rows.groupby("role")["value"].first()
        assert values["trained"] == pytest.approx(known, abs=1e-6)
        assert (abs(values.drop("trained") - values["trained"]) > 0.05).all()
    claims = [claim for path in folder.iterdir() for claim in probe.Finding.read(path).claims]
    assert {claim.verdict for claim in claims} == {"undecided"}
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    told = {claim.rule for claim in claims if claim.rule.on_page in page}
    assert told > {dyck.NEVER_WRONG, dyck.ONE_MAP, dyck.STRAIGHT, dyck.ONE_LEVEL}
    monkeypatch.setattr(dyck, "FOLDER", tmp_path / "again")
    for path in dyck.train(LEARNER).values():
        assert path.read_bytes() == (tmp_path / "models" / path.relative_to(tmp_path / "again")).read_bytes()
    # What is trained is taken, and not trained again.
    monkeypatch.setattr(dyck, "FOLDER", tmp_path / "models")
    monkeypatch.setattr(torch.optim, "Adam", None)
    assert len(dyck.study().networks["trained"]) == 2
