"""What is said of a category does not depend on how rare it is, nor on how its values are spelled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_studies import OPENS, language_model, one_hot, quoted, texts
from scipy.stats import norm
from studied import answer, bits
from torch import nn

from probe import Concept, Finding, Study
from probe.methods.probing.fits import Logistic
from probe.methods.probing.scores import of_categories
from probe.methods.probing.splits import by_sequence
from probe.studies.prepare import prepare
from probe.subjects.computed.sample import draw

SPELLINGS = {
    "as numbers": quoted,
    "as texts": lambda x: ["in" if one else "out" for one in quoted(x)],
    "as truths": lambda x: quoted(x) == 1,
    "as names": Concept(lambda x: 7 - quoted(x), "categorical"),
    "as shares": lambda x: quoted(x) / 4 - 9,
}


@pytest.mark.parametrize("share", [0.02, 0.12, 0.5])
def test_the_score_of_a_category_does_not_depend_on_how_rare_it_is(share: float) -> None:
    """A number that tells a category with an AUC of .95 scores .88, a threshold's best, at any share."""
    rng, count = np.random.default_rng(0), 6_000
    target = (np.arange(count) < share * count).astype(float)
    apart = np.sqrt(2) * norm.ppf(0.95)
    states = (rng.normal(size=count) + apart * target)[:, None]
    fold, sequence = rng.permutation(count) % 4, np.arange(count) // 10
    predicted = Logistic().held_out(states, target[:, None], by_sequence(fold))[:, 0]
    score = of_categories(target, predicted, sequence, count // 10)
    assert score.value == pytest.approx(norm.cdf(apart / 2), abs=0.03)
    constant = of_categories(target, np.zeros(count), sequence, count // 10)
    assert constant.value == 0.5
    assert score.above(constant, 0)[0] > 0.3


@pytest.fixture(scope="module")
def readings() -> dict[str, Finding]:
    """Return what is read of the quotation in a language model, by how its values are spelled."""
    study = Study(language_model(), one_hot(texts()), SPELLINGS)
    return {name: answer(study, f"reading-{name.replace(' ', '-')}") for name in SPELLINGS}


def test_one_verdict_for_every_spelling(readings: dict[str, Finding]) -> None:
    """An eighth of the letters: the planted unit is read, better than from random networks, however it is written."""
    verdicts = {finding.notes["verdict"].partition("”")[2] for finding in readings.values()}
    (said,) = verdicts
    assert said.startswith(" can be read: better than from any network with random weights")
    tables = [finding.measurements.query("metric == 'score'")["value"].to_numpy() for finding in readings.values()]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], atol=0.02)


def test_what_is_measured_of_a_category_is_said(readings: dict[str, Finding]) -> None:
    """Balanced accuracy, what naming one value for all gives, and both as they are in the table."""
    for finding in readings.values():
        assert "held-out balanced accuracy 1.00" in finding.notes["measured"]
        assert "naming one value for all 0.50" in finding.notes["measured"]
        assert "logistic probes" in finding.notes["setup"]
        (best,) = finding.measurements.query("metric == 'best_score' and role == 'trained'")["value"]
        assert best == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("undrawn")
def test_a_value_of_few_sequences_is_left_out_and_said() -> None:
    """A category that stands in fewer than eight sequences cannot be held out; the others are scored without it."""
    x = bits(120, 10)
    once = np.where(x[:, :, 0] > 0, "one", "nought").astype(object)
    once[:5, 3] = "never seen again"
    torch.manual_seed(0)
    model = nn.GRU(1, 8, batch_first=True)
    notes = answer(Study(model, x, {"kind": once}), "reading-kind").notes
    assert "held-out balanced accuracy 1.00" in notes["measured"]
    assert "1 value with states in fewer than 8 sequences (never seen again)" in notes["setup"]
    assert "categorical (2 values)" in notes["setup"]
    single = np.full(x.shape[:2], "same", object)
    single[:5, 3] = "other"
    assert (
        "only “same” has states in at least 8"
        in answer(Study(model, x, {"kind": single}), "reading-kind").notes["answer"]
    )


def test_of_many_states_as_many_of_each_category_are_looked_at() -> None:
    """A category of one letter in seventy has all its states among those that are drawn."""
    x = one_hot(texts(400, 40))
    (subject,) = prepare(Study(language_model(), x, {"quoted": quoted, "opens": lambda one: one[:, OPENS] == 1}))
    sample = draw(subject)
    for name, rare in (("quoted", 0.5), ("opens", None)):
        picked = sample.of[name]
        values = subject.concepts[name].values[sample.rows][sample.sequence[picked], sample.step[picked]]
        assert len(values) == 2_000
        # Some letters stand after a beginning that another text has as well, which is looked at once.
        assert values.sum() == (1_000 if rare else 216)
