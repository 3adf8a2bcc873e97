"""Which program does the counter run? Four rivals that agree at ten bits are compared at other lengths."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Rule
from probe.evidence.measurements import Network
from probe.methods.abstraction.programs import MOST, Drifting
from probe.plots.style import new_figure, style
from probe.questions.answers import programs

from . import common

VERSION = 1
RULES: tuple[Rule, ...] = ()
LENGTHS, REFERENCE, FITTED_ON = range(6, 17), 10, (8, 9, 10)
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
    "ones with a drift": Drifting(ones, REFERENCE, FITTED_ON),
}


def askable(x: Float[Tensor, "batch time 1"]) -> Bool[Tensor, " batch"]:
    """Return the strings on which no program's answer leaves the counts from 0 to 10."""
    count = x[:, :, 0].sum(1)
    return (count <= REFERENCE) & (x.shape[1] - count <= REFERENCE)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how often counters answer as four programs do."""
    return programs.measure(
        common.pick(networks, *common.ANSWERING, "untrained"),
        torch.tensor([[0.0], [1.0]]),
        PROGRAMS,
        answer=answer,
        expected=expected_answer,
        lengths=LENGTHS,
        reference=REFERENCE,
        allowed=askable,
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw how often the answers are those of four programs."""
    with style():
        pictures = [
            _agreement(table, subject) for subject in ("trained", "readout") if (table["subject"] == subject).any()
        ]
    notes = {"answer": _answer(table), "otherwise": _otherwise(table)}
    title = "Which program does the network run?"
    return common.finding("programs", title, table, studied=networks, rules=RULES, figures=pictures, notes=notes)


def _agreement(table: pd.DataFrame, subject: str) -> DataFigure:
    figure, axes = new_figure(height=3.8)
    ax = programs.draw(table, subject=subject, reference=REFERENCE, bands=False, ax=axes[0, 0])
    ax.set_xlabel("bits")
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.0, handletextpad=0.4
    )
    rows = table[(table["metric"] == "agreement") & (table["subject"] == subject)]
    medians = common.medians(rows, ["signal", "units"]).rename(columns={"signal": "program", "units": "length"})
    whose = "trained networks" if subject == "trained" else "untrained weights with a fitted head"
    at_twelve = medians[medians["length"] == "12"].set_index("program")["median"]
    parts = ", ".join(f"{name} {value:.2f}" for name, value in at_twelve.items())
    return DataFigure.from_figure(
        figure,
        name=f"agreement-{subject}",
        title=f"How often {whose} answer as a program does",
        alt=f"Share of equal answers, medians over {rows['network'].nunique()} networks; at 12 bits: {parts}.",
        caption="On ten bits all four programs give the same answers. Where a program says a half, both neighbours "
        "count as equal, which favours the balance at odd lengths. Strings have at most ten ones and ten zeros; "
        f"beyond {MOST:,} strings of a length, as many are drawn. The drift is fitted on 8 to 10 bits.",
        data=medians,
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[(table["subject"] == "trained") & (table["metric"] == "unseen_agreement")]
    shares = own.pivot_table(index="network", columns="signal", values="value")
    drift = table[(table["subject"] == "trained") & (table["metric"] == "drift")]["value"]
    fixed = shares[[name for name in PROGRAMS if not isinstance(PROGRAMS[name], Drifting)]]
    counted = ", ".join(f"{name} in {count}" for name, count in fixed.idxmax(axis=1).value_counts().items())
    beats = (shares["ones with a drift"] > fixed.max(axis=1)).sum()
    return (
        f"The best of three fixed programs gives {fixed.max(axis=1).median():.0%} of the answers at new lengths. "
        f"Nothing was fitted there. The best program is {counted} of {len(shares)} trained networks. Ones with a "
        f"drift has one free number, fitted on 8 to 10 bits ({drift.min():.2f} to {drift.max():.2f}). It gives "
        f"{shares['ones with a drift'].median():.0%} of the answers (median), and beats the fixed programs in "
        f"{beats} networks."
    )


def _otherwise(table: pd.DataFrame) -> str:
    shares = table[table["metric"] == "unseen_agreement"].set_index(["network", "signal"])["value"]
    fitted = table[
        (table["metric"] == "unseen_agreement") & (table["subject"] == "readout") & (table["signal"] == "ones")
    ]["value"]
    fair = (
        f" Untrained weights with a fitted head count ones in {fitted.min():.0%} to {fitted.max():.0%} of these "
        "strings."
        if len(fitted)
        else ""
    )
    return f"The planted counter of ones answers as its program in {shares['planted/ones', 'ones']:.0%}.{fair}"
