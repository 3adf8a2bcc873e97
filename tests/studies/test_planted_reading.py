"""Pages of concepts that a planted network holds, holds partly, or never sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from planted_cases import Planted, bits, by_hand, first_feature, relu
from torch import nn

from probe import Concept

#: What stands between a concept and what the controls say of it.
NUMBERS = r"with [^\n]*\s+(Can “[^”]*” be read\? )?"
NO_CONTROL_AS_WELL = rf"{NUMBERS}No control does as well"
AS_WELL = rf"{NUMBERS}It is not read clearly better than from"
X = np.random.default_rng(0).integers(0, 2, (200, 10, 1)).astype(np.float32)
ONES = X[:, :, 0].cumsum(1)
DRAWS = np.random.default_rng(0)
TOKENS = DRAWS.integers(0, 6, (150, 6))


def written(units: int = 6, **held: int) -> nn.RNN:
    """Return a network some units of which hold `ones`, the `time`, or the `last` input; the others are random."""
    rnn = relu(1, units).float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.uniform_(-0.3, 0.3, generator=generator)
        for what, unit in held.items():
            for parameter in rnn.parameters():
                parameter[unit] = 0
            rnn.weight_hh_l0[:, unit] = 0
            rnn.weight_hh_l0[unit, unit] = float(what != "last")
            rnn.weight_ih_l0[unit, 0] = {"ones": 0.1, "time": 0.0, "last": 1.0}[what]
            rnn.bias_ih_l0[unit] = 0.1 * (what == "time")
    return rnn


def labels(values: str) -> np.ndarray:
    """Return an arbitrary label for each sequence, the same at all of its steps."""
    return np.repeat(DRAWS.choice(list(values), len(X))[:, None], X.shape[1], axis=1)


def of_tokens() -> nn.Module:
    """Return a network of six tokens, one unit each, that remembers nothing."""
    embedding = nn.Embedding.from_pretrained(torch.eye(6, dtype=torch.float64))
    return nn.Sequential(embedding, by_hand(nn.RNN, 6, 6, ih=dict(enumerate(torch.eye(6)))))


def both_ways() -> nn.RNN:
    """Return a network that reads both ways, of which a unit of the backward part holds the next input."""
    rnn = relu(1, 4, ih={0: [1]}, hh={(0, 0): 1}, bidirectional=True)
    with torch.no_grad():
        rnn.weight_ih_l0_reverse[2, 0] = rnn.weight_hh_l0_reverse[3, 2] = 1
    return rnn


def reading(*names: str) -> list[str]:
    """Return the questions whether each concept can be read, and which unit holds them."""
    return [*(f"reading-{name}" for name in names), "single-units"]


CASES = [
    Planted(
        "units hold a count and the step, and others follow from them",
        written(ones=1, time=2),
        X,
        reading("ones", "time", "tens", "nearly", "many"),
        says=[
            *(f"“{name}” {NO_CONTROL_AS_WELL}" for name in ("ones", "tens")),
            *(f"“{name}” {AS_WELL} other concepts .“ones”," for name in ("nearly", "many")),
            f"“time” {AS_WELL} the step .the step alone, 1.00",
            "Unit 1 of the hidden state of .0. follows “ones” best within steps: .r. is 1.00",
        ],
        never=["[Uu]nit [02345] of", *(f"“{name}” {NO_CONTROL_AS_WELL}" for name in ("nearly", "many"))],
        concepts={
            "ones": first_feature,
            "time": lambda x: np.arange(1, len(x) + 1),
            "tens": lambda x: 10 * first_feature(x),
            "nearly": np.where(DRAWS.random(ONES.shape) < 0.05, DRAWS.permuted(ONES), ONES),
            "many": lambda x: first_feature(x) > 3,
        },
    ),
    Planted(
        "large whole numbers",
        written(ones=1),
        X,
        ["single-units", "linear-readout", "one-sequence"],
        says=[
            "Unit 1 of the hidden state of .0. follows “large” best within steps",
            "Can a linear probe read “large”",
            r"a probe reads “large” within 4.5e\+07 after 40 of 40 steps",
        ],
        concepts={"large": lambda x: 90_000_000 * first_feature(x)},
    ),
    Planted(
        "names that are held, and a value that few states have",
        written(ones=1),
        X,
        ["reading-which", "reading-rare"],
        says=[f"“which” {NO_CONTROL_AS_WELL}", f"“rare” {AS_WELL} random weights"],
        concepts={
            "which": np.array(["few", "some", "many"])[np.minimum(ONES.astype(int) // 2, 2)],
            "rare": lambda x: first_feature(x) > 7,
        },
    ),
    Planted(
        "the concept is absent, and the last input is there",
        written(last=0, units=1),
        X,
        reading("ones", "last"),
        says=[
            f"“ones” {NUMBERS}The score is not shown to exceed that of knowing nothing by 0.05",
            f"“last” {AS_WELL} inputs alone .the last 4 inputs",
            "No unit of the hidden state of .0. is shown to follow “ones” within steps more than in controls",
        ],
        never=["No control does as well", "nit \\d+ of .{5,40} follows “ones”", "\\bnan\\b"],
        concepts={"ones": first_feature, "last": lambda x: ["one" if step[0] else "nought" for step in x]},
    ),
    Planted(
        "a clock beside a count that it confounds",
        written(time=2, units=3),
        X,
        reading("time", "ones"),
        says=["Is there one unit that holds “time”. [^:]*: “time” follows from the step alone"],
        never=["Unit 2 of", NO_CONTROL_AS_WELL],
        concepts={"time": lambda x: np.arange(1, len(x) + 1), "ones": first_feature},
    ),
    Planted(
        "the concept is constant",
        written(ones=1),
        X,
        reading("same", "on"),
        says=[
            "Is there one unit that holds “same”\\?[^.]*Not asked: “same” never varies where",
            "Can “same” be read\\? Not asked",
            "Can “on” be read\\? Not asked: “on” is “on” at every state",
        ],
        never=["[Uu]nit \\d+ of"],
        concepts={"same": np.ones(ONES.shape), "on": np.full(ONES.shape, "on")},
    ),
    Planted(
        "arbitrary labels of sequences",
        written(ones=1),
        X,
        reading("label", "number"),
        says=["“label” was not found|The score is not shown to exceed", "No unit of .* is shown to follow “number”"],
        never=["nit \\d+ of .{5,40} follows", "\\bnan\\b"],
        concepts={"number": labels("12345").astype(float), "label": labels("abcdefg")},
    ),
    Planted(
        "tokens, whose ids say nothing by their size",
        of_tokens(),
        TOKENS,
        ["reading-class"],
        says=[f"“class” {AS_WELL} inputs alone .the last 4 inputs, 1.00"],
        never=["No control does as well"],
        concepts={"class": Concept(np.isin(TOKENS, (1, 4)).astype(int), kind="categorical")},
    ),
    Planted(
        "a layer that does not read the inputs as they are",
        nn.Sequential(nn.Linear(2, 2, bias=False, dtype=torch.float64), relu(2, 4, ih={0: [0, 1]}, hh={(0, 0): 1})),
        bits(2),
        ["fixed-points"],
        says=[r"Not asked: 1\[0\] does not read the inputs themselves, and the search holds fixed what a layer"],
    ),
    Planted(
        "a layer that reads both ways",
        both_ways(),
        bits(1, 110, 20),
        ["reading-next"],
        says=["each after another prefix and before another rest", "which has already seen later inputs"],
        concepts={"next": lambda x: [*x[1:, 0].tolist(), None]},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_of_a_planted_concept_is_true(case: Planted, tmp_path: Path) -> None:
    """Each sentence that must stand does, and none that would be false."""
    case.check(tmp_path)
