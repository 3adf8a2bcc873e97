"""What makes a study another one: each change is seen, and the same study made anew is the same."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, planted, study_of
from torch import Tensor, nn

from probe import Readout
from probe.studies.digest import digest
from probe.studies.identity import parts
from probe.studies.prepare import prepare

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
    return parts(prepare(study)[0], "")


READOUT = ("output", "combine", "interchange_step")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"programs": {"count": late}}, "programs"),
        ({"programs": {"count": Above(2)}}, "programs"),
        ({"output": (chosen_otherwise, chosen)}, "readout"),
        ({"combine": lambda source, base, whole: source}, "readout"),
        ({"interchange_step": -2}, "readout"),
        ({"scale": 2.0}, "outputs"),
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
        "from probe.studies.digest import digest\n"
        "def inner(x, kind=frozenset('abc')):\n    return x in {'a', 'b', 'c'} or (lambda y: y)(kind)\n"
        "print(digest(inner, [inner], {'one', 'two', 'three'}))"
    )
    command = [sys.executable, "-c", code]
    said = {subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(2)}
    assert len(said) == 1
