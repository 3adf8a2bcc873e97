"""Are answers right, and which program gives the same ones? Exact of all sequences, of others with an interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from known_machines import Reader, Tally, X, subjects
from studied import planted, study_of
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.questions.answers import answers
from probe.studies.answer import answer, judged
from probe.studies.asked import every_question
from probe.studies.many import groups_of
from probe.studies.prepare import prepare


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def of_role(table: pd.DataFrame, metric: str, role: str) -> Any:
    """Return the only row of a metric of a role."""
    (row,) = table[(table["metric"] == metric) & (table["role"] == role)].to_dict("records")
    return row


def test_of_all_sequences_the_share_is_exact_and_of_some_it_has_an_interval() -> None:
    """A tally is right on all; the most frequent of its answers stands beside it, as a null of the same pair."""
    network = [Network("tally", "trained", Tally(), 3)]
    every = answers.measure(subjects(network, X, won))
    whole = of_role(every, "accuracy", "trained")
    assert (whole["value"], whole["n"]) == (1, 32)
    assert pd.isna(whole["low"])
    null = of_role(every, "accuracy", "null")
    assert (null["value"], null["pair"]) == (10 / 32, "3")
    assert of_role(every, "automaton_states", "trained")["value"] == 21
    some = of_role(answers.measure(subjects(network, X[:20], won)), "accuracy", "trained")
    assert some["low"] < some["value"] == some["high"] == 1
    (claim,) = judged(every, answers.question(subjects(network, X, won)[0]).rules)
    assert claim.value == 1
    assert claim.differences[0].control == 10 / 32


def test_the_page_of_one_network_says_how_often_it_is_right_and_compares_programs_at_other_lengths() -> None:
    """Programs are scored on the study's own sequences, and drawn over the lengths around them."""
    programs = {"count": sum, "length": len}
    (subject,) = prepare(study_of(planted(), programs=programs))
    found = answer(answers.question(subject), groups_of([subject])[0].subjects)
    assert found.notes["answer"].startswith(
        "The network answers “ones” right on 100.0% of 160 sequences (95 % interval"
    )
    assert "with random weights and a fitted head is right on" in found.notes["answer"]
    assert "“count” agrees with the network most often" in found.notes["programs"]
    assert "At other lengths the best is “count”" in found.notes["programs"]
    by_length = found.measurements.query("metric == 'agreement' and role == 'trained' and at.notna()")
    # Of more than eight steps the head's nine classes have not every count.
    assert sorted(by_length["at"].unique()) == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    shares = by_length[by_length["kind"] == "count"].sort_values("at")["value"]
    assert (shares.iloc[:5] == 1).all()
    assert shares.iloc[5:].between(0.9, 1, inclusive="left").all()
    assert [figure.name for figure in found.figures] == ["answers-by-length"]


def test_numbers_of_any_size_are_predicted_and_neither_right_nor_wrong() -> None:
    """R² stands in the place of a share, and no rule judges it."""
    x = np.random.default_rng(0).normal(size=(60, 6, 1)).astype(np.float32)
    torch.manual_seed(0)
    readout = Readout("sum", weight=np.ones((1, 5)), kind="number")
    (subject,) = prepare(Study(nn.GRU(1, 5, batch_first=True), x, {"sum": np.cumsum(x[:, :, 0], 1)}, readout=readout))
    found = answer(answers.question(subject), [subject])
    assert set(found.measurements["metric"]) == {"r_squared"}
    assert "with R²" in found.notes["answer"]
    assert not found.claims


def test_a_concept_without_last_value_has_no_right_answers() -> None:
    """The page says why nothing was asked."""
    values = np.full((160, 8), np.nan)
    values[:, :4] = 1
    values[:80, :4] = 0
    study = study_of(
        planted(), concepts={"ones": values}, readout=Readout("ones", weight=np.ones((1, 6)), kind="logit")
    )
    (subject,) = prepare(study)
    said = answer(answers.question(subject), [subject]).notes["answer"]
    assert "is not defined at the last step of any sequence" in said


def test_counters_of_a_study_are_asked_what_a_small_alphabet_allows() -> None:
    """All questions of answers but one are asked of classes and bits; of real numbers those that can be."""
    (subject,) = prepare(study_of(planted(), programs={"count": sum}))
    names = ["answers", "programs", "other-lengths", "bit-effects", "reduced-models"]
    asked = {question.name: question for question in every_question(subject)}
    assert [asked[name].why_not(subject) for name in names[:4]] == [None] * 4
    assert "it answers with one of several classes" in str(asked["reduced-models"].why_not(subject))
    readout = Readout("ones", weight=np.ones((1, 6)), kind="number")
    (real,) = prepare(study_of(planted(), inputs=np.random.default_rng(0).normal(size=(40, 8, 1)), readout=readout))
    assert "more than 8 different values" in str(asked["other-lengths"].why_not(real))


def test_the_figure_marks_always_giving_the_most_frequent_answer() -> None:
    """A line at the null's share, beside the dots."""
    networks = [Network("tally", "trained", Tally(), 0), Network("gru", "own initialisation", Reader(), 0)]
    ax = answers.draw(answers.measure(subjects(networks, X, won)))
    lines = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    assert [10 / 32, 10 / 32] in lines
    assert [1.0] in lines
