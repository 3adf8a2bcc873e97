"""Which program does the counter run? Four rivals that agree at ten bits are compared at other lengths."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import DataFigure, Rule
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.methods.abstraction.programs import MOST, Drifting
from probe.plots.legends import figure_legend
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.answers import programs

VERSION = 1
RULES: tuple[Rule, ...] = ()
LENGTHS, REFERENCE, FITTED_ON = range(6, 17), 10, (8, 9, 10)
DRIFTING = "ones with a drift"
Bits = tuple[int, ...]


def ones(bits: Bits) -> int:
    """Count the ones."""
    return sum(bits)


def zeros_backwards(bits: Bits) -> int:
    """Start at ten and take one off for each zero: a clock that expects ten bits."""
    return REFERENCE - (len(bits) - sum(bits))


def balance(bits: Bits) -> float:
    """Weigh the ones against the zeros: half of ten, and half of what the ones have more."""
    return (REFERENCE + sum(bits) - (len(bits) - sum(bits))) / 2


PROGRAMS = {
    "ones": ones,
    "zeros backwards": zeros_backwards,
    "balance": balance,
    DRIFTING: Drifting(ones, REFERENCE, FITTED_ON),
}


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how often counters answer as four programs do."""
    asked = common.pick(networks, *common.ANSWERING, "own initialisation")
    return programs.measure(common.subjects(asked), PROGRAMS, lengths=LENGTHS)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw how often the answers are those of four programs."""
    with style():
        picture = _agreement(table)
    notes = {"answer": _answer(table), "otherwise": _otherwise(table)}
    title = "Which program does the network run?"
    return common.finding("programs", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _agreement(table: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=3.8)
    ax = programs.draw(table, role="trained", reference=REFERENCE, bands=False, ax=axes[0, 0])
    ax.set_xlabel("bits")
    figure_legend(figure, *ax.get_legend_handles_labels())
    rows = table[(table["metric"] == "agreement") & (table["role"] == "trained")]
    medians = common.medians(rows, ["kind", "at"]).rename(columns={"kind": "program", "at": "length"})
    return DataFigure.from_figure(
        figure,
        name="agreement-trained",
        title="How often trained networks answer as a program does",
        alt=medians_in_words(rows[rows["at"].isin([8, REFERENCE, 12])]),
        caption="On ten bits all four programs give the same answers. If a program says a half, we accept the counts "
        "on both sides, which favours the balance at odd lengths. Strings have at most ten ones and ten zeros. Of "
        f"lengths with more than {MOST:,} strings we draw as many. We fit the drift on eight to ten bits.",
        data=medians,
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[table["role"] == "trained"]
    unseen = own[own["metric"] == "unseen_agreement"]
    shares = unseen.pivot_table(index="network", columns="kind", values="value")
    drifting, fixed = shares[DRIFTING], shares.drop(columns=DRIFTING)
    counted = ", ".join(f"{name} in {count}" for name, count in fixed.idxmax(axis=1).value_counts().items())
    return (
        f"The best of three fixed programs gives {fixed.max(axis=1).median():.0%} of the answers at new lengths. A "
        "fixed program has no number to fit: it counts the ones, takes the zeros off ten (zeros backwards), or "
        f"weighs ones against zeros (balance). Of {len(shares)} trained networks the best program is {counted}. A "
        "fourth program adds the drift to the ones for each missing bit. The drift is a number that we fit to each "
        f"network, on strings of eight to ten bits. That program gives {drifting.median():.0%} of the answers "
        f"(median), and beats the fixed ones in {(drifting > fixed.max(axis=1)).sum()} networks."
    )


def _otherwise(table: pd.DataFrame) -> str:
    ones = table[(table["metric"] == "unseen_agreement") & (table["kind"] == "ones")]
    planted = ones[ones["network"] == "planted/ones"]["value"].item()
    text = f"The planted counter of ones answers as its program in {planted:.0%}."
    fitted = ones[ones["role"].isin(FITTED_HEADS)]["value"]
    if not len(fitted):
        return text
    return (
        f"{text} Untrained weights with fitted heads count the ones in at least {fitted.min():.0%} of these strings."
    )
