"""What a study's sentences conclude is no more than the table allows, each called with a table made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probe.evidence.measurements import tabulate
from probe.studies.page import _letters
from probe.studies.questions import ablation, answering, interchange_words
from probe.studies.questions.linear_probes_words import CLOCK, Beside, _selectivity, _unit, _verdict
from probe.studies.rows import NULL, RANDOM_WEIGHTS, row


def test_answers_in_another_order_are_said_to_be_wrong_first() -> None:
    """Nothing is said of what they follow; near what the most frequent answer gives, there is no such sentence."""
    right = np.arange(400.0) % 5
    wrong = answering.wrong_in((right + 1) % 5, right)
    assert wrong.startswith("The answers are mostly wrong: 0.0% are right, and always giving")
    assert "20.0%. Are the scores (or answers=) in another order" in wrong
    assert not answering.wrong_in(np.zeros(400), right)
    said = ablation.words(ablated(1.0, 0.8, 1.0, 0.0), "x", True, False, wrong)
    assert said.startswith(wrong)
    assert "does not" not in said


def interchanged(nothing: float, whole: float, units: float, fitted_head: float) -> pd.DataFrame:
    """Return what the patches gave; random directions reach .1 and .21, those for relabelled values .2."""
    kinds = [("nothing", "", "end", nothing), ("the whole state", "", "end", whole), ("most", "5 8", "units", units)]
    kinds += [("random directions 1", "2", "random", 0.1), ("random directions 2", "2", "random", 0.21)]
    kinds += [("relabelled", "2", "relabelled", 0.2), ("in another network", "2", "fitted head", fitted_head)]
    return tabulate(
        row("interchange", metric, value, network=name, units=units, signal=kind)
        for name, units, kind, value in kinds
        for metric in ("followed", "shift")
    )


@pytest.mark.parametrize(
    ("units", "fitted_head", "said"),
    [
        (0.6, 0.43, "0.60, more than any control (at most 0.43)"),
        (
            0.36,
            0.43,
            "(at most 0.21), but not clearly more than directions in a network with random weights and a fitted",
        ),
        (0.25, 0.32, "0.25, not clearly more than the controls (at most 0.32)"),
    ],
)
def test_the_highest_control_is_the_highest_that_is_shown(units: float, fitted_head: float, said: str) -> None:
    """A network with random weights and a fitted head is a control, as random directions are."""
    assert said in interchange_words.answer(interchanged(0.05, 1.0, units, fitted_head), "x", levels=True)


def ablated(own: float, every: float, moved: float, drop: float) -> pd.DataFrame:
    """Return what the ablation of two units gave."""
    rows = [row("ablation", "own_loss", own), row("ablation", "loss_without_all", every)]
    rows += [
        row("ablation", "answers_moved_without_all", moved),
        row("ablation", "loss_of_best_alone", 0.5, units="9"),
    ]
    return tabulate(
        [*rows, *(row("ablation", "unit_drop", value, units=u) for u, value in (("9", drop), ("1", 0.0)))]
    )


@pytest.mark.parametrize(
    ("numbers", "begins", "has"),
    [
        ((0.5, 0.5, 0.0, 0.0), "With all units replaced", "The answer does not depend on these states"),
        (
            (0.5, 0.5, 0.6, 0.0),
            "With all units replaced",
            "60% of the answers change, but they do not become more wrong",
        ),
        ((0.9, 0.7, 0.0, 0.0), "With all units replaced", "change, but they do not become more wrong"),
        (
            (0.0, 0.8, 0.8, 0.04),
            "No single unit is needed: none costs more than 0.05. Unit 9 costs most",
            "goes from",
        ),
        (
            (0.0, 0.8, 0.8, 0.4),
            "Unit 9 costs most",
            "1 unit costs more than 0.05. With unit 9 alone it is 0.50; that",
        ),
    ],
)
def test_what_ablations_come_to_is_said_first(numbers: tuple[float, ...], begins: str, has: str) -> None:
    """Answers that change depend on the states, right or wrong; and a unit that costs little does not lead."""
    said = ablation.words(ablated(*numbers), "x", True, False)
    assert said.startswith(begins)
    assert has in said


def test_nothing_is_singled_out_where_a_control_tells_as_much() -> None:
    """Selectivity says no more than the headline, which says if networks with random weights score higher."""
    for random, cheerful in ((0.99, False), (0.3, True)):
        controls = {
            name: Beside(name, value, 0.79 - value) for name, value in ((CLOCK, 0.1), (RANDOM_WEIGHTS, random))
        }
        found = _selectivity(0.1, 0.79, controls, categorical=False, ahead=False)
        assert ("kept better than other memories" in found) is cheerful
    recent = Beside("the last 4 inputs", 1.0, -0.21)
    found = _verdict(
        {CLOCK: Beside(CLOCK, 0.1, 0.69), recent.name: recent, RANDOM_WEIGHTS: Beside(RANDOM_WEIGHTS, 0.99, -0.2)},
        0.79,
        0.79,
        8,
    )
    assert found.endswith("The best of 8 networks with random weights scores higher (0.99).")
    assert "which this layer may not have read" in _selectivity(0.1, 0.7, controls, categorical=True, ahead=True)


@pytest.mark.parametrize(
    ("value", "units", "said"),
    [(0.0, "0", "none is shown to follow it"), (0.9, "0", "unit 0 of"), (0.9, "3 7", "follow it most")],
)
def test_a_unit_that_follows_nothing_is_not_called_the_one_that_does(value: float, units: str, said: str) -> None:
    """Held against shuffled values; of two units the verb is that of two."""
    rows = [row("reading-x", "best_unit", value, units=units, layer="[0]", signal="hidden_state")]
    rows.append(row("reading-x", "best_unit", 0.1, subject=NULL, network="shuffled 1", units="0", layer="[0]"))
    found = _unit(tabulate(rows), False)
    assert said in found
    assert ("follows it most" in found) is (said == "unit 0 of")


def test_letters_of_the_explorer_are_said() -> None:
    """Which input each stands for; digits stand for themselves, and long inputs are not written out."""
    said = _letters({"a": [0.0, 1.0], "b": [1.0, 0.0]})
    assert said == "Each letter stands for an input: a is (0, 1) and b is (1, 0)."
    assert not _letters({"0": [0.0], "1": [1.0]})
    assert not _letters({"a": [0.0] * 300})
    assert not _letters({})
