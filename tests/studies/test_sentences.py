"""What a study's sentences conclude is no more than the table allows, each called with a table made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from studied import row

from probe.evidence.measurements import tabulate
from probe.questions.answers import wrong
from probe.questions.interventions import unit_ablation
from probe.studies.pages.live_network import said_letters


def test_answers_in_another_order_are_said_to_be_wrong_first() -> None:
    """Nothing is said of what they follow; near what the most frequent answer gives, there is no such sentence."""
    right = np.arange(400.0) % 5
    warning = wrong.wrong_in((right + 1) % 5, right)
    assert warning.startswith("The answers are mostly wrong (0.0% right, the most frequent answer 20.0%)")
    assert not wrong.wrong_in(np.zeros(400), right)


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
