"""A study's own code: what ends the process is an error with its line, and any function can be a readout."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import answer, bits, head, ones, planted, report_of, study_of, without_pictures, written
from torch import Tensor

from probe import ProbeError, Readout
from probe.command_line import main
from probe.studies.prepare import prepare

QUITS = """
import sys

def ones(x):
    {concept}
    return x[:, 0].cumsum()

def letter(x):
    return ["one" if step[0] else "nought" for step in x]

def count(sequence):
    {program}
    return sum(sequence)

def length(sequence):
    return len(sequence)

{top}
"""


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("top", r"cannot be run: SystemExit: it asks to exit, with the code 0, .*functions\.py, line 18"),
        ("concept", r"The concept 'ones' on sequence 0 raised SystemExit \(it asks .*functions\.py, line 5\)"),
        ("program", r"The program 'count' on sequence 0 raised SystemExit \(it asks .*functions\.py, line 12\)"),
    ],
)
def test_code_that_ends_the_process_is_an_error(
    place: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sys.exit(0)` in a study's file would leave exit code 0, no message and no page."""
    study = written(tmp_path)
    parts = {"top": "", "concept": "", "program": ""} | {place: "sys.exit(0)"}
    _ = (tmp_path / "functions.py").write_text(QUITS.format(**parts), encoding="utf-8")
    assert main.run(["report", str(study), "-o", str(tmp_path / "report"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)


def test_a_python_study_that_exits_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So is what a script does at its end, and what a command does that nobody foresaw."""
    _ = (tmp_path / "study.py").write_text("import sys\nsys.exit()\n", encoding="utf-8")
    assert main.run(["report", str(tmp_path / "study.py"), "-o", str(tmp_path / "report")]) == 1
    assert "study.py, line 2" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_what_exits_somewhere_else_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code never says that all went well where the command was not done."""
    monkeypatch.setattr(main, "app", lambda *_words, **_options: sys.exit(0))
    assert main.run(["show", "x"]) == 1
    assert "asked to exit (0) before the command was done" in capsys.readouterr().err


WEIGHT, BIAS = (torch.as_tensor(one) for one in head())


def through_numpy(h: Tensor) -> Tensor:
    """Return scores as scikit-learn's heads compute them."""
    return torch.as_tensor(h.numpy() @ WEIGHT.numpy().T + BIAS.numpy())


@torch.no_grad()
def without_gradient(h: Tensor) -> Tensor:
    """Return scores that torch keeps no graph of."""
    return h @ WEIGHT.T + BIAS


def half(h: Tensor) -> Tensor:
    """Return scores of which torch's gradient is that of a part."""
    return h @ WEIGHT.T / 2 + h.detach() @ WEIGHT.T / 2 + BIAS


def wholly(h: Tensor) -> Tensor:
    """Return scores with a right gradient."""
    return h @ WEIGHT.T + BIAS


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "through numpy": through_numpy,
    "no_grad": without_gradient,
    "half": half,
}


def interchanged(function: Any) -> Any:
    """Return what a study with a readout answers to what follows its states."""
    study = study_of(planted(), inputs=bits(96), readout=Readout("ones", function=function))
    with without_pictures():
        return answer(study, "interchange")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_readout_without_a_gradient_is_asked_all_but_the_search(name: str) -> None:
    """What needs a gradient is left out and said; all else is what the same readout with a gradient gives."""
    found, expected = interchanged(FUNCTIONS[name]), interchanged(wholly)
    assert "Directions were not searched for: the search follows the gradient" in found.notes["search"]
    assert "has none" in found.notes["search"]
    assert "Alignment search" in expected.notes["search"]
    rows = expected.measurements
    shared = rows[~rows["kind"].isin(["searched", "relabelled"]) & (rows["role"] != "fitted head")]
    assert found.measurements["value"].to_list() == pytest.approx(shared["value"].to_list(), rel=1e-9, nan_ok=True)


def test_a_whole_report_with_a_head_of_scikit_learn(tmp_path: Path) -> None:
    """A head that was fitted with scikit-learn is a function as any other, in every question."""
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([bits(96), np.zeros((1, 8, 1), np.float32), np.ones((1, 8, 1), np.float32)])
    with torch.no_grad():
        h = planted()(torch.as_tensor(x))[0][:, -1].double().numpy()
    right = np.array([ones(row)[-1] for row in x])
    fitted = LogisticRegression(C=1e6, max_iter=5000).fit(h * 100, right)

    def scores(states: Tensor) -> Tensor:
        return torch.as_tensor(fitted.decision_function(states.numpy() * 100))

    readout = Readout("ones", function=scores, answers=fitted.classes_.tolist())
    with without_pictures():
        report = report_of(study_of(planted(), inputs=x, readout=readout), tmp_path / "report")
    assert "interchange" in report.findings
    assert report.findings["interchange"].notes["search"].startswith("Directions were not searched for")


def test_a_readout_in_training_mode_is_run_in_evaluation_mode() -> None:
    """Dropout in a head would make every answer another one."""
    linear = torch.nn.Linear(6, 9)
    with torch.no_grad():
        linear.weight.copy_(WEIGHT)
        linear.bias.copy_(BIAS)
    module = torch.nn.Sequential(torch.nn.Dropout(0.9), linear)
    (subject,) = prepare(study_of(planted(), inputs=bits(12), readout=Readout("ones", function=module)))
    assert subject.head is not None
    assert subject.head.differentiable
    assert module.training


@pytest.mark.parametrize(
    ("function", "has"),
    [
        (torch.atanh, True),
        (torch.log, True),
        (lambda h: torch.atanh(h) + h.detach(), False),
        (lambda h: torch.as_tensor(np.tanh(h.detach().numpy())), False),
    ],
)
def test_a_readout_is_tried_where_it_is_defined(function: Callable[[Tensor], Tensor], has: bool) -> None:
    """Beyond 1 an atanh is no number and has no gradient, but no hidden state lies there."""
    readout = Readout("ones", function=lambda h: function(h)[:, :1])
    (subject,) = prepare(study_of(planted(), inputs=bits(12), readout=readout))
    assert subject.head is not None
    assert subject.head.differentiable is has


def test_a_readout_that_fails_later_is_told(tmp_path: Path) -> None:
    """An error of its own in mid-run is a sentence with its line, as one at the start is."""
    calls = iter(range(10**6))

    def fails(h: Tensor) -> Tensor:
        if next(calls) > 20:
            raise RuntimeError("out of order")
        return h @ WEIGHT.T + BIAS

    with pytest.raises(ProbeError, match=r"readout's function raised RuntimeError \(out of order, test_studies_own"):
        _ = study_of(planted(), inputs=bits(96), readout=Readout("ones", function=fails)).run(tmp_path / "report")
