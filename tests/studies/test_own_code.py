"""A study's own code: what ends the process is an error, any function can be a readout, and each change is seen."""

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
from bodies import Model
from refusing import refused
from studied import FUNCTIONS, answer, bits, head, parts, planted, study_of, without_pictures, written
from torch import Tensor, nn

from probe import Readout
from probe.command_line import main
from probe.studies.identity import digest
from probe.studies.prepare import prepare

WEIGHT, BIAS = (torch.as_tensor(one) for one in head())


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("def ones", r"cannot be run: SystemExit: it asks to exit, with the code 0, .*functions\.py, line 4"),
        ("    return np", r"The concept 'ones' on sequence 0 raised SystemExit \(it asks .*functions\.py, line 5\)"),
        ("", r"study\.py, line 2"),
    ],
)
def test_code_that_ends_the_process_is_an_error(
    before: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sys.exit(0)` in a study's file would leave exit code 0, no message and no page; so would one anywhere else."""
    path = written(tmp_path) if before else tmp_path / "study.py"
    quits = f"{before[: len(before) - len(before.lstrip())]}__import__('sys').exit(0)\n{before}"
    own = FUNCTIONS.replace(before, quits, 1) if before else "import sys\nsys.exit()\n"
    (tmp_path / ("functions.py" if before else "study.py")).write_text(own, encoding="utf-8")
    assert main.run(["report", str(path), "-o", str(tmp_path / "report"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.search(message, err)
    monkeypatch.setattr("probe.recording.reading.load_recording", lambda *_: sys.exit(0))
    assert main.run(["show", "x"]) == 1
    assert "asked to exit (0) before the command was done" in capsys.readouterr().err


def wholly(h: Tensor) -> Tensor:
    """Return scores with a right gradient."""
    return h @ WEIGHT.T + BIAS


#: The same scores without a gradient: as scikit-learn's heads compute them, with a part of it, and with autograd off.
WITHOUT: list[Callable[[Tensor], Tensor]] = [
    lambda h: torch.as_tensor(h.numpy() @ WEIGHT.numpy().T + BIAS.numpy()),
    lambda h: wholly(h / 2) + wholly(h.detach() / 2) - BIAS,
    torch.no_grad()(wholly),
]


@pytest.mark.usefixtures("undrawn")
def test_a_readout_without_a_gradient_is_asked_all_but_the_search() -> None:
    """What needs a gradient is left out and said; all else is what the same readout with a gradient gives."""
    expected, *others = (
        answer(study_of(planted(), inputs=bits(64), readout=Readout("ones", function=one)), "interchange")
        for one in (wholly, *WITHOUT)
    )
    rows = expected.measurements
    shared = rows[~rows["kind"].isin(["searched", "relabelled"]) & (rows["role"] != "fitted head")]
    assert "Directions were not searched for" not in expected.notes["setup"]
    for own in others:
        assert "Directions were not searched for: the readout has no gradient" in own.notes["setup"]
        assert own.measurements["value"].to_list() == pytest.approx(shared["value"].to_list(), rel=1e-9, nan_ok=True)


def test_a_readout_is_tried_where_it_is_defined_and_in_evaluation_mode() -> None:
    """Beyond 1 an atanh is no number, but no hidden state lies there; dropout would make each answer another one."""
    module = nn.Sequential(nn.Dropout(0.9), nn.Linear(6, 1))
    functions: dict[Any, bool] = {module: True, (lambda h: torch.atanh(h)[:, :1]): True}
    functions[lambda h: (torch.atanh(h) + h.detach())[:, :1]] = False
    for function, has in functions.items():
        subject: Any = prepare(study_of(planted(), inputs=bits(12), readout=Readout("ones", function=function)))[0]
        assert subject.head.differentiable is has
    assert module.training


def test_a_readout_that_fails_later_is_told(tmp_path: Path) -> None:
    """An error of its own in mid-run is a sentence with its line, as one at the start is."""
    calls = iter([True] * 20)
    fails = Readout("ones", function=lambda h: wholly(h) if next(calls) else h)
    with refused(), without_pictures():
        _ = study_of(planted(), inputs=bits(64), readout=fails).run(tmp_path)


LIMIT = 3


def scaled(scale: float) -> Model:
    """Return a network with a number that is no weight."""
    return Model(lambda m, x: m.rnn(x * m.scale)[0], rnn=planted(), scale=scale)


class Above:
    """A program that is an object."""

    def __init__(self, bound: int) -> None:
        self.bound = bound

    def __call__(self, sequence: tuple[int, ...]) -> int:  # noqa: D102 - as its class says
        return int(sum(sequence) > self.bound)


def chosen(output: Tensor) -> Tensor:
    """Return answers from a network's output."""
    return (10 * output[:, -1, 0]).round()


def given(**more: Any) -> dict[str, str]:
    """Return the digests of a study whose network's answer stands in its output, every function made anew."""
    said: dict[str, Any] = {"output": (chosen, lambda output: 10 * output[:, -1, 0])}
    said |= {"combine": lambda source, base, whole: source + whole - base}
    asked = ("output", "combine", "interchange_step")
    readout = Readout("ones", **said | {name: more.pop(name) for name in tuple(more) if name in asked})
    rest: dict[str, Any] = {"readout": readout, "valid": lambda x: len(x) > 0}
    rest |= {"programs": {"count": sum}, "concepts": {"ones": lambda x: x[:, 0].cumsum()}}
    return parts(prepare(study_of(scaled(more.pop("scale", 1.0)), **rest | more))[0])


@pytest.mark.parametrize(
    ("more", "part"),
    [
        # Few sequences have seven ones or more.
        ({"programs": {"count": lambda sequence: min(sum(sequence), 6)}}, "programs"),
        ({"programs": {"count": Above(2)}}, "programs"),
        # Other answers from the seventeenth sequence on.
        ({"output": (lambda output: torch.cat([chosen(output)[:16], 0 * output[16:, 0, 0]]), chosen)}, "readout"),
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
    file, found = tmp_path / "bound.txt", set[str]()
    for bound in ("-1", "1"):
        _ = file.write_text(bound)
        found.add(given(programs={"few": lambda sequence: int(sum(sequence) <= int(file.read_text()))})["programs"])
    assert len(found) == 2


def adding(number: float, scale: float = 1.0) -> Callable[[float], float]:
    """Return a function with a number that it closes over, and one as its default."""

    def inner(value: float, times: float = scale) -> float:
        return sum(value * times + number for _ in range(LIMIT))

    return inner


def test_functions_are_told_by_all_that_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, constants, defaults, what is closed over, global values, and what is bound to them."""
    others: list[Any] = [adding(2.0), adding(1.0, 2.0), functools.partial(adding(1.0), 3.0), np.sum, len]
    others += [Above(1), Above(2), Above(1).__call__, Above(2).__call__]
    others += [functools.lru_cache(adding(1.0)), functools.lru_cache(adding(2.0)), nn.Linear(2, 2), scaled(1.0)]
    others += [scaled(2.0), {1: 2}, [1, 2], {1, 2}, np.arange(3), torch.arange(3), True, 1]
    before = {digest(one) for one in [adding(1.0), *others]}
    assert len(before) == len(others) + 1
    assert digest(adding(1.0)) in before
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 4)
    assert digest(adding(1.0)) not in before, "a global value is part of it"
    loop: list[Any] = []
    loop.append(loop)
    assert digest(loop) == digest(loop)
    assert digest(threading.Lock()) != digest(threading.Lock()), "what cannot be told is never the same"


def test_a_function_is_the_same_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    """No address and no order of a set is in its digest."""
    code = (
        "from probe.studies.identity import digest\n"
        "def inner(x, kind=frozenset('abc')):\n    return x in {'a', 'b', 'c'} or (lambda y: y)(kind)\n"
        "print(digest(inner, [inner], {'one', 'two', 'three'}))"
    )
    exec(code, {})
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert other.stdout == capsys.readouterr().out
