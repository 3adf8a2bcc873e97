"""Would the verdicts change under other bounds of the rules, or on other networks? Every claim is judged again."""

from __future__ import annotations

import dataclasses
from textwrap import fill

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.summaries import Findings, judged, summary
from probe import Finding
from probe.evidence import Claim, DataFigure, Range, Rule, judge
from probe.evidence.measurements import tabulate
from probe.plots.style import AMOUNTS, SMALL, new_figure, style

QUESTION, TITLE = "robustness", "Would the verdicts be others, had we chosen otherwise?"
#: By how much bounds are moved; those below `NEAR` by a quarter.
SHIFT, NEAR = 0.05, 0.2
#: So many changed verdicts are named in words; the figure shows all.
FEW = 2
#: A letter for each verdict.
LETTERS = {"established": "E", "refuted": "R", "not specific": "n", "undecided": "u"}
AS_COMMITTED, COUNTING = "as committed", "only networks that count"


def find(findings: Findings) -> Finding:
    """Judge every claim again with other bounds, another level, and on the networks that count well alone."""
    claims = judged(findings)
    rule, errors = next((claim.rule, rows) for claim, rows in claims if claim.rule.key == "0")
    errors = errors[errors["role"] == "trained"]
    good = errors[[value in rule.established_if for value in errors["value"]]]
    verdicts = pd.DataFrame([_verdicts(*claim, errors, good) for claim in claims])
    with style():
        picture = _picture(verdicts)
    rows = [
        common.row(QUESTION, "other_verdicts", "counter", float(number), kind=name)
        for name, number in _others(verdicts).items()
    ]
    notes = {"answer": _answer(verdicts, len(good), len(errors))}
    return summary(QUESTION, TITLE, tabulate(rows), findings=findings, figures=[picture], notes=notes)


def _verdicts(claim: Claim, rows: pd.DataFrame, errors: pd.DataFrame, good: pd.DataFrame) -> dict[str, str]:
    """Return the verdict on a claim as it is, and as it would be; empty where that cannot be asked."""
    rule = claim.rule
    few = dataclasses.replace(rule, needs=2)  # fewer networks are asked on purpose
    counting = rows[(rows["pair"] == "") | rows["pair"].isin(good["pair"])]
    # Networks of other recipes have these seeds too, and their errors are not told here.
    own = set(rows[rows["role"] == "trained"]["network"]) <= set(errors["network"])

    def verdict(changed: Rule, among: pd.DataFrame, family: int) -> str:
        return judge(among, [changed], family=family)[0].verdict

    return {
        "claim": rule.key,
        AS_COMMITTED: claim.verdict,
        "easier bounds": verdict(_moved(rule, 1), rows, common.family()),
        "stricter bounds": verdict(_moved(rule, -1), rows, common.family()),
        "95 % for each": verdict(rule, rows, 1),
        COUNTING: verdict(few, counting, common.family()) if own and len(good) > 1 else "",
    }


def _others(verdicts: pd.DataFrame) -> dict[str, int]:
    """Return in how many claims each other way of judging gives another verdict."""
    ways = [str(name) for name in verdicts if name not in ("claim", AS_COMMITTED)]
    return {name: len(_changed(verdicts, name)) for name in ways}


def _changed(verdicts: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the claims that another way of judging gives another verdict, of those that it can be asked of."""
    return verdicts[(verdicts[name] != verdicts[AS_COMMITTED]) & (verdicts[name] != "")]


def _moved(rule: Rule, towards: int) -> Rule:
    """Return a rule that is easier (1) or harder (-1) to satisfy: each bound moved, and both ranges by as much."""
    # At least x is easier where x is smaller; at most x where it is larger.
    sign = -towards if np.isfinite(rule.established_if.low) else towards

    def moved(bounds: Range) -> Range:
        low, high = (bound + sign * _step(bound) for bound in (bounds.low, bounds.high))
        return dataclasses.replace(bounds, low=low, high=high)

    return dataclasses.replace(rule, established_if=moved(rule.established_if), refuted_if=moved(rule.refuted_if))


def _step(bound: float) -> float:
    if not np.isfinite(bound):
        return 0.0
    return SHIFT if abs(bound) >= NEAR else abs(bound) / 4


def _picture(verdicts: pd.DataFrame) -> DataFigure:
    names = [str(name) for name in verdicts if name != "claim"]
    figure, axes = new_figure(height=0.2 * len(verdicts) + 1.6)
    ax = axes[0, 0]
    asked = np.array([verdicts[name] for name in names], dtype=str).T
    changed = (asked != asked[:, :1]) & (asked != "")
    # Light where a verdict stays, darker where it changes; empty where it cannot be asked.
    ax.pcolormesh(np.ma.masked_array(changed, asked == ""), cmap=AMOUNTS, vmin=-0.25, vmax=2.4)
    for y, x in zip(*np.nonzero(changed | (np.arange(len(names)) == 0)), strict=True):
        ax.text(x + 0.5, y + 0.5, LETTERS[str(asked[y, x])], ha="center", va="center", fontsize=SMALL)
    ax.set_xticks(np.arange(len(names)) + 0.5, [fill(name, 18) for name in names], rotation=90)
    ax.set_yticks(np.arange(len(verdicts)) + 0.5, verdicts["claim"])
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.tick_params(length=0)
    said = "; ".join(f"{name}: {number} others" for name, number in _others(verdicts).items())
    return DataFigure.from_figure(
        figure,
        name=QUESTION,
        title="Every verdict, and what it would have been",
        alt=f"A grid of {len(verdicts)} claims by {len(names)} ways to judge them. {said}.",
        caption="E established, R refuted, n not specific, u undecided. Where a cell is light and has no letter, the "
        f"verdict is as committed. We moved bounds by {SHIFT:g} (those below {NEAR:g} by a quarter), and left the "
        "margins of the controls. In the next column each claim is decided at the usual 95 % in place of a level for "
        "all together. In the last we ask only the networks that satisfy claim 0; it is empty if a claim is about "
        "other networks.",
        data=verdicts,
    )


def _answer(verdicts: pd.DataFrame, good: int, every: int) -> str:
    def changed(name: str, of: str = "") -> str:
        other = _changed(verdicts, name)
        named = ", ".join(f"{key}: {verdict}" for key, verdict in zip(other["claim"], other[name], strict=True))
        return f"{len(other)}{of}" + (f" ({named})" if 0 < len(other) <= FEW else "")

    return (
        f"Stricter bounds would change {changed('stricter bounds', f' of {len(verdicts)} verdicts')}. Each rule has "
        f"a bound that we chose. Bounds that are easier by as much would change {changed('easier bounds')}. We judge "
        "many claims at once, and correct the level of confidence for that. To leave out this correction would "
        f"change {changed('95 % for each')}. {good} of {every} networks misread as few strings as claim 0 asks. To "
        f"judge these alone would change {changed(COUNTING)}."
    )
