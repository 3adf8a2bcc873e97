"""What is said of interchanged states ends at the network's own answers to the spliced sequences."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from bodies import hidden
from known_studies import Brackets, brackets, can_occur, depth, head_of_unit_0, language_model, one_hot, quoted, texts
from planted_cases import relu
from refusing import refused
from studied import answer, bits, ones, planted, study_of
from torch import nn

from probe import Finding, Readout, Study
from probe.methods.causal.pairs import Pairs
from probe.questions.interventions import interchange
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.ends import ends_of
from probe.subjects.pairs import SplicedPairs, spliced_inputs, spliced_pairs
from probe.subjects.plans import Plan

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def trained() -> tuple[Brackets, np.ndarray, np.ndarray]:
    """Return a GRU that was trained on brackets of depth 0 to 3, with these."""
    x, lengths = brackets(200)
    return Brackets(x, lengths).eval(), x, lengths


def study_of_brackets(trained: tuple[Brackets, np.ndarray, np.ndarray], **more: Any) -> Study:
    """Return a study of the depth."""
    model, x, lengths = trained
    readout = Readout("depth", function=model.head)
    return Study(model.encoder, x, {"depth": depth}, lengths=lengths, readout=readout, **more)


def followed(finding: Finding) -> dict[str, float]:
    """Return the share of answers that follow by what was put in: its kind, with its signal or units."""
    rows = finding.measurements.query("metric == 'followed' and role == 'trained'")
    names = [" ".join(" ".join(row).split()) for row in rows[["kind", "signal", "units"]].to_numpy()]
    return dict(zip(names, rows["value"], strict=True))


def right(finding: Finding) -> float:
    """Return the share of spliced sequences that the network answers right."""
    (found,) = finding.measurements.query("metric == 'right'")["value"]
    return float(found)


@pytest.mark.parametrize("said", [True, False])
def test_the_scale_ends_at_the_networks_own_answers(said: bool, trained: Any) -> None:
    """All answers follow the whole state: what cannot occur, or is answered wrong as it is, does not count."""
    found = answer(study_of_brackets(trained, valid=can_occur if said else None), "interchange")
    shares = followed(found)
    assert (shares["whole"], shares["nothing"]) == (1, 0)
    assert (right(found) > 0.98) is said
    assert "with the whole state 100%, which cannot fail, and with nothing 0%." in found.notes["answer"]
    assert f"it answers right, {right(found):.0%} of all" in found.notes["answer"]
    assert ("The study does not say which sequences can occur" in found.notes["setup"]) is not said


def test_what_is_interchanged_is_what_the_module_answers_to_the_splice(trained: Any) -> None:
    """Spliced by hand: the sequence, whether it can occur, and the module's own answer."""
    subject = prepare(study_of_brackets(trained, valid=can_occur))[0]
    end = ends_of(subject)
    step = end.steps - 4
    found = spliced_pairs(subject, end, task_of(subject), step, torch.arange(len(end.rows)), most=400)
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


def test_the_planted_unit_is_what_the_answer_needs_at_any_step() -> None:
    """In the middle of a text, and where an array is replaced and later inputs decide of many pairs."""
    x, (weight, bias) = one_hot(texts(120)), head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit")
    study = Study(language_model(), x, {"quoted": quoted}, readout=readout)
    found = answer(study, "interchange")
    assert followed(found)["units 0"] == 1
    assert "With 1 unit chosen by the concept (0), the best part" in found.notes["answer"]
    assert "steps before the end" in found.notes["setup"]
    array = dataclasses.replace(readout, combine="replaced", interchange_step=-3)
    values = {"quoted": np.array([quoted(one) for one in x])}
    found = answer(dataclasses.replace(study, concepts=values, readout=array), "interchange")
    assert right(found) > 0.95
    assert followed(found)["whole"] == 1
    said = answer(study, "ablation").notes["answer"]
    assert said.startswith("Unit 0 costs most of the ")
    assert "without it the accuracy falls by 0.5" in said
    assert said.endswith("1 of them cost more than 0.05. Of the 1.00, unit 0 alone keeps 1.00, which is enough.")


def test_what_cannot_fail_is_not_asked() -> None:
    """After the last step the readout reads what is put in; where later inputs give the answer, any state does."""
    x, (weight, bias) = one_hot(texts(120)), head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit")
    study = Study(language_model(), x, {"quoted": quoted}, readout=readout)
    given: Any = {"concepts": {"quoted": np.array([quoted(one) for one in x])}}
    array = "“quoted” is an array: nobody says its value where another sequence's rest is read"
    last = {"readout": dataclasses.replace(readout, interchange_step=-1)}
    early = {"readout": dataclasses.replace(readout, interchange_step=-9)}
    rare = {"concepts": {"quoted": lambda one: [None] * (len(one) - 1) + quoted(one).tolist()[-1:]}}
    late = "can be answered right by the later inputs: its answers could hardly get worse than that"
    for more, why in ((given, array), (last, "no step follows"), (rare, "no step follows"), (early, late)):
        assert why in answer(dataclasses.replace(study, **more), "interchange").notes["answer"]


def test_of_a_memory_that_lies_elsewhere_nothing_is_asked() -> None:
    """The state that would be patched is not the whole one; that of the lower layer is, whatever reads it."""
    given: Any = study_of(planted()).readout
    upper = relu(6, 6, ih=dict(enumerate(torch.eye(6)))).float()
    model = nn.Sequential(hidden(rnn=planted()), upper)
    for layer in ("1[0]", "0.rnn[0]"):
        readout = Readout("ones", weight=given.weight, bias=given.bias, layer=layer)
        found = answer(Study(model, bits(80), {"ones": ones}, readout=readout), "interchange")
        if layer == "1[0]":
            assert "Not asked: 1[0] reads what 0.rnn[0] may remember of earlier" in found.notes["answer"]
        else:
            assert followed(found)["whole"] == 1


def test_why_nothing_is_interchanged_is_said() -> None:
    """Which pairs were left out decides the sentence, and of enough that count there is none."""
    machine = ends_of(prepare(study_of(planted()))[0]).machine
    for count, numbers, said in (
        (0, (900, 0, 0, 0.0, 0.0, 0.0), "none of 900 pairs can occur, as valid says"),
        (0, (0, 0, 0, 0.0, 0.0, 0.0), "“x” is the same in all sequences 3 steps before the end, or"),
        (0, (0, 90, 90, 0.0, 0.0, 0.0), "the readout cannot give the right answer after any patch"),
        (40, (0, 90, 0, 0.5, 0.45, 1.0), "right by “x”, and 45% with no patch at all"),
        (20, (0, 90, 0, 0.9, 0.1, 1.0), "right by “x”: 20 of 90 pairs"),
        (40, (0, 90, 0, 0.9, 0.1, 1.0), "None"),
    ):
        rows = torch.zeros(count).long()
        found = SplicedPairs(Pairs(machine, 4, rows, rows), *numbers)
        assert said in str(interchange.too_few(found, "x", Plan(4, 3, 4_096, 256, 300), levels=True))
    far = dataclasses.replace(found, right=1.0, before=0.0, way=0.04)
    assert "go 0.04 of the way" in str(interchange.too_few(far, "x", Plan(4, 3, 4_096, 256, 300), levels=False))


def test_a_step_and_what_can_occur_are_checked() -> None:
    """A whole number below 0, within all sequences; and a function that says true of each that is studied."""
    for step in (0, 3, True, 1.5, "-1"):
        with refused():
            _ = Readout("ones", function=len, interchange_step=step)
    given: Any = study_of(planted()).readout
    array = {"ones": np.cumsum(bits()[:, :, 0], axis=1)}
    for step, more in ((-9, {}), (-2, {"concepts": array})):
        readout = dataclasses.replace(given, interchange_step=step)
        with refused():
            _ = prepare(study_of(planted(), readout=readout, **more))
    for valid in ("always", lambda x: 1 / 0, lambda x: "yes", lambda x: x[0, 0] == 1):
        with refused():
            _ = prepare(study_of(planted(), valid=valid))
