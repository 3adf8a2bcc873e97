"""The question of interchange on networks whose answers stand in their output, and on ones that cannot be asked."""

from __future__ import annotations

import pytest
import torch
from known_machines import READ, WINS, Reader, Tally, X
from studied import bits, planted, study_of
from torch import nn

from probe import Readout
from probe.evidence.measurements import Network
from probe.questions.interventions import alignment, interchange
from probe.studies.answer import answer
from probe.studies.prepare import prepare
from probe.subjects.computed.plans import CALLED_PAIRS, affordable_pairs
from probe.subjects.subject import Subject


def subject_of(role: str, model: nn.Module) -> Subject:
    """Return a network that is asked how many wins it reads."""
    return Subject.of(Network(role, role, model, 0), X, WINS, **READ)


def test_the_unit_that_holds_the_concept_is_followed_and_a_control_is_not() -> None:
    """A tally of one unit beside two idle ones, and another network on the same pairs."""
    subjects = [subject_of("trained", Tally(2)), subject_of("fitted head", Reader("gru"))]
    found = answer(interchange.question(subjects[0]), subjects)
    rows = found.measurements
    followed = rows[(rows["metric"] == "followed") & (rows["role"] == "trained")].set_index("kind")["value"]
    assert (followed["nothing"], followed["whole"], followed["read"]) == (0, 1, 1)
    assert followed["searched"].min() > 0.97
    unit = rows[(rows["metric"] == "followed") & (rows["units"] == "0")]
    assert unit["value"].tolist() == pytest.approx([1])
    assert followed["random"].mean() < 0.6
    control = rows[rows["role"] == "fitted head"]
    assert set(control["metric"]) == {"followed", "shift", "accuracy"}
    assert "with unit 0 alone 1.00, more than" in found.notes["answer"]
    assert "fitted head (right on" in found.notes["search"]
    assert found.figures[0].alt.startswith("12 patches: with nothing patched 0.00 of the answers follow")


def test_what_a_network_does_not_meet_is_said() -> None:
    """A random head is mostly wrong, and a numpy head has no gradient for a search of directions."""
    subject = subject_of("trained", Reader("gru"))
    found = answer(interchange.question(subject), [subject])
    assert found.notes["answer"].startswith("Not asked: The answers are mostly wrong")
    assert not len(found.measurements)
    readout = Readout("ones", function=lambda h: torch.as_tensor(h.numpy() @ torch.ones(6, 9).double().numpy()))
    (other,) = prepare(study_of(planted(), readout=readout))
    assert "no gradient" in str(alignment.question(other).why_not(other))


def test_a_function_of_the_study_is_called_for_few_pairs() -> None:
    """Each right answer is a call, so that pairs are drawn; an array with a rule is not called."""
    (called,) = prepare(study_of(planted()))
    values = bits()[:, :, 0].cumsum(1)
    given = study_of(planted()).readout
    assert given is not None
    readout = Readout("ones", weight=given.weight, bias=given.bias, combine="added")
    (added,) = prepare(study_of(planted(), concepts={"ones": values}, readout=readout))
    assert affordable_pairs(called, 3, 4, most=2**15) == CALLED_PAIRS
    assert affordable_pairs(added, 3, 4, most=2**15) == 2**15
    found = alignment.measure([called], step=3, steps=(), ranks=(), iterations=60)
    assert found["value"].notna().all()
