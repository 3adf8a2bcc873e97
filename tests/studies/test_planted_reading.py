"""What pages say of concepts that a planted network holds, holds partly, or never sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_written import bits, dead, labels, last, mostly, ones, time, written
from planted_cases import Planted, emptied
from torch import nn

from probe import Concept, Study
from probe.questions.states.targets import unit_follows
from probe.studies.prepare import prepare
from probe.subjects.states import states_of

#: The questions of one concept, besides its reading.
UNITS = ("single-units",)
#: What stands between a concept and what the controls say of it.
NUMBERS = r"with [^\n]*\s+(Can “[^”]*” be read\? )?"
NO_CONTROL_AS_WELL = rf"{NUMBERS}No control does as well"
AS_WELL = rf"{NUMBERS}It is not read clearly better than from"
#: No unit is called the one that follows.
NO_UNIT = ("unit \\d+ of .{5,40} follows", "Unit \\d+ of .{5,40} follows", "\\bnan\\b")


def study(net: nn.Module, concepts: Mapping[str, Any], *questions: str, **more: Any) -> Study:
    """Return a study of bits that asks of each concept whether it can be read, and further questions."""
    asked = [*(f"reading-{name}" for name in concepts), *questions]
    return Study(net, bits(), concepts, questions=asked, **more)


def late(x: np.ndarray) -> np.ndarray:
    """Return the number of ones from the sixth step on, where it is defined."""
    return np.where(np.arange(len(x)) >= 5, ones(x), np.nan)


def many(x: np.ndarray) -> np.ndarray:
    """Return whether more than three ones came."""
    return ones(x) > 3


def rare(x: np.ndarray) -> np.ndarray:
    """Return whether eight ones came in ten steps or fewer, as after 1 % of the beginnings."""
    return ones(x) > 7


def third(x: np.ndarray) -> list[str]:
    """Return a name for each third of the counts."""
    return [("few", "some", "many")[min(int(count) // 2, 2)] for count in ones(x)]


COUNTS = np.array([ones(x) for x in bits()])


class OfTokens(nn.Module):
    """Embeds six tokens, one unit each, and remembers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 6)
        self.rnn = emptied(nn.RNN(6, 6, batch_first=True))
        with torch.no_grad():
            self.embedding.weight.copy_(torch.eye(6))
            self.rnn.weight_ih_l0.copy_(torch.eye(6))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the states."""
        return self.rnn(self.embedding(ids))[0]


def of_tokens(*questions: str) -> Study:
    """Return a study of a class of the last token, which its number does not tell."""
    ids = np.random.default_rng(0).integers(0, 6, (150, 6))
    classes = np.isin(ids, (1, 4)).astype(int)
    return Study(OfTokens(), ids, {"class": Concept(classes, kind="categorical")}, questions=questions)


CASES = [
    Planted(
        "tokens, whose ids say nothing by their size",
        lambda: of_tokens("reading-class"),
        says=(f"“class” {AS_WELL} inputs alone .the last 4 inputs, 1.00",),
        never=("No control does as well",),
    ),
    Planted(
        "a unit is the concept",
        lambda: study(written(ones=1), {"ones": ones}, *UNITS),
        says=(
            f"“ones” {NO_CONTROL_AS_WELL}",
            "Unit 1 of the hidden state of .0. follows “ones” best within steps: .r. is 1.00",
            "gives the exact value in a share of 1.00 of held-out states",
        ),
        never=("unit 0 of", "Unit 0 of"),
    ),
    Planted(
        "two units are the concept",
        lambda: study(written(ones=4, again=2), {"ones": ones}, *UNITS),
        says=(
            "Unit [24] of .* follows “ones” best within steps",
            "gives the exact value in a share of 1.00 of held-out states",
        ),
        never=("nit [0135] of",),
    ),
    Planted(
        "the concept is absent",
        lambda: study(written(last=0, units=1), {"ones": ones}, *UNITS),
        says=(
            f"“ones” {NUMBERS}The score is not shown to exceed that of knowing nothing by 0.05",
            "No unit of the hidden state of .0. is shown to follow “ones” within steps more than in controls",
        ),
        never=("No control does as well", *NO_UNIT),
    ),
    Planted(
        "the concept is the step",
        lambda: study(written(ones=1, time=2), {"time": time}, *UNITS),
        says=(
            f"“time” {AS_WELL} the step .the step alone, 1.00",
            "Is there one unit that holds “time”. [^:]*: “time” follows from the step alone",
        ),
        never=(*NO_UNIT, r"\|r\|"),
    ),
    Planted(
        "the network is dead",
        lambda: study(dead(), {"ones": ones}, *UNITS),
        says=(
            "“ones” was not found",
            "No unit of the hidden state of .0. is shown to follow “ones”",
            "gives the exact value in a share of 0.[12]",
        ),
        never=NO_UNIT,
    ),
    Planted(
        "a clock beside a count that it confounds",
        lambda: study(written(time=2, units=3), {"ones": ones}, *UNITS),
        never=("Unit 2 of", NO_CONTROL_AS_WELL),
    ),
    Planted(
        "the concept is the last input",
        lambda: study(written(last=3), {"last": last}),
        says=(f"“last” {AS_WELL} inputs alone .the last 4 inputs",),
    ),
    Planted(
        "the concept is constant",
        lambda: Study(written(ones=1), bits(), {"same": np.ones(bits().shape[:2])}),
        says=(
            "Is there one unit that holds “same”\\?[^.]*Not asked: “same” never varies where",
            "Can “same” be read\\? Not asked",
        ),
        never=("tells “same”", "[Uu]nit \\d+ of", "no concept has enough states", "holds “same”\\? [^W]"),
    ),
    Planted(
        "the concept is a constant name",
        lambda: Study(written(ones=1), bits(), {"same": np.full(bits().shape[:2], "on")}),
        says=("Can “same” be read\\? Not asked: “same” is “on” at every state",),
        never=("tells “same”", "[Uu]nit \\d+ of"),
    ),
    Planted(
        "the concept is one where it is defined",
        lambda: study(written(ones=1), {"late": late}, *UNITS),
        says=("Unit 1 of the hidden state of .0. follows “late” best within steps",),
    ),
    Planted(
        "an arbitrary label for each sequence",
        lambda: study(written(ones=1), {"label": labels(0)}),
        says=("“label” was not found|The score is not shown to exceed",),
        never=NO_UNIT,
    ),
    Planted(
        "an arbitrary number for each sequence",
        lambda: study(written(ones=1), {"number": labels(1, "12345").astype(float)}, *UNITS),
        says=("“number” was not found|The score is not shown to exceed", "No unit of .* is shown to follow “number”"),
        never=NO_UNIT,
    ),
    Planted(
        "a rare value",
        lambda: study(written(ones=1), {"rare": rare}),
        says=(f"“rare” {AS_WELL} random weights",),
    ),
    Planted(
        "three values that are all held",
        lambda: study(written(ones=1), {"which": third}),
        says=(f"“which” {NO_CONTROL_AS_WELL}",),
    ),
    Planted(
        "a concept that follows nearly from one that is held",
        lambda: study(written(ones=1), {"ones": ones, "nearly": mostly(COUNTS, 0.05)}),
        says=(
            f"“ones” {NO_CONTROL_AS_WELL}",
            f"“nearly” {AS_WELL} other concepts .“ones”,",
        ),
        never=(f"“nearly” {NO_CONTROL_AS_WELL}",),
    ),
    Planted(
        "a name that follows from a count that is held",
        lambda: study(written(ones=1), {"ones": ones, "many": many}),
        says=(f"“ones” {NO_CONTROL_AS_WELL}", f"“many” {AS_WELL} other concepts .“ones”,"),
        never=(f"“many” {NO_CONTROL_AS_WELL}",),
    ),
    Planted(
        "one concept by two names",
        lambda: study(written(ones=1), {"ones": ones, "tens": lambda x: 10 * ones(x)}),
        says=(f"“ones” {NO_CONTROL_AS_WELL}", f"“tens” {NO_CONTROL_AS_WELL}"),
    ),
    Planted(
        "a clock and a count, each of a unit",
        lambda: study(written(ones=1, time=2), {"ones": ones, "time": time}),
        says=(f"“ones” {NO_CONTROL_AS_WELL}", f"“time” {AS_WELL} the step"),
    ),
    Planted(
        "large whole numbers",
        lambda: study(written(ones=1), {"large": lambda x: 90_000_000 * ones(x)}, *UNITS, "linear-readout"),
        says=(
            f"“large” {NO_CONTROL_AS_WELL}",
            "Unit 1 of the hidden state of .0. follows “large” best within steps",
            "Can a linear probe read “large”",
        ),
        never=("Not asked: .{0,200}large",),
    ),
    Planted(
        "large whole numbers, step by step",
        lambda: study(written(ones=1), {"large": lambda x: 90_000_000 * ones(x)}, "one-sequence"),
        says=(r"a probe reads “large” within 4.5e\+07 after 40 of 40 steps",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_of_a_planted_concept_is_true(case: Planted, tmp_path: Path) -> None:
    """Each sentence that must stand does, and none that would be false."""
    case.check(tmp_path)


def test_of_arbitrary_labels_hardly_one_names_a_unit() -> None:
    """Twenty labels of seven classes, one a sequence: of so many chance allows one."""
    every = {f"label {number}": labels(number) for number in range(20)}
    (subject,) = prepare(Study(written(ones=1), bits(), every))
    (at,) = states_of(subject).states
    assert sum(unit_follows(subject, name, at) for name in every) <= 1
