"""What the counter's pages and docs/science.md say as a formula is what the networks answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import formulas

TOP = Path(__file__).parents[2]
A_FEW = 5


@pytest.fixture(scope="module")
def shares() -> dict[str, dict[int, float]]:
    """Return the shares of a few networks, by formula and length."""
    return formulas.measured(A_FEW)


@pytest.mark.parametrize("formula", formulas.FORMULAS, ids=lambda formula: formula.name)
def test_a_formula_stands_where_it_is_said_to(formula: formulas.Formula) -> None:
    """Each formula names the page or document that has it, and its sentence there."""
    text = (TOP / formula.where).read_text(encoding="utf-8")
    assert formula.says in " ".join(text.split())


@pytest.mark.parametrize("formula", [one for one in formulas.FORMULAS if one.exact], ids=lambda formula: formula.name)
def test_a_formula_is_right_at_the_lengths_that_it_names(
    formula: formulas.Formula, shares: dict[str, dict[int, float]]
) -> None:
    """In nine of ten answers, or for mean answers in nine of ten networks."""
    assert min(shares[formula.name][bits] for bits in formula.lengths) >= formulas.RIGHT


def test_a_formula_at_a_length_where_it_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shares: dict[str, dict[int, float]]
) -> None:
    """The command fails on the ones at nine bits, and says which page has them."""
    ones, *_ = formulas.FORMULAS
    monkeypatch.setattr(formulas, "measured", lambda: shares)
    monkeypatch.setattr(formulas, "FORMULAS", [ones])
    assert formulas.main() == 0
    monkeypatch.setattr(formulas, "FORMULAS", [replace(ones, lengths=[9, 10])])
    assert formulas.main() == 1
    assert "the ones: reports/counter/index.html says" in capsys.readouterr().out
