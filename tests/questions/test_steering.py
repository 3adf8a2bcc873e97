"""Questions that push states, and that put another run's in.

- Pushing states: on a tally that goes where it is pushed, and on a GRU of two features.
- The question of interchange on networks whose answers stand in their output, and on ones that cannot be asked.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import LEAD, READ, WINS, Reader, Tally, X, machine_of, subjects
from refusing import refused
from studied import bits, planted, study_of
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import shift_by_one
from probe.methods.causal.support import Support
from probe.methods.causal.task import Task
from probe.plots.style import style
from probe.questions.interventions import alignment, interchange, steering
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.plans import affordable_pairs
from probe.subjects.subject import Subject

#: All sequences of eight bits.
BITS = np.array(list(itertools.product((0.0, 1.0), repeat=8)))[:, :, None]
#: Those that end as they begin.
CLOSED = BITS[BITS[:, 0, 0] == BITS[:, -1, 0]]


def value(table: pd.DataFrame, metric: str, kind: str, dose: float | None = None) -> float:
    """Return one value."""
    rows = table[(table["metric"] == metric) & (table["kind"] == kind)]
    return float(rows[rows["at"].isna() if dose is None else rows["at"] == dose]["value"].item())


def test_a_tally_goes_where_it_is_pushed() -> None:
    """Its cell is linear in the count, so both ways give the answer of another count, at every dose."""
    table = steering.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    for kind in ("class_mean", "linear"):
        assert value(table, "steered_exact", kind) == 1
        assert value(table, "steered_shift", kind) == pytest.approx(1, abs=1e-6)
        for dose in range(-3, 4):
            assert value(table, "dose_response", kind, dose) == pytest.approx(dose, abs=1e-6)
    assert set(table["step"]) == {2}
    assert len(table[(table["metric"] == "dose_response") & (table["kind"] == "linear")]) == 13
    assert len(table[(table["metric"] == "dose_response") & (table["kind"] == "class_mean")]) == 7


def test_a_curved_code_follows_class_means_and_not_the_slope() -> None:
    """At the last step the tally is read off h = tanh(c): at .6 a win, a straight push misses."""
    table = steering.measure(subjects([Network("curved", "trained", Tally(gain=0.6), 0)]), step=-1)
    assert value(table, "steered_exact", "class_mean") == 1
    assert value(table, "steered_exact", "linear") < 0.9
    assert value(table, "steered_off_support", "class_mean") == pytest.approx(0, abs=1e-6)
    assert value(table, "steered_off_support", "linear") > 0.05


def test_on_a_gru_each_number_is_that_of_the_states_pushed_by_hand() -> None:
    """Both ways, and half of a push along the slope."""
    model, task, step = Reader("gru", units=4, seed=5), Task(WINS), 3
    table = steering.measure(
        subjects([Network("gru", "trained", model, 0)], layer="rnn[0]"),
        step=step,
    )
    machine = machine_of(model)
    classes = classes_at(machine, task, step)
    means, one = dict(zip(classes.values, classes.means, strict=True)), shift_by_one(classes)
    for kind in ("class_mean", "linear"):
        hits, moved, states = [], [], []
        for sign in (-1, 1):
            for row in range(32):
                lead = int(WINS[row, step])
                if lead + sign not in means:
                    continue
                push = means[lead + sign] - means[lead] if kind == "class_mean" else sign * one
                state = machine.clean.states[row, step] + torch.as_tensor(push)
                found = machine.answers(state[None], torch.tensor([row]), step)
                hits.append(int(found.chosen) == int(WINS[row, -1]) + sign)
                moved.append(sign * float(found.expected - machine.clean.answers.expected[row]))
                states.append(state.numpy())
        assert value(table, "steered_exact", kind) == pytest.approx(np.mean(hits))
        assert value(table, "steered_shift", kind) == pytest.approx(np.mean(moved))
        far = np.median(Support.of(classes).distances(np.array(states)))
        assert value(table, "steered_off_support", kind) == pytest.approx(far)
    rows = torch.tensor([row for row in range(32) if WINS[row, step] + 0.5 <= 4])
    found = machine.answers(machine.clean.states[rows, step] + torch.as_tensor(one / 2), rows, step)
    change = (found.expected - machine.clean.answers.expected[rows]).mean()
    assert value(table, "dose_response", "linear", 0.5) == pytest.approx(float(change))
    assert set(table["layer"]) == {"rnn[0]"}


def test_values_that_are_not_one_apart_and_a_missing_step_are_refused() -> None:
    """The message lists the values that occur."""
    network = [Network("gru", "trained", Reader("gru"), 0)]
    with refused():
        steering.measure(subjects(network, concept=LEAD), step=1)
    with refused():
        steering.measure(subjects(network), step=5)


def test_the_target_is_what_the_combination_says() -> None:
    """Where the answer should not follow the concept at all, a tally that follows it is wrong, and has no shift."""
    network = [Network("tally", "planted", Tally())]
    table = steering.measure(subjects(network, combine=lambda source, base, final: final), step=2)
    assert value(table, "steered_exact", "class_mean") == 0
    assert "steered_shift" not in set(table["metric"])


def test_the_figure_shows_every_dose_beside_the_line_it_should_follow() -> None:
    """A tally's line is the dotted one; the table's numbers are those drawn."""
    networks = [Network("tally", "trained", Tally(), 0), Network("gru", "fitted head", Reader("gru"), 0)]
    table = steering.measure(subjects(networks), step=2)
    with style():
        ax = steering.draw(table)
    lines = {line.get_label(): line for line in ax.lines}
    assert np.asarray(lines["trained"].get_xdata()).tolist() == list(steering.DOSES)
    assert np.asarray(lines["trained"].get_ydata())[::2] == pytest.approx(range(-3, 4), abs=1e-6)
    own = table[(table["metric"] == "dose_response") & (table["kind"] == "linear") & (table["role"] == "fitted head")]
    assert sorted(np.asarray(lines["fitted head"].get_ydata())) == pytest.approx(sorted(own["value"]))
    with refused():
        steering.draw(table[table["kind"] != "linear"])


def seen(x: np.ndarray) -> np.ndarray:
    """Return whether a one was read so far."""
    return (x[:, 0].cumsum() > 0).astype(int)


def as_first(x: np.ndarray) -> np.ndarray:
    """Return whether the input is the first one again: its value does not decide what follows."""
    return (x[:, 0] == x[0, 0]).astype(int)


def latch() -> nn.RNN:
    """Return a network whose first unit goes from about -1 to about 1 at the first one, and stays."""
    rnn: Any = nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.mul_(0.01)
        rnn.weight_hh_l0[0], rnn.bias_hh_l0[0] = torch.tensor([3.0, 0.0]), 0.0
        rnn.weight_ih_l0[0], rnn.bias_ih_l0[0] = torch.tensor([8.0]), -1.0
    return rnn


def of_latch(concept: Any, answers: Any = (0, 1), bits: Any = BITS, **more: Any) -> Subject:
    """Return the latch, asked for a concept on all sequences of eight bits."""
    readout = Readout("seen", function=lambda h: torch.stack([-h[:, 0], h[:, 0]], 1), answers=answers)
    (subject,) = prepare(Study(latch(), bits, {"seen": concept}, readout=readout, **more))
    return subject


def test_the_answer_of_a_latch_follows_its_own_function_and_not_a_sum() -> None:
    """What was seen and is pushed to unseen is seen again if a one follows, which adding would not give."""
    subject = of_latch(seen)
    table = steering.measure([subject], step=4)
    assert value(table, "steered_exact", "class_mean") == 1
    rows, unseen = torch.arange(len(subject.x)), torch.zeros(len(subject.x)).double()
    later = subject.x[:, 5:, 0].double().max(1).values
    assert torch.equal(task_of(subject).with_value(unseen, rows, 4), later)


def values_of(concept: Any) -> np.ndarray:
    """Return a concept as an array."""
    return np.array([concept(one) for one in BITS])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"concept": values_of(seen)}, "nobody says its value where another sequence's rest is read"),
        (
            {"concept": seen, "bits": CLOSED, "valid": lambda x: x[0, 0] == x[-1, 0]},
            "cannot occur by valid",
        ),
    ],
)
def test_what_has_no_right_answer_after_a_push_is_not_asked(given: dict[str, Any], reason: str) -> None:
    """A sum is not taken for granted: each is named with its reason."""
    subject = of_latch(**given)
    assert reason in str(steering.question(subject).why_not(subject))


@pytest.mark.parametrize("given", [{"concept": as_first}, {"concept": lambda x: 2 * seen(x), "answers": (0, 2)}])
def test_what_cannot_be_pushed_by_one_is_refused(given: dict[str, Any]) -> None:
    """A concept that does not decide the right answer, and one whose values are two apart."""
    with refused():
        steering.measure([of_latch(**given)], step=4)


def subject_of(role: str, model: nn.Module) -> Subject:
    """Return a network that is asked how many wins it reads."""
    return Subject.of(Network(role, role, model, 0), X, WINS, **READ)


def test_the_unit_that_holds_the_concept_is_followed_and_a_control_is_not() -> None:
    """A tally of one unit beside two idle ones, and another network on the same pairs."""
    subjects = [subject_of("trained", Tally(2)), subject_of("fitted head", Reader("gru"))]
    found = answer(interchange.question(subjects[0]), subjects)
    rows = found.measurements
    followed = rows[(rows["metric"] == "followed") & (rows["role"] == "trained")].set_index("kind")["value"]
    assert (followed["nothing"], followed["whole"]) == (0, 1)
    assert followed["searched"].min() > 0.97
    unit = rows[(rows["metric"] == "followed") & (rows["units"] == "0")]
    assert unit["value"].tolist() == pytest.approx([1])
    assert followed["random"].mean() < 0.6
    control = rows[rows["role"] == "fitted head"]
    assert set(control["metric"]) == {"followed", "shift", "accuracy"}
    assert (
        "100% of the answers follow, with nothing put in 0%. The best of its parts, 1 unit" in found.notes["answer"]
    )


def test_what_a_network_does_not_meet_is_said() -> None:
    """A random head is mostly wrong."""
    subject = subject_of("trained", Reader("gru"))
    found = answer(interchange.question(subject), [subject])
    assert found.notes["answer"].startswith("Not asked: The answers are mostly wrong")
    assert not len(found.measurements)


def test_a_function_of_the_study_is_called_for_few_pairs() -> None:
    """Each right answer is a call, so that pairs are drawn; an array with a rule is not called."""
    (called,) = prepare(study_of(planted()))
    values = bits()[:, :, 0].cumsum(1)
    given = study_of(planted()).readout
    assert given is not None
    readout = Readout("ones", weight=given.weight, bias=given.bias, combine="added")
    (added,) = prepare(study_of(planted(), concepts={"ones": values}, readout=readout))
    assert affordable_pairs(called, 3, 4, most=2**15) == called.budget.called_pairs
    assert affordable_pairs(added, 3, 4, most=2**15) == 2**15
    found = alignment.measure([called], step=3, steps=(), ranks=(), iterations=60)
    assert found["value"].notna().all()
