"""What pages say of concepts that a planted network holds, holds partly, or never sees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_written import bits, dead, labels, last, mostly, named, ones, time, two_layers, written
from planted_cases import EXACT, Planted, emptied, words_of
from studied import beside
from torch import nn

from probe import Concept, Study
from probe.questions.telling.unit_words import Followed
from probe.studies.prepare import prepare

#: The questions of one concept, besides its reading.
UNITS = ("single-units",)
NO_CONTROL_AS_WELL = "can be read: better than from any network"
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


def of_first(*questions: str) -> Study:
    """Return a study of an RNN that keeps whether the first of three symbols was the first one, beside bits."""
    rnn, x = emptied(nn.RNN(4, 3, nonlinearity="relu", **EXACT)), np.zeros((300, 5, 4))
    x[np.arange(300), 0, np.random.default_rng(0).integers(0, 3, 300)] = 1
    x[:, :, 3] = np.random.default_rng(1).integers(0, 2, (300, 5))
    with torch.no_grad():
        rnn.weight_ih_l0[0, 0] = rnn.weight_hh_l0[0, 0] = rnn.weight_ih_l0[1, 3] = 1
    return Study(rnn, x, {"first": lambda x: ["abc"[int(x[0, :3].argmax())]] * len(x)}, questions=questions)


CASES = [
    Planted(
        "tokens, whose ids say nothing by their size",
        lambda: of_tokens("reading-class"),
        says=("the last 4 inputs alone predict it",),
        never=("no control does as well", "better than from the step, the last inputs"),
    ),
    Planted(
        "one value that is told from two others, which are not told from each other",
        lambda: of_first("reading-first"),
        says=("Not told from the other values: “b” and “c”",),
        never=("“a” and “b” of",),
    ),
    Planted(
        "a unit is the concept",
        lambda: study(written(ones=1), {"ones": ones}, *UNITS),
        says=(
            f"“ones” {NO_CONTROL_AS_WELL}",
            "One unit: unit 1 of the hidden state of .0. follows it most",
            "Unit 1 of the hidden state of .0. follows “ones” most: within steps .r. is 1.00",
            "On held-out states unit 1 is exact in a share of 1.00",
        ),
        never=("unit 0 of", "Unit 0 of"),
    ),
    Planted(
        "two units are the concept",
        lambda: study(written(ones=4, again=2), {"ones": ones}, *UNITS),
        says=(
            "One unit: unit [24] of",
            "Unit [24] of .* follows “ones” most",
            "unit [24] is exact in a share of 1.00",
        ),
        never=("nit [0135] (of|is)",),
    ),
    Planted(
        "the concept is absent",
        lambda: study(written(last=0, units=1), {"ones": ones}, *UNITS),
        says=(
            "“ones” can hardly be read",
            "none follows it as closely as a unit of the best network with random weights does",
        ),
        never=("no control does as well", NO_CONTROL_AS_WELL, *NO_UNIT),
    ),
    Planted(
        "the concept is the step",
        lambda: study(written(ones=1, time=2), {"time": time}, *UNITS),
        says=(
            "nothing beyond what the step tells is shown",
            "One unit: no two states of a step differ in the concept, so none can follow it within steps",
            "Is there one unit that holds “time”. [^:]*: “time” follows from the step alone",
        ),
        never=(*NO_UNIT, r"\|r\|", "nit [0134] is exact"),
    ),
    Planted(
        "the network is dead",
        lambda: study(dead(), {"ones": ones}, *UNITS),
        says=(
            "“ones” was not found",
            "No unit of the hidden state of .0. is shown to follow “ones”",
            "the best unit is exact in a share of 0.[12]",
        ),
        never=(*NO_UNIT, "unit \\d is exact"),
    ),
    Planted(
        "a clock beside a count that it confounds",
        lambda: study(written(time=2, units=3), {"ones": ones}, *UNITS),
        never=("unit 2 of", "Unit 2 of", "unit 2 is exact", NO_CONTROL_AS_WELL),
    ),
    Planted(
        "the concept is the last input",
        lambda: study(written(last=3), {"last": last}),
        says=("“last” can be read, but the last 4 inputs alone predict it", "One unit: unit 3 of"),
    ),
    Planted(
        "the concept is constant",
        lambda: Study(written(ones=1), bits(), {"same": np.ones(bits().shape[:2])}),
        says=("Is there one unit that holds “same”\\?[^.]*Not asked: “same” is 1", "Can “same” be read\\? Not asked"),
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
        says=("Unit 1 of the hidden state of .0. follows “late” most",),
    ),
    Planted(
        "an arbitrary label for each sequence",
        lambda: study(written(ones=1), {"label": labels(0)}),
        says=("“label” (was not found|can hardly be read)", "One unit: none is shown to follow it"),
        never=NO_UNIT,
    ),
    Planted(
        "an arbitrary number for each sequence",
        lambda: study(written(ones=1), {"number": labels(1, "12345").astype(float)}, *UNITS),
        says=("“number” (was not found|can hardly be read)", "No unit of .* is shown to follow “number”"),
        never=NO_UNIT,
    ),
    Planted(
        "a rare value",
        lambda: study(written(ones=1), {"rare": rare}),
        says=("“rare” can be read, but about as well from networks with random weights", "One unit: unit 1 of"),
    ),
    Planted(
        "three values, of which one is arbitrary",
        lambda: study(written(ones=1), {"which": named(COUNTS > 3, 0.03)}),
        says=(
            f"“A” and “B” of “which” {NO_CONTROL_AS_WELL}",
            "Not told from the other values: “C”.",
            "held-out balanced accuracy 1.00 .* Of all values the balanced accuracy is 0.[56]",
        ),
        never=("nothing beyond what the step tells", "the values of other sequences at the same step can"),
    ),
    Planted(
        "three values that are all held",
        lambda: study(written(ones=1), {"which": third}),
        says=(f"“which” {NO_CONTROL_AS_WELL}",),
        never=("Not told from", "of “which” can"),
    ),
    Planted(
        "two of three values are the last input",
        lambda: study(written(ones=1, last=2), {"which": named(bits()[:, :, 0] > 0, 0.03)}),
        says=("“A” and “B” of “which” can be read, but the last 4 inputs alone predict it", "other values: “C”"),
        never=(NO_CONTROL_AS_WELL,),
    ),
    Planted(
        "a concept that follows nearly from one that is held",
        lambda: study(written(ones=1), {"ones": ones, "nearly": mostly(COUNTS, 0.05)}),
        says=(
            f"“ones” {NO_CONTROL_AS_WELL}",
            "“nearly” can be read, but “ones” alone predicts it about as well: nothing beyond that is shown",
        ),
        never=(f"“nearly” {NO_CONTROL_AS_WELL}", "“nearly” with .{5,120}no control does as well"),
    ),
    Planted(
        "a name that follows from a count that is held",
        lambda: study(written(ones=1), {"ones": ones, "many": many}),
        says=(f"“ones” {NO_CONTROL_AS_WELL}", "“many” can be read, but “ones” alone predicts it"),
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
        says=(f"“ones” {NO_CONTROL_AS_WELL}", "“time” can be read, but the step alone predicts it"),
    ),
    Planted(
        "large whole numbers",
        lambda: study(written(ones=1), {"large": lambda x: 90_000_000 * ones(x)}, *UNITS, "linear-readout"),
        says=(
            f"“large” {NO_CONTROL_AS_WELL}",
            "Unit 1 of the hidden state of .0. follows “large” most",
            "Can a linear probe read “large”",
        ),
        never=("Not asked: .{0,200}large",),
    ),
    Planted(
        "large whole numbers, step by step",
        lambda: study(written(ones=1), {"large": lambda x: 90_000_000 * ones(x)}, "one-sequence"),
        says=("a probe reads “large” to within 4.5e\\+07 after 40 of 40 steps",),
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
    group = beside(subject)
    assert sum(Followed.of(group, name).named for name in every) <= 1
    assert sum(Followed.of(group[:1], name).named for name in every) <= 1


def test_a_page_names_one_unit_for_a_concept(tmp_path: Path) -> None:
    """A text is coloured by the unit that the sentence names, though a probe reads another layer better."""
    letters = np.eye(7, dtype=np.float32)[np.random.default_rng(0).integers(0, 7, (200, 12))]
    asked = ["one-sequence", "reading-ones"]
    said = words_of(Study(two_layers(), letters, {"ones": ones}, symbols="abcdefg", questions=asked), tmp_path)
    assert "It was read" not in said
    assert "The best of 2 places is the hidden state of [1]" in said
    assert "unit 1 of the hidden state of [0] follows it most" in said
    assert re.search("coloured by unit 1 of (the hidden state of )?.0., which follows “ones” most", said)
