"""Would the verdicts be others, had the rules or the networks been chosen otherwise? Every claim judged again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

from probe import Claim, DataFigure, Finding, Range, Rule, judge
from probe.figures import BLUE, GREY, ORANGE, PURPLE, new_figure, style
from probe.measurements import tabulate

from . import common
from .summaries import Findings, rows_of, summary

QUESTION, TITLE = "robustness", "Would the verdicts be others, had we chosen otherwise?"
#: By how much bounds are moved; those below `SMALL` by a quarter.
SHIFT, SMALL = 0.05, 0.2
#: A letter and a colour for each verdict.
LOOKS = {"established": ("E", BLUE), "refuted": ("R", ORANGE), "decoration": ("D", PURPLE), "undecided": ("u", GREY)}
AS_COMMITTED, COUNTING = "as committed", "only networks that count"


def find(findings: Findings) -> Finding:
    """Judge every claim again with other bounds, another level, and on the networks that count well alone."""
    claims = [(claim, one) for one in findings.values() for claim in one.claims if not claim.rule.check]
    (counts,) = (claim.rule for claim, _ in claims if claim.rule.key == "0")
    errors = rows_of(findings, "accuracy", counts.metric, subject="trained")
    good = errors[[value in counts.established_if for value in errors["value"]]]["seed"]
    verdicts = pd.DataFrame([_verdicts(claim, finding.measurements, set(good)) for claim, finding in claims])
    with style():
        picture = _picture(verdicts)
    rows = [
        common.row(QUESTION, "other_verdicts", "counter", number, units=name)
        for name, number in _others(verdicts).items()
    ]
    notes = {"answer": _answer(verdicts, len(good), len(errors))}
    return summary(QUESTION, TITLE, tabulate(rows), findings=findings, figures=[picture], notes=notes)


def _verdicts(claim: Claim, table: pd.DataFrame, good: set[int]) -> dict[str, str]:
    """Return the verdict on a claim as it is, and as it would be."""
    rule, rows = claim.rule, table[table["metric"] == claim.rule.metric]
    few = dataclasses.replace(rule, needs=2)  # fewer networks are asked on purpose
    counting = rows[rows["seed"].isna() | rows["seed"].isin(good)]
    enough = len(set(counting[counting["subject"] == "trained"]["network"])) > 1

    def judged(changed: Rule, among: pd.DataFrame, family: int) -> str:
        return judge(among, [changed], family=family)[0].verdict

    return {
        "claim": rule.key,
        AS_COMMITTED: claim.verdict,
        "easier bounds": judged(_moved(rule, 1), rows, common.family()),
        "stricter bounds": judged(_moved(rule, -1), rows, common.family()),
        "95 % for each": judged(rule, rows, 1),
        COUNTING: judged(few, counting, common.family()) if enough else "undecided",
    }


def _others(verdicts: pd.DataFrame) -> dict[str, int]:
    """Return in how many claims each other way of judging gives another verdict."""
    ways = [str(name) for name in verdicts if name not in ("claim", AS_COMMITTED)]
    return {name: int((verdicts[name] != verdicts[AS_COMMITTED]).sum()) for name in ways}


def _moved(rule: Rule, towards: int) -> Rule:
    """Return a rule that is easier (1) or harder (-1) to satisfy: each bound moved, and both ranges by as much."""

    def by(sign: int) -> Callable[[Range], Range]:
        def moved(bounds: Range) -> Range:
            low, high = (bound + sign * towards * _step(bound) for bound in (bounds.low, bounds.high))
            return dataclasses.replace(bounds, low=low, high=high)

        return moved

    # At least x is easier where x is smaller; at most x where it is larger.
    move = by(-1 if np.isfinite(rule.established_if.low) else 1)
    return dataclasses.replace(rule, established_if=move(rule.established_if), refuted_if=move(rule.refuted_if))


def _step(bound: float) -> float:
    if not np.isfinite(bound):
        return 0.0
    return SHIFT if abs(bound) >= SMALL else abs(bound) / 4


def _picture(verdicts: pd.DataFrame) -> DataFigure:
    names = [str(name) for name in verdicts if name != "claim"]
    order = list(LOOKS)
    figure, axes = new_figure(width=6.4, height=0.22 * len(verdicts) + 1.2)
    ax = axes[0, 0]
    places = np.array([[order.index(verdict) for verdict in verdicts[name]] for name in names]).T
    ax.pcolormesh(
        places, cmap=ListedColormap([color for _, color in LOOKS.values()]), vmin=-0.5, vmax=3.5, alpha=0.35
    )
    for y, row in enumerate(places):
        for x, place in enumerate(row):
            if x == 0 or place != row[0]:
                ax.text(x + 0.5, y + 0.5, LOOKS[order[place]][0], ha="center", va="center", fontsize=8)
    ax.set_xticks(np.arange(len(names)) + 0.5, [fill(name, 12) for name in names], fontsize=8)
    ax.set_yticks(np.arange(len(verdicts)) + 0.5, verdicts["claim"], fontsize=8)
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.tick_params(length=0)
    said = "; ".join(f"{name}: {number} others" for name, number in _others(verdicts).items())
    return DataFigure.from_figure(
        figure,
        name=QUESTION,
        title="Every verdict, and what it would have been",
        alt=f"A grid of {len(verdicts)} claims by five ways to judge them. {said}.",
        caption="E established, R refuted, D decoration, u undecided; no letter: as committed. Bounds are moved by "
        f"{SHIFT:g} (those below {SMALL:g} by a quarter), the controls' margins are left; then a level of 95 % for "
        "each claim in place of one for all together; and only the networks that satisfy claim 0.",
        data=verdicts,
    )


def _answer(verdicts: pd.DataFrame, good: int, every: int) -> str:
    def changed(name: str) -> str:
        other = verdicts[verdicts[name] != verdicts[AS_COMMITTED]]
        told = [f"{key} ({verdict})" for key, verdict in zip(other["claim"], other[name], strict=True)]
        return f"{len(told)} of {len(verdicts)}" + (f": {', '.join(told)}" if told else "")

    return (
        f"With bounds easier by {SHIFT:g} the verdict is another in {changed('easier bounds')}. With stricter ones "
        f"in {changed('stricter bounds')}. Without the correction for many claims in {changed('95 % for each')}. On "
        f"the {good} of {every} networks that satisfy claim 0 alone in {changed(COUNTING)}."
    )
