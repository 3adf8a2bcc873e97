"""A study's own code, and what makes it another study.

- A study's own code: what ends the process is an error with its line, and any function can be a readout.
- What makes a study another one: each change is seen, and the same study made anew is the same.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import answer, bits, head, ones, parts, planted, report_of, study_of, without_pictures, written
from torch import Tensor, nn

from probe import Readout
from probe.command_line import main
from probe.studies.identity import digest
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
    places = {"top": "", "concept": "", "program": ""} | {place: "sys.exit(0)"}
    _ = (tmp_path / "functions.py").write_text(QUITS.format(**places), encoding="utf-8")
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
    assert "Directions were not searched for: the readout has no gradient" in found.notes["setup"]
    assert "Directions were not searched for" not in expected.notes["setup"]
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
    assert "Directions were not searched for" in report.findings["interchange"].notes["setup"]


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

    with refused():
        _ = study_of(planted(), inputs=bits(96), readout=Readout("ones", function=fails)).run(tmp_path / "report")


LIMIT = 3


class Scaled(nn.Module):
    """A network with a number that is no weight."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.rnn, self.scale = planted(), scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the states."""
        return self.rnn(x * self.scale)[0]


class Above:
    """A program that is an object."""

    def __init__(self, bound: int) -> None:
        self.bound = bound

    def __call__(self, sequence: tuple[int, ...]) -> int:  # noqa: D102 - as its class says
        return int(sum(sequence) > self.bound)


def count(sequence: tuple[int, ...]) -> int:
    """Return how many ones a sequence has."""
    return sum(sequence)


def late(sequence: tuple[int, ...]) -> int:
    """Return the same, but for sequences that few have: seven ones or more."""
    return min(sum(sequence), 6)


def chosen(output: Tensor) -> Tensor:
    """Return answers from a network's output."""
    return (10 * output[:, -1, 0]).round()


def chosen_otherwise(output: Tensor) -> Tensor:
    """Return others from the seventeenth sequence on."""
    found = (10 * output[:, -1, 0]).round()
    found[16:] = 0
    return found


def given(**more: Any) -> dict[str, str]:
    """Return the digests of a study whose network's answer stands in its output, every function made anew."""
    said: dict[str, Any] = {"output": (chosen, lambda output: 10 * output[:, -1, 0])}
    said |= {"combine": lambda source, base, whole: source + whole - base}
    readout = Readout("ones", **said | {name: more.pop(name) for name in tuple(more) if name in READOUT})
    study = study_of(
        Scaled(more.pop("scale", 1.0)),
        **{
            "readout": readout,
            "valid": lambda x: len(x) > 0,
            "programs": {"count": count},
            "concepts": {"ones": lambda x: x[:, 0].cumsum()},
        }
        | more,
    )
    return parts(prepare(study)[0])


READOUT = ("output", "combine", "interchange_step")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"programs": {"count": late}}, "programs"),
        ({"programs": {"count": Above(2)}}, "programs"),
        ({"output": (chosen_otherwise, chosen)}, "readout"),
        ({"combine": lambda source, base, whole: source}, "readout"),
        ({"interchange_step": -2}, "readout"),
        ({"scale": 2.0}, "weights"),
        ({"valid": lambda x: len(x) > 0 or x.sum() > 99}, "inputs"),
        # The same on all sequences of the study, and not on shorter ones.
        ({"concepts": {"ones": lambda x: x[:, 0].cumsum() * (len(x) == 8)}}, "concepts"),
    ],
)
def test_whatever_is_changed_makes_another_study(more: dict[str, Any], part: str) -> None:
    """Each change is seen, also where the first sequences do not show it, and names its part alone."""
    one, same, other = given(), given(), given(**more)
    assert one == same
    assert {name for name in one if one[name] != other[name]} == {part}


def test_programs_are_compared_by_their_answers_too(tmp_path: Path) -> None:
    """What a program reads from a file is no part of its code; the first sixteen sequences do not show it."""
    assert bits()[:16].sum(1).min() > 1 >= bits().sum(1).min()
    file = tmp_path / "bound.txt"

    def few(sequence: tuple[int, ...]) -> int:
        return int(sum(sequence) <= int(file.read_text()))

    found = []
    for bound in ("-1", "1"):
        _ = file.write_text(bound)
        found.append(given(programs={"few": few})["programs"])
    assert found[0] != found[1]


def adding(number: float, scale: float = 1.0) -> Callable[[float], float]:
    """Return a function with a number that it closes over, and one as its default."""

    def inner(value: float, times: float = scale) -> float:
        return sum(value * times + number for _ in range(LIMIT))

    return inner


def test_functions_are_told_by_all_that_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, constants, defaults, what is closed over, global values, and what is bound to them."""
    assert digest(adding(1.0)) == digest(adding(1.0))
    others = [
        adding(2.0),
        adding(1.0, 2.0),
        functools.partial(adding(1.0), 3.0),
        Above(1),
        Above(2),
        Above(1).__call__,
    ]
    others += [Above(2).__call__, functools.lru_cache(adding(1.0)), functools.lru_cache(adding(2.0)), np.sum, len]
    others += [
        nn.Linear(2, 2),
        Scaled(1.0),
        Scaled(2.0),
        {1: 2},
        [1, 2],
        {1, 2},
        np.arange(3),
        torch.arange(3),
        True,
        1,
    ]
    before = {digest(one) for one in [adding(1.0), *others]}
    assert len(before) == len(others) + 1
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 4)
    assert digest(adding(1.0)) not in before, "a global value is part of it"
    loop: list[Any] = []
    loop.append(loop)
    assert digest(loop) == digest(loop)
    assert digest(threading.Lock()) != digest(threading.Lock()), "what cannot be told is never the same"


def test_a_function_is_the_same_in_another_process() -> None:
    """No address and no order of a set is in its digest."""
    code = (
        "from probe.studies.identity import digest\n"
        "def inner(x, kind=frozenset('abc')):\n    return x in {'a', 'b', 'c'} or (lambda y: y)(kind)\n"
        "print(digest(inner, [inner], {'one', 'two', 'three'}))"
    )
    command = [sys.executable, "-c", code]
    said = {subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(2)}
    assert len(said) == 1
