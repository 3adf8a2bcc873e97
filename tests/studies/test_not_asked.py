"""What is not asked says what to type so that it is: each line is typed here, and the reason is gone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, head, ones, planted, study_of
from torch import nn

from probe import Concept, Readout
from probe.questions import needs
from probe.studies.asked import every_question
from probe.studies.prepare import prepare
from probe.subjects.subject import Subject

X, (WEIGHT, BIAS) = bits(), head()
RAGGED = np.where(np.arange(len(X)) < 80, 6, 8)
COUNT = X[:, :, 0].cumsum(1)
#: The count where it is even, and nowhere else.
HOLES = np.where(COUNT % 2 == 0, COUNT, np.nan)
READOUT = partial(Readout, "ones", weight=WEIGHT, bias=BIAS)


def begins_with_few(x: np.ndarray) -> bool:
    """Return whether a sequence can occur: so does each that is studied, and not each that is spliced of two."""
    return tuple(x[:, 0]) in {tuple(row) for row in X[:, :, 0]}


def names(x: np.ndarray) -> list[str]:
    """Return how many ones there are, as texts."""
    return [str(int(one)) for one in ones(x)]


def planted_head() -> Any:
    """Return the planted network's head as a function of hidden states."""
    return lambda h: h @ torch.as_tensor(WEIGHT).T + torch.as_tensor(BIAS)


def delay() -> nn.RNN:
    """Return a network whose second unit has the bit before."""
    rnn: Any = nn.RNN(1, 2, batch_first=True, nonlinearity="relu")
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        rnn.weight_ih_l0[0] = rnn.weight_hh_l0[1, 0] = 1
    return rnn


@dataclass(frozen=True)
class Case:
    """What a study lacks and what is typed: arguments of `study_of` before and after.

    Attributes:
        need: what it lacks.
        typed: what its reason says to type.
        lacking: the study that lacks it.
        mended: what is typed into it.
    """

    need: needs.Need
    typed: str
    lacking: dict[str, Any]
    mended: dict[str, Any]


#: The count as texts, with a head that answers these, and as numbers.
TEXTS = {"concepts": {"ones": names}, "readout": READOUT(answers=[str(count) for count in range(9)])}
AS_NUMBERS = {"concepts": {"ones": Concept(lambda x: [*map(int, names(x))], kind="numeric")}, "readout": READOUT()}
#: A number of many values, and the same rounded.
APART = COUNT + np.linspace(0, 0.4, len(X))[:, None]
UNEVEN = {"concepts": {"ones": APART}, "readout": Readout("ones", weight=WEIGHT[1:2], bias=BIAS[1:2], kind="number")}
ROUNDED = {"concepts": {"ones": np.round(APART)}}
#: What a network answers that hands each bit on for a step: after its last step the one before.
DELAYED = {"model": delay(), "concepts": {"ones": lambda x: np.append(0, x[:-1, 0])}}
LATEST = partial(Readout, "ones", weight=np.array([[0.0, 1.0]]), bias=np.array([-0.5]), kind="logit")
CASES = {
    "a readout": Case(
        needs.readout,
        "readout=probe.Readout('ones', function=head)",
        {"readout": None},
        {"readout": Readout("ones", function=planted_head())},
    ),
    "a last value": Case(
        needs.right_answers,
        "lengths=...",
        {"concepts": {"ones": np.where(np.arange(8) < 6, COUNT, np.nan)}},
        {"lengths": np.full(len(X), 6)},
    ),
    "few values": Case(needs.exact, "np.round(values)", UNEVEN, ROUNDED),
    "few states": Case(needs.few_values, "np.round(values)", UNEVEN, ROUNDED),
    "whole numbers": Case(needs.whole_numbers, "np.round(values)", UNEVEN, ROUNDED),
    "several steps": Case(needs.several_steps, 'steps="every"', {}, {"readout": READOUT(steps="every")}),
    "programs": Case(needs.programs, 'programs={"name": function}', {}, {"programs": {"name": sum}}),
    "numbers": Case(needs.number, 'probe.Concept(values, kind="numeric")', TEXTS, AS_NUMBERS),
    "a scale": Case(needs.scale, 'probe.Concept(values, kind="numeric")', TEXTS, AS_NUMBERS),
    "a rule for what is right": Case(
        needs.known_after,
        "probe.Readout('ones', combine=\"added\")",
        {"concepts": {"ones": COUNT}},
        {"readout": READOUT(combine="added")},
    ),
    "one length": Case(
        needs.one_length,
        "inputs[lengths == 6][:, :6]",
        {"lengths": RAGGED},
        {"inputs": X[RAGGED == 6][:, :6], "lengths": None},
    ),
    "all splices": Case(needs.splices, "leave valid= out", {"valid": begins_with_few}, {"valid": None}),
    "another step": Case(
        needs.used_state,
        "interchange_step=-1",
        DELAYED | {"readout": LATEST(interchange_step=-8)},
        {"readout": LATEST(interchange_step=-2)},
    ),
    "different ends": Case(
        needs.last_states,
        "lengths=...",
        {"concepts": {"ones": np.where(np.arange(8) < 7, COUNT, 3.0)}},
        {"lengths": np.full(len(X), 7)},
    ),
    "a value at every step": Case(
        needs.numbers,
        "np.nan_to_num(values)",
        {"concepts": {"ones": HOLES}},
        {"concepts": {"ones": np.nan_to_num(HOLES)}},
    ),
}


def subject_of(model: Any = None, **given: Any) -> Subject:
    """Return the subject of a network, or of the planted one."""
    (subject,) = prepare(study_of(planted() if model is None else model, **given))
    return subject


@pytest.mark.parametrize("name", CASES)
def test_what_is_typed_mends_what_is_lacking(name: str) -> None:
    """The reason says it."""
    case = CASES[name]
    reason = case.need(subject_of(**case.lacking))
    assert case.typed in str(reason)
    assert case.need(subject_of(**case.lacking | case.mended)) is None


def test_where_the_network_is_the_reason_a_question_shows_it() -> None:
    """It is named in the reason, and can be asked of a network that guesses."""
    untrained = subject_of(nn.LSTM(1, WEIGHT.shape[1], batch_first=True))
    questions = {one.name: one for one in every_question(untrained)}
    assert 'questions=["answers"]' in str(needs.better_than_a_guess(untrained))
    assert questions["answers"].why_not(untrained) is None
    assert 'questions=["ablation"]' in needs.used_states.advice
    assert needs.used_states not in questions["ablation"].needs


def test_every_need_of_a_study_says_what_to_type() -> None:
    """But for those about what a network or its inputs are, or how large, which no line changes."""
    facts = {"gates", "runs", "two_steps", "number", "_longer", "whole_sequences"}
    found = {name: one for name, one in vars(needs).items() if isinstance(one, needs.Need)}
    assert {name for name, one in found.items() if one.reason and not one.advice} == facts
