"""Pushing states, and putting another run's in: on a tally, a latch, and a GRU of two features."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import WINS, Reader, Tally, machine_of, subjects
from refusing import refused
from studied import bits, planted, study_of
from tables_read import by, rows, value, values
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import shift_by_one
from probe.methods.causal.support import Support
from probe.methods.causal.task import Task
from probe.questions.interventions import alignment, interchange, steering
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.plans import affordable_pairs
from probe.subjects.subject import Subject

#: All sequences of eight bits.
BITS = np.array(list(itertools.product((0.0, 1.0), repeat=8)))[:, :, None]
#: Those that end as they begin.
CLOSED = BITS[BITS[:, 0, 0] == BITS[:, -1, 0]]


def test_a_tally_goes_where_it_is_pushed() -> None:
    """Its cell is linear in the count, so both ways give the answer of another count, at every dose."""
    table = steering.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    for kind, count in (("class_mean", 7), ("linear", 13)):
        assert value(table, "steered_exact", kind=kind) == 1
        assert value(table, "steered_shift", kind=kind) == pytest.approx(1, abs=1e-6)
        doses = by("at", table, "dose_response", kind=kind)
        assert len(doses) == count
        assert [doses[dose] for dose in range(-3, 4)] == pytest.approx(range(-3, 4), abs=1e-6)
    assert set(table["step"]) == {2}
    # Where the answer should not follow the concept at all, a tally that follows it is wrong, and has no shift.
    stays = subjects([Network("tally", "planted", Tally())], combine=lambda source, base, final: final)
    table = steering.measure(stays, step=2)
    assert value(table, "steered_exact", kind="class_mean") == 0
    assert not len(rows(table, "steered_shift"))


def test_a_curved_code_follows_class_means_and_not_the_slope() -> None:
    """At the last step the tally is read off h = tanh(c): at .6 a win, a straight push misses."""
    table = steering.measure(subjects([Network("curved", "trained", Tally(gain=0.6), 0)]), step=-1)
    assert value(table, "steered_exact", kind="class_mean") == 1
    assert value(table, "steered_exact", kind="linear") < 0.9
    assert value(table, "steered_off_support", kind="class_mean") == pytest.approx(0, abs=1e-6)
    assert value(table, "steered_off_support", kind="linear") > 0.05


def test_on_a_gru_each_number_is_that_of_the_states_pushed_by_hand() -> None:
    """Both ways, and half of a push along the slope."""
    model, task, step = Reader("gru", units=4, seed=5), Task(WINS), 3
    table = steering.measure(subjects([Network("gru", "trained", model, 0)], layer="rnn[0]"), step=step)
    machine = machine_of(model)
    classes = classes_at(machine, task, step)
    means, one = dict(zip(classes.values, classes.means, strict=True)), shift_by_one(classes)
    for kind in ("class_mean", "linear"):
        hits, moved, states = [], [], []
        for sign, row in itertools.product((-1, 1), range(32)):
            wins = int(WINS[row, step])
            if wins + sign not in means:
                continue
            push = means[wins + sign] - means[wins] if kind == "class_mean" else sign * one
            state = machine.clean.states[row, step] + torch.as_tensor(push)
            found = machine.answers(state[None], torch.tensor([row]), step)
            hits.append(int(found.chosen) == int(WINS[row, -1]) + sign)
            moved.append(sign * float(found.expected - machine.clean.answers.expected[row]))
            states.append(state.numpy())
        assert value(table, "steered_exact", kind=kind) == pytest.approx(np.mean(hits))
        assert value(table, "steered_shift", kind=kind) == pytest.approx(np.mean(moved))
        far = np.median(Support.of(classes).distances(np.array(states)))
        assert value(table, "steered_off_support", kind=kind) == pytest.approx(far)
    chosen = torch.tensor([row for row in range(32) if WINS[row, step] + 0.5 <= 4])
    found = machine.answers(machine.clean.states[chosen, step] + torch.as_tensor(one / 2), chosen, step)
    change = (found.expected - machine.clean.answers.expected[chosen]).mean()
    assert value(table, "dose_response", kind="linear", at=0.5) == pytest.approx(float(change))
    assert set(table["layer"]) == {"rnn[0]"}


def seen(x: np.ndarray) -> np.ndarray:
    """Return whether a one was read so far."""
    return (x[:, 0].cumsum() > 0).astype(int)


def of_latch(concept: Any = seen, answers: Any = (0, 1), bits: Any = BITS, **more: Any) -> Subject:
    """Return a network whose first unit goes from about -1 to about 1 at the first one, and stays."""
    rnn: Any = nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.mul_(0.01)
        rnn.weight_hh_l0[0], rnn.bias_hh_l0[0] = torch.tensor([3.0, 0.0]), 0.0
        rnn.weight_ih_l0[0], rnn.bias_ih_l0[0] = torch.tensor([8.0]), -1.0
    readout = Readout("seen", function=lambda h: torch.stack([-h[:, 0], h[:, 0]], 1), answers=answers)
    (subject,) = prepare(Study(rnn, bits, {"seen": concept}, readout=readout, **more))
    return subject


def test_the_answer_of_a_latch_follows_its_own_function_and_not_a_sum() -> None:
    """What was seen and is pushed to unseen is seen again if a one follows, which adding would not give."""
    subject = of_latch()
    assert value(steering.measure([subject], step=4), "steered_exact", kind="class_mean") == 1
    every, unseen = torch.arange(len(subject.x)), torch.zeros(len(subject.x)).double()
    later = subject.x[:, 5:, 0].double().max(1).values
    assert torch.equal(task_of(subject).with_value(unseen, every, 4), later)
    # Where nobody says what is right after a push, a sum is not taken for granted.
    as_array = of_latch(np.array([seen(one) for one in BITS]))
    assert "nobody says its value where another" in str(steering.question(as_array).why_not(as_array))
    closed = of_latch(bits=CLOSED, valid=lambda x: x[0, 0] == x[-1, 0])
    assert "cannot occur by valid" in str(steering.question(closed).why_not(closed))
    # Whether the input is the first one again does not decide what follows.
    with refused():
        steering.measure([of_latch(lambda x: (x[:, 0] == x[0, 0]).astype(int))], step=4)


def test_the_unit_that_holds_the_concept_is_followed_and_a_control_is_not() -> None:
    """A tally of one unit beside two idle ones, and another network on the same pairs, which alone is not asked."""
    asked = subjects([Network("t", "trained", Tally(2), 0), Network("f", "fitted head", Reader("gru"), 0)])
    found = answer(interchange.question(asked[0]), asked)
    own, control = (found.measurements[found.measurements["role"] == role] for role in ("trained", "fitted head"))
    assert (value(own, "followed", kind="nothing"), value(own, "followed", kind="whole")) == (0, 1)
    assert min(values(own, "followed", kind="searched")) > 0.97
    assert value(own, "followed", units="0") == pytest.approx(1)
    assert np.mean(values(own, "followed", kind="random")) < 0.6
    assert set(control["metric"]) == {"followed", "shift", "accuracy"}
    assert (
        "100% of the answers follow, with nothing put in 0%. The best of its parts, 1 unit" in found.notes["answer"]
    )
    (random,) = subjects([Network("r", "trained", Reader("gru"), 0)])
    assert "The answers are mostly wrong" in str(interchange.question(random).why_not(random))


def test_a_function_of_the_study_is_called_for_few_pairs() -> None:
    """Each right answer is a call, so that pairs are drawn; an array with a rule is not called."""
    study = study_of(planted())
    (called,) = prepare(study)
    assert study.readout is not None
    readout = Readout("ones", weight=study.readout.weight, bias=study.readout.bias, combine="added")
    (added,) = prepare(study_of(planted(), concepts={"ones": bits()[:, :, 0].cumsum(1)}, readout=readout))
    assert affordable_pairs(called, 3, 4, most=2**15) == called.budget.called_pairs
    assert affordable_pairs(added, 3, 4, most=2**15) == 2**15
    assert alignment.measure([called], step=3, steps=(), ranks=(), iterations=60)["value"].notna().all()
