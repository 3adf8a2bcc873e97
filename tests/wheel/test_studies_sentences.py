"""What a study's sentences conclude is no more than the table allows, each called with a table made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from studied import row
from torch import nn

from probe.evidence.measurements import Network, measurement, tabulate
from probe.questions.answers import wrong
from probe.questions.interventions import unit_ablation
from probe.questions.telling import interchange_words
from probe.studies.pages.live_network import said_letters


def test_answers_in_another_order_are_said_to_be_wrong_first() -> None:
    """Nothing is said of what they follow; near what the most frequent answer gives, there is no such sentence."""
    right = np.arange(400.0) % 5
    warning = wrong.wrong_in((right + 1) % 5, right)
    assert warning.startswith("The answers are mostly wrong (0.0% right, the most frequent answer 20.0%)")
    assert not wrong.wrong_in(np.zeros(400), right)


def interchanged(nothing: float, whole: float, units: float, fitted_head: float) -> pd.DataFrame:
    """Return what the patches gave; random directions reach .1 and .21, those for relabelled values .2."""
    own, head = (Network(role, role, nn.Identity()) for role in ("trained", "fitted head"))
    kinds: list[tuple[Network, float, dict[str, Any]]] = [
        (own, nothing, {"kind": "nothing"}),
        (own, whole, {"kind": "whole"}),
        (own, units, {"kind": "units", "units": "5 8", "at": 2}),
        *((own, score, {"kind": "random", "at": 2}) for score in (0.1, 0.21)),
        (own, 0.2, {"kind": "relabelled", "at": 2}),
        (head, fitted_head, {"kind": "searched", "at": 2}),
    ]
    return tabulate(
        measurement("interchange", metric, network, value, **place)
        for network, value, place in kinds
        for metric in ("followed", "shift")
    )


@pytest.mark.parametrize(
    ("units", "fitted_head", "said"),
    [
        (0.6, 0.43, "0.60, more than any control (at most 0.43)"),
        (
            0.36,
            0.43,
            "(at most 0.21), but not clearly more than directions in a network that was not trained, with a",
        ),
        (0.25, 0.32, "0.25, not clearly more than the controls (at most 0.32)"),
    ],
)
def test_the_highest_control_is_the_highest_that_is_shown(units: float, fitted_head: float, said: str) -> None:
    """A network with random weights and a fitted head is a control, as random directions are."""
    assert said in interchange_words.answer(interchanged(0.05, 1.0, units, fitted_head), "x", 9)


def test_an_answer_beyond_the_whole_way_is_no_better() -> None:
    """A control that overshoots is not above a unit with which the answer goes all of the way."""
    table = interchanged(0.05, 1.0, 1.0, 0.43)
    table["value"] = table["value"].mask(table["kind"] == "relabelled", 1.74)
    said = interchange_words.answer(table, "x", 9)
    assert said.endswith("with units 5 and 8 alone 1.00, not clearly more than the controls (at most 1.74).")


def test_units_that_are_patched_are_not_said_to_follow_anything() -> None:
    """They are those that follow the concept most, and it may be that none is shown to follow it."""
    assert interchange_words.name("units", "", "", 1, "3") == "1 unit chosen by the concept (3)"
    assert interchange_words.name("units", "", "", 2) == "2 units chosen by the concept"


def test_a_fitted_head_on_numbers_is_not_said_to_be_right_or_wrong() -> None:
    """Numbers are hardly ever hit exactly, so that training made more of them right is not shown either."""
    head = Network("fitted head", "fitted head", nn.Identity())
    table = tabulate(
        measurement("interchange", metric, head, value, kind=kind)
        for metric, kind, value in (
            *((metric, kind, 0.5) for metric in ("followed", "shift") for kind in ("searched", "whole")),
            ("accuracy", "", 0.0),
        )
    )
    right = interchange_words._fitted_head(table, "followed", 0.9)
    assert "right on 0%" in right
    assert "clearly less, and about as much as its whole state reaches" in right
    table["value"] = table["value"].mask(table["kind"] == "whole", 0.3)
    assert "clearly less, and more than its whole state reaches" in interchange_words._fitted_head(
        table, "shift", 0.9
    )
    assert "So training made more answers right" in right
    moved = interchange_words._fitted_head(table, "shift", 0.9)
    assert "right" not in moved
    assert "So it is not shown that training put the answers into few directions" in moved


@pytest.mark.parametrize(
    ("own", "none", "alone", "says"),
    [
        (0.5, 0.5, 0.5, "so the cost of a single unit means nothing"),
        (1.0, 0.2, 0.5, "1 of them cost more than 0.05. Of the 1.00, unit 9 alone keeps 0.50, which is not enough."),
        (1.0, 0.2, 0.96, "Of the 1.00, unit 9 alone keeps 0.96, which is enough."),
        (0.3, 0.22, 0.25, "unit 9 alone keeps 0.25, which is not enough."),
    ],
)
def test_what_ablations_come_to_is_no_more_than_they_show(own: float, none: float, alone: float, says: str) -> None:
    """A unit is enough if it loses little, and no more than half; where all of them cost nothing, none is named."""
    rows = [row("ablation", "own_accuracy", own), row("ablation", "none_kept_accuracy", none)]
    rows += [row("ablation", "unit_drop", value, units=u) for u, value in (("9", 0.4), ("1", 0.0))]
    rows += [row("ablation", "best_kept_accuracy", alone, units="9")]
    said = unit_ablation.words(tabulate(rows), " (fitted head 0.10)")
    assert said.endswith(f"{says}" if says.endswith(".") else f"{says}.")
    assert ("Unit 9 costs most of the 2 that were ablated" in said) is (own > none)


def test_letters_of_the_explorer_are_said() -> None:
    """Which input each stands for; digits stand for themselves, and long inputs are not written out."""
    said = said_letters({"a": [0.0, 1.0], "b": [1.0, 0.0]})
    assert said == "Each letter stands for an input: a is (0, 1) and b is (1, 0)."
    assert not said_letters({"0": [0.0], "1": [1.0]})
    assert not said_letters({"a": [0.0] * 300})
    assert not said_letters({})
