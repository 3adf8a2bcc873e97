"""What is said of interchanged states ends at the network's own answers to the spliced sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_studies import (
    Brackets,
    brackets,
    can_occur,
    depth,
    head_of_unit_0,
    language_model,
    one_hot,
    quoted,
    texts,
)
from refusing import refused
from studied import answer, bits, ones, parts, planted, study_of
from torch import nn

from probe import Finding, Readout, Study
from probe.methods.causal.pairs import Pairs
from probe.questions.interventions import interchange
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.ends import ends_of
from probe.subjects.pairs import SplicedPairs, spliced_inputs, spliced_pairs
from probe.subjects.plans import Plan


@pytest.fixture(scope="module")
def trained() -> tuple[Brackets, np.ndarray, np.ndarray]:
    """Return a GRU that was trained on brackets of depth 0 to 3, with these."""
    x, lengths = brackets()
    return Brackets(x, lengths).eval(), x, lengths


def study_of_brackets(trained: tuple[Brackets, np.ndarray, np.ndarray], **more: Any) -> Study:
    """Return a study of the depth."""
    model, x, lengths = trained
    given: dict[str, Any] = {"readout": Readout("depth", function=model.head)}
    return Study(model.encoder, x, {"depth": depth}, lengths=lengths, **(given | more))


def study_of_quotes(**more: Any) -> Study:
    """Return a study of what is quoted in the texts of the language model."""
    weight, bias = head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit", **more)
    return Study(language_model(), one_hot(texts()), {"quoted": quoted}, readout=readout)


def followed(finding: Finding) -> dict[str, float]:
    """Return the share of answers that follow by what was put in: its kind, with its signal or units."""
    rows = finding.measurements.query("metric == 'followed' and role == 'trained'")
    names = rows[["kind", "signal", "units"]].agg(" ".join, axis=1).str.split().str.join(" ")
    return dict(zip(names, rows["value"], strict=True))


def count(finding: Finding, metric: str) -> float:
    """Return the only value of a metric."""
    (found,) = finding.measurements.query("metric == @metric")["value"]
    return float(found)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("said", [True, False])
def test_the_scale_ends_at_the_networks_own_answers(said: bool, trained: Any) -> None:
    """All answers follow the whole state: what cannot occur, or is answered wrong as it is, does not count."""
    found = answer(study_of_brackets(trained, valid=can_occur if said else None), "interchange")
    shares = followed(found)
    assert shares["whole"] == 1
    assert shares["nothing"] == 0
    assert (count(found, "right") > 0.98) is said
    words = found.notes["answer"]
    assert words.startswith("With another sequence's whole state put in ")
    assert "100% of the answers follow, with nothing put in 0%." in words
    assert f"it answers right, {count(found, 'right'):.0%} of all" in words
    assert ("The study does not say which sequences can occur" in found.notes["setup"]) is not said


def test_what_is_interchanged_is_what_the_module_answers_to_the_splice(trained: Any) -> None:
    """Spliced by hand: the sequence, whether it can occur, and the module's own answer."""
    subject = prepare(study_of_brackets(trained, valid=can_occur))[0]
    end = ends_of(subject)
    task = task_of(subject)
    step = end.steps - 4
    found = spliced_pairs(subject, end, task, step, torch.arange(len(end.rows)), most=400)
    x, lengths = spliced_inputs(subject, end, found.pairs.base, found.pairs.source, step)
    model, given, ends = trained
    assert 300 < len(found.pairs) <= 400
    for pair, (base, source) in enumerate(zip(found.pairs.base.tolist(), found.pairs.source.tolist(), strict=True)):
        b, s = end.rows[base], end.rows[source]
        whole = np.concatenate([given[s, : ends[s] - 3], given[b, ends[b] - 3 : ends[b]]])
        np.testing.assert_array_equal(x[pair, : lengths[pair]].numpy(), whole)
        assert lengths[pair] == len(whole)
        assert can_occur(whole)
        assert depth(whole)[-1] != depth(given[b, : ends[b]])[-1]
        with torch.no_grad():
            own = int(model.head(model.encoder(torch.tensor(whole)[None])[0][0, -1]).argmax())
        assert own == depth(whole)[-1]


@pytest.mark.usefixtures("undrawn")
def test_the_step_can_be_chosen() -> None:
    """In the middle of a text, and at its end, unit 0 alone moves the answer."""
    middle, last = (answer(study_of_quotes(interchange_step=step), "interchange") for step in (None, -1))
    for found in (middle, last):
        assert followed(found)["units 0"] == 1
        assert "The best of its parts, 1 unit chosen by the concept (0): 100%" in found.notes["answer"]
    assert followed(middle)["part hidden_state"] == 0
    assert "after the last step" in last.notes["setup"]
    assert "We patched last states only" not in last.notes["setup"]


@pytest.mark.usefixtures("undrawn")
def test_a_value_that_later_inputs_decide_is_not_called_one_that_the_answer_ignores() -> None:
    """An array with `replaced`: pairs that later inputs decide do not count, and the others follow the state."""
    x = one_hot(texts())
    values = np.array([quoted(one) for one in x])
    weight, bias = head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit", combine="replaced", interchange_step=-9)
    found = answer(Study(language_model(), x, {"quoted": values}, readout=readout), "interchange")
    assert count(found, "right") > 0.95
    assert followed(found)["whole"] == 1
    assert f"it answers right, {count(found, 'right'):.0%} of all" in found.notes["answer"]


class Twice(nn.Module):
    """A layer that hands on what it reads, above one that counts: the memory is not in the layer that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = planted(), nn.RNN(6, 6, batch_first=True, nonlinearity="relu")
        with torch.no_grad():
            for parameter in self.high.parameters():
                parameter.zero_()
            self.high.get_parameter("weight_ih_l0").copy_(torch.eye(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the upper layer's states."""
        return self.high(self.low(x)[0])[0]


@pytest.mark.usefixtures("undrawn")
def test_of_a_memory_that_lies_elsewhere_nothing_is_asked() -> None:
    """The state that would be patched is not the whole one; that of the lower layer is, whatever reads it."""
    given = study_of(planted()).readout
    assert given is not None
    readout = Readout("ones", weight=given.weight, bias=given.bias, layer="high[0]")
    found = answer(Study(Twice(), bits(), {"ones": ones}, readout=readout), "interchange")
    assert "Not asked: high[0] reads what low[0] may remember of earlier inputs" in found.notes["answer"]
    below = Readout("ones", weight=given.weight, bias=given.bias, layer="low[0]")
    found = answer(Study(Twice(), bits(), {"ones": ones}, readout=below), "interchange")
    assert followed(found)["whole"] == 1


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (
            (0, 900, 0, 0, 0.0, 0.0, 0.0),
            "none of 900 pairs can occur, as valid says",
        ),
        (
            (0, 0, 0, 0, 0.0, 0.0, 0.0),
            "“x” is the same in all sequences 3 steps before the end, or",
        ),
        ((0, 0, 90, 90, 0.0, 0.0, 0.0), "the readout cannot give the right answer after any patch"),
        (
            (40, 0, 90, 0, 0.5, 0.45, 1.0),
            "the sequences that are spliced 3 steps before the end right by “x”, and 45% with no patch at all",
        ),
        (
            (20, 0, 90, 0, 0.9, 0.1, 1.0),
            "right by “x”: 20 of 90 pairs",
        ),
        ((40, 0, 90, 0, 0.9, 0.1, 1.0), None),
    ],
)
def test_why_nothing_is_interchanged_is_said(numbers: tuple[Any, ...], said: str | None) -> None:
    """Which pairs were left out decides the sentence, and of enough that count there is none."""
    machine = ends_of(prepare(study_of(planted()))[0]).machine
    rows = torch.zeros(numbers[0]).long()
    pairs = Pairs(machine, 4, rows, rows)
    plan = Plan(4, 3, 4_096, 256, 300)
    found = interchange.too_few(SplicedPairs(pairs, *numbers[1:]), "x", plan, levels=True)
    assert found is None if said is None else said in str(found)
    far = SplicedPairs(pairs, 0, 90, 0, 1.0, 0.0, 0.04)
    assert "go 0.04 of the way" in str(interchange.too_few(far, "x", plan, levels=False))


@pytest.mark.parametrize("step", [0, 3, True, 1.5, "-1"])
def test_a_step_is_counted_from_the_end(step: Any) -> None:
    """Anything but a whole number below 0 is refused."""
    with refused():
        _ = Readout("ones", function=len, interchange_step=step)


def test_a_step_that_cannot_be_is_refused() -> None:
    """Where sequences are shorter, and where nothing says what becomes of an array later."""
    given = study_of(planted()).readout
    assert given is not None
    readout = Readout("ones", weight=given.weight, bias=given.bias, interchange_step=-9)
    with refused():
        _ = prepare(study_of(planted(), readout=readout))[0]
    readout = Readout("ones", weight=given.weight, bias=given.bias, interchange_step=-2)
    values = np.cumsum(bits()[:, :, 0], axis=1)
    with refused():
        _ = prepare(study_of(planted(), readout=readout, concepts={"ones": values}))[0]


def test_what_says_that_a_sequence_can_occur_must_be_right_about_those_that_do() -> None:
    """No function, one that raises, answers something else, or refuses a sequence of the inputs."""
    with refused():
        _ = study_of(planted(), valid="always")
    for valid in (lambda x: 1 / 0, lambda x: "yes", lambda x: x[0, 0] == 1):
        with refused():
            _ = prepare(study_of(planted(), valid=valid))[0]


def test_answers_of_another_step_or_other_sequences_are_not_taken_up() -> None:
    """Both are part of what a study is."""
    given = study_of(planted()).readout
    assert given is not None
    readout = Readout("ones", weight=given.weight, bias=given.bias, interchange_step=-2)
    own = parts(prepare(study_of(planted()))[0])
    step = parts(prepare(study_of(planted(), readout=readout))[0])
    valid = parts(prepare(study_of(planted(), valid=lambda x: True))[0])
    assert {name for name in own if own[name] != step[name]} == {"readout"}
    assert {name for name in own if own[name] != valid[name]} == {"inputs"}


@pytest.mark.usefixtures("undrawn")
def test_the_planted_unit_is_what_the_answer_needs() -> None:
    """Every other unit can go; without it the rare answer is lost, which is half of what there is to answer."""
    study = study_of_quotes()
    found = answer(study, "ablation")
    said = found.notes["answer"]
    assert said.startswith("Unit 0 costs most of the ")
    assert "without it the accuracy falls by 0.4" in said
    assert said.endswith("1 of them cost more than 0.05. Of the 1.00, unit 0 alone keeps 1.00, which is enough.")
    assert "right on 100.0% of 200 sequences" in answer(study, "answers").notes["answer"]
