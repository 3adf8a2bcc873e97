"""Pages of planted networks: of answers that come from elsewhere, and of concepts that are held or never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from many_counters import counters
from planted_cases import Planted, bits, by_hand, every, first_feature, relu
from torch import nn

from probe import Concept
from probe.evidence import Range, Rule, measurement
from probe.questions import Question

#: What is asked of an answer, beside accuracy and interchange, which show what it is worth.
OF_ANSWERS = (
    *("answers", "other-lengths", "bit-effects", "reduced-models", "noise-margin", "quantised-states", "ablation"),
    *("unit-shares", "interchange", "class-means", "directions", "erasure", "steering"),
)
#: What would be false of a head that reads no count, and of answers that are no better than a guess.
USES = (
    *(r"needs nothing of its state but [^.]*: -?\d", r"no better than the later inputs allow: -?\d"),
    r"The answer follows the direction that a least-squares probe reads: -?\d",
    r"keeps \d+% of its right answers",
)
GUESSED = (
    *(*USES, r"does not drift away from [^:]*: -?\d", r"decides how it moves the answer[^.]*: -?\d"),
    *(r"predicts the answers at another length: -?\d", r"the network answers \d+% right", "costs? most"),
)
NO_BETTER = r"Is “ones” needed\?.* Not asked: the network answers “ones” right on {} of \d+ sequences, not clearly"
NUMBERS = np.random.default_rng(0).normal(size=(200, 20, 1))


def counts_the_ones(h: torch.Tensor) -> torch.Tensor:
    """Return scores of eight classes, the best of which is the count that unit 2 of an LSTM holds."""
    count = torch.atanh(h[:, 2].clamp(-0.999, 0.999)) / np.tanh(0.1)
    return -5 * (count[:, None] - torch.arange(8, dtype=h.dtype)) ** 2


def begun(x: np.ndarray, first: Any = 1.0) -> np.ndarray:
    """Return sequences with one feature more, which is 0 after the first step."""
    more = np.zeros_like(x)
    more[:, :1, 0] = first
    return np.concatenate([x, more], axis=2)


def rotated() -> tuple[Any, torch.Tensor]:
    """Return a count and a clock that six units hold in mixtures, of weights in float32, and what reads the count.

    Of the modes of the units that are never used three keep what rounding puts into them, at every step.
    """
    mixed = np.random.default_rng(0).uniform(0.02, 0.1, (6, 6))
    kept = mixed @ np.diag([1.0, 1, 1, 1, 1, 0]) @ np.linalg.inv(mixed)
    given = {"ih": {...: mixed[:, :1]}, "hh": {...: kept}, "bias": {...: mixed[:, 1]}}
    return relu(1, 6, **given).float(), torch.as_tensor(np.linalg.inv(mixed)[0])


ROTATED, READS_COUNT = rotated()
ANSWERED = [
    Planted(
        "the head reads the direction of a count that rounding hides among others",
        ROTATED,
        bits(1, 300, 8).astype(np.float32),
        ("directions",),
        says=[r"The answer follows the direction that a least-squares probe reads: 1 "],
        reads=lambda h: (h.double() @ READS_COUNT)[:, None],
    ),
    Planted(
        "a head that reads a clock",
        relu(1, 2, ih={1: [0.1]}, hh={(0, 0): 1, (1, 1): 1}, bias={0: 0.1}),
        every(8),
        (*OF_ANSWERS, "single-answers"),
        says=[NO_BETTER.format(r"27\.3%")],
        never=GUESSED,
        reads=lambda h: 5 * h[:, :1],
    ),
    Planted(
        "a head without memory",
        by_hand(nn.RNN, 1, 2, ih={0: [2], 1: [0.1]}, hh={(1, 1): 1}),
        NUMBERS,
        OF_ANSWERS,
        says=[
            r"Not asked: the right answer stays the base's in 100% of the pairs that differ in “last” after \d+ of"
        ],
        never=USES,
        reads={"function": lambda h: 40 * h[:, :1], "kind": "logit"},
        concepts={"last": lambda x: (x[:, 0] > 0).astype(float)},
    ),
    Planted(
        "one direction carries the answer, and states move along another",
        relu(1, 5, ih={2: [0.1], 4: [1]}, hh={(0, 0): 1, (2, 2): 1}, bias={0: 0.1}),
        bits(1, 100, 7, seed=21),
        ("single-answers", "directions", "quantised-states", "other-lengths", "reduced-models"),
        says=[
            r"states move with “zeros” carries it: later answers follow it alone: 0\.\d+ [^)]*\), not true of",
            r"The answer follows the direction that a least-squares probe reads: 1 ",
            "A low share does not show that the network needs more",
            r"At other lengths the answer does not drift away from “zeros”: (0|\d\.\d+e-1\d) ",
            r"One number, the drift, predicts the answers at another length: 1 ",
        ],
        never=["the readout cannot give the right answer"],
        reads={"function": lambda h: (h[:, 0] - h[:, 2])[:, None] * 10, "steps": "every"},
        concepts={"zeros": lambda x: (1 - x[:, 0]).cumsum()},
    ),
    Planted(
        "two units count alike, and their mean is read",
        relu(1, 3, ih={...: [0.1], 2: [1]}, hh={(0, 0): 1, (1, 1): 1}),
        bits(1, 200, 8),
        ("unit-shares", "ablation", "erasure"),
        says=[
            r"Unit 0 and unit 1 have the largest share of the mean change, 0\.50 each",
            r"The shares are spread as over 2\.0 equal units",
            r"units \d and \d alone keep [01]\.\d\d, which is enough\.",
            r"the answer is no better than the later inputs allow: 0(\.00\d*)? ",
        ],
        never=[r"unit \d alone keeps [01]\.\d\d, which is enough"],
        reads=lambda h: 5 * (h[:, :1] + h[:, 1:2]),
    ),
    Planted(
        "classes that are too few for longer strings",
        by_hand(nn.LSTM, 1, 4, ih={10: [0.1], 8: [0.3]}, hh={(8, 0): 0.3}, bias={2: 40, 6: 40, 14: 40}),
        every(7),
        ("other-lengths", "reduced-models", "quantised-states"),
        says=[
            r"To [1-9]\d* of them the readout cannot give the right answer\.",
            r"At other lengths the answer does not drift away from “ones”: 0\.0[1-9]",
            r"Not asked: it answers with one of several classes, and the drift predicts a number",
        ],
        reads=counts_the_ones,
    ),
    Planted(
        "a countdown, of which the initial state says that nothing is left",
        relu(2, 1, ih={0: [-0.1, 0.8]}, hh={(0, 0): 1}),
        begun(bits(1, 200, 8, 0.8)),
        ("memory",),
        says=[
            r"What the state held of “left” matters to the end of the sequence: 1 .* true of this network",
            r"Put another sequence's state in [^.]*, and the last answer changes 1\.00 times as much",
            r"Set the state back to the initial one [^.]*, and the last answer changes 0\.[0-4]\d times as much",
        ],
        never=["not true"],
        reads=lambda h: 10 * h,
        concepts={"left": lambda x: 8 - x[:, 0].cumsum()},
    ),
    Planted(
        "a bit that grows from below all that the answer tells",
        relu(2, 1, ih={0: [0, 1e-9]}, hh={(0, 0): 10}),
        begun(bits(1, 200, 10), bits(1, 200, 10, seed=1)[:, :1, 0]),
        ("memory",),
        says=["How long does a state matter\\? Not asked: .* changes the answer at once by less than 5%"],
        never=["times as much as the one at once"],
        reads={"function": lambda h: h, "kind": "number"},
        concepts={"first": lambda x: np.full(len(x), x[0, 1])},
    ),
]


#: What a page says of a concept that is read better than off every control, and of one that a control reads as well.
ABOVE = r"with [^“\n]*: above every control"
AS_WELL = r"with [^\n]*best control {} \({}\): not above every control"
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
    """Return the questions whether each concept can be read, and which unit follows the first one."""
    return [*(f"reading-{name}" for name in names), f"best-unit-{names[0]}"]


HELD = Rule("held", "It is held", "held", "It is 1.", "this study", Range.at_least(1), Range.below(1), needs=10)


def quick(subjects: Any) -> list[dict[str, Any]]:
    """Return a number that holds of a network."""
    return [measurement("quick", "held", subjects[0].network, 1.0)]


PICKED = [
    Planted(
        "concepts that the picked questions leave out, two of which are one",
        written(ones=1),
        X,
        ["reading-ones"],
        says=[
            "Can “last” be read\\? Not asked: the study picks its questions, and reading-last is none of them",
            "“ones” and “tens” are one concept here",
        ],
        never=["“ones” and “last” are one concept", "reading-ones is none"],
        concepts={"ones": first_feature, "tens": lambda x: 10 * first_feature(x), "last": lambda x: x[:, 0]},
    ),
    Planted(
        "three networks of ten have what a question needs",
        {"trained": list(counters(10))},
        bits(1, 60, 6).astype(np.float32),
        [
            Question(
                "quick",
                "Is it held?",
                quick,
                needs=(lambda s: "no" if s.network.name > "2" else None,),
                rules=(HELD,),
            )
        ],
        says=[r"It is held: in 3 of 3, median 1", r"Not asked of 7 networks: no\."],
    ),
]
STATES = [
    Planted(
        "a count that drifts a little while nothing comes",
        relu(1, 1, ih={0: [0.1]}, hh={(0, 0): 1}, bias={0: 1e-4}),
        bits(1, 100, 8),
        ("fixed-points",),
        says=[r"Under the input \(0\) the search finds no fixed point, but a line of slow points \(8 of modulus 1\)"],
    ),
]
EIGHT = np.random.default_rng(1).permuted(every(8), axis=0)
NEARLY = np.where(
    DRAWS.random(EIGHT.shape[:2]) < 0.05, DRAWS.permuted(EIGHT[:, :, 0].cumsum(1)), EIGHT[:, :, 0].cumsum(1)
)
#: A count that the last step puts back to 0, in every sequence.
PUT_BACK = np.where(np.arange(8) == 7, 0.0, EIGHT[:, :, 0].cumsum(1))
READ = [
    Planted(
        "a concept that varies, and has one value after the last step",
        {"trained": list(counters(2))},
        EIGHT.astype(np.float32),
        ["linear-readout", "single-units"],
        says=[r"Can a linear probe read “put back”\? Not asked: “put back” has one value after the last step"],
        never=[
            "A linear probe reads “put back” out of the last state: ",
            "better than other memories of its input: ",
        ],
        concepts={"put back": PUT_BACK},
    ),
    Planted(
        "networks that never see a concept, which is nearly the count that they hold",
        {"trained": list(counters(2))},
        EIGHT.astype(np.float32),
        ["linear-readout"],
        says=[
            r"The sum of feature 0 of the inputs is read better, with an R² of 1\.00 after the last step",
            "Rule selectivity does not judge 2 networks",
        ],
        never=["The last state holds “nearly” better than other memories of its input: "],
        concepts={"nearly": NEARLY},
    ),
    Planted(
        "units hold a count and the step, and others follow from them",
        written(ones=1, time=2),
        X,
        reading("ones", "time", "tens", "nearly", "many"),
        says=[
            *(f"“{name}” {ABOVE}" for name in ("ones", "tens", "nearly", "many")),
            f"“time” {AS_WELL.format('1.000', 'step alone')}",
            "Unit 1 of the hidden state of .0. follows “ones” best within steps: R² 1.000",
            "One monotone map of unit 1 [^\n]* in a share of 0.999 [^\n]*: above every control",
        ],
        never=["[Uu]nit [02345] of", f"“time” {ABOVE}"],
        concepts={
            "ones": first_feature,
            "time": lambda x: np.arange(1, len(x) + 1),
            "tens": lambda x: 10 * first_feature(x),
            "nearly": np.where(DRAWS.random(ONES.shape) < 0.05, DRAWS.permuted(ONES), ONES),
            "many": lambda x: first_feature(x) > 3,
        },
    ),
    Planted(
        "the concept is absent, and the last input is there",
        written(last=0, units=1),
        X,
        reading("ones", "last"),
        says=[
            f"“ones” {AS_WELL.format('0.[0-9]+', '[^)]*')}",
            f"“last” {AS_WELL.format('1.000', 'last 4 inputs')}",
            "Unit 0 of the hidden state of .0. follows “ones” best [^\n]*: R² 0.1[^\n]*: not above every control",
        ],
        never=[": above every control", "\\bnan\\b"],
        concepts={"ones": first_feature, "last": lambda x: ["one" if step[0] else "nought" for step in x]},
    ),
    Planted(
        "arbitrary labels of sequences",
        written(ones=1),
        X,
        reading("number", "label"),
        says=[
            *(f"“{name}” {AS_WELL.format('-?0.[0-9]+', '[^)]*')}" for name in ("label", "number")),
            "No unit of .* is shown to follow “number”",
        ],
        never=[": above every control", "nit \\d+ of .{5,40} follows", "\\bnan\\b"],
        concepts={"number": labels("12345").astype(float), "label": labels("abcdefg")},
    ),
    Planted(
        "a category that one unit holds",
        written(ones=1),
        X,
        ["best-unit-many"],
        says=["Unit 1 of the hidden state of .0. follows “many” best within steps: balanced accuracy"],
        concepts={"many": lambda x: ["many" if one > 3 else "few" for one in first_feature(x)]},
    ),
    Planted(
        "classes, one of which is held exactly and two of which are random",
        written(last=0, units=1),
        X,
        ["reading-kind"],
        says=[r"balanced accuracy 0\.\d+ [^\n]*By value: “none” 1\.000, “left” 0\.\d+ and “right” 0\.\d+\."],
        concepts={"kind": np.where(X[:, :, 0] == 0, "none", DRAWS.choice(["left", "right"], X.shape[:2]))},
    ),
    Planted(
        "tokens, whose ids say nothing by their size",
        of_tokens(),
        TOKENS,
        ["reading-class"],
        says=[f"“class” {AS_WELL.format('1.000', 'last 4 inputs')}"],
        never=[": above every control"],
        concepts={"class": Concept(np.isin(TOKENS, (1, 4)).astype(int), kind="categorical")},
    ),
    Planted(
        "a layer that reads both ways",
        both_ways(),
        bits(1, 110, 20),
        ["reading-next"],
        says=["A state that sequences share counts once", "which has already seen later inputs"],
        concepts={"next": lambda x: [*x[1:, 0].tolist(), None]},
    ),
]


@pytest.mark.parametrize("case", [*ANSWERED, *READ, *STATES, *PICKED], ids=lambda case: case.name)
def test_what_is_said_of_a_planted_network_is_true(case: Planted, tmp_path: Path) -> None:
    """Each sentence that must stand does, and none that would be false; what cannot be asked says why."""
    case.check(tmp_path)
