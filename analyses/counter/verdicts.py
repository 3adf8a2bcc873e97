"""What do the same rules say of networks that did not learn to count? Every rule on every population."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, to_hex

from analyses.counter import common
from analyses.counter.robustness import LETTERS
from analyses.counter.summaries import Findings, judged, summary
from probe import Finding
from probe.evidence import Claim, DataFigure, judge
from probe.evidence.measurements import FITTED_HEADS, tabulate
from probe.plots.sequences import ink_on
from probe.plots.style import AMOUNTS, SMALL, new_figure, style

QUESTION, TITLE = "verdicts", "What do the same rules say of networks that did not learn it?"
POPULATIONS = ("trained", "own initialisation", *FITTED_HEADS, "template")
#: How many times as wide as the column of one network that of a population is drawn.
WIDE = 1.5
#: What one rule says of some networks, as long as no control is asked.
COLUMNS = ("claim", "statement", "networks", "holds_in", "of", "median", "alone")


def find(findings: Findings) -> Finding:
    """Judge every rule on each population as if it were the trained one, and on each planted network."""
    claims = judged(findings)
    data = pd.DataFrame([row for claim in claims for row in _rows(*claim)], columns=list(COLUMNS))
    verdicts: dict[str, str] = {claim.rule.key: claim.verdict for claim, _ in claims}
    with style():
        picture = _picture(data, verdicts)
    shares = zip(data["networks"], data["claim"], data["holds_in"] / data["of"], strict=True)
    table = tabulate(
        common.row(QUESTION, "rule_holds", network, share, kind=claim) | {"role": network.partition("/")[0]}
        for network, claim, share in shares
    )
    notes = {"answer": _answer(data, verdicts)}
    return summary(QUESTION, TITLE, table, findings=findings, figures=[picture], notes=notes)


def _rows(claim: Claim, rows: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return what a rule says of each population and each planted network that it was measured on."""
    rule = dataclasses.replace(claim.rule, controls=())
    judged_rows: list[tuple[object, ...]] = []
    for population in POPULATIONS:
        own = rows[rows["role"] == population]
        if len(own):
            (alone,) = judge(own.assign(role="trained"), [rule], family=common.family())
            values = alone.holds_in, alone.n, alone.value, alone.verdict
            judged_rows.append((rule.key, rule.statement, population, *values))
    for network, own in rows[rows["role"] == "planted"].groupby("network", sort=False):
        value = own["value"].item()
        judged_rows.append((rule.key, rule.statement, network, int(value in rule.established_if), 1, value, ""))
    return judged_rows


def _picture(data: pd.DataFrame, verdicts: dict[str, str]) -> DataFigure:
    grid = data.assign(share=data["holds_in"] / data["of"]).pivot_table(
        index="claim", columns="networks", values="share", sort=False
    )
    grid = grid[list(dict.fromkeys(data.sort_values("of", ascending=False, kind="stable")["networks"]))]
    figure, axes = new_figure(height=0.2 * len(grid) + 1.9)
    ax = axes[0, 0]
    # A population has a number in its cells, which is wider than the cell of one network.
    wide = sum(name in POPULATIONS for name in grid.columns)
    edges = np.array([*WIDE * np.arange(wide + 1), *(WIDE * wide + np.arange(1, grid.shape[1] - wide + 1))])
    middles, shares = (edges[1:] + edges[:-1]) / 2, np.ma.masked_invalid(grid.to_numpy(float))
    # Neither end is the colour of a page, so that what was not measured stands out from none and from all.
    shade = Normalize(-0.2, 1.7)
    for first, last in ((0, wide), (wide, grid.shape[1])):
        if last > first:
            cells = edges[first : last + 1], np.arange(len(grid) + 1), shares[:, first:last]
            ax.pcolormesh(*cells, cmap=AMOUNTS, norm=shade)
    for y, (_, row) in enumerate(grid.iterrows()):
        for x, name in zip(middles, grid.columns, strict=True):
            if name in POPULATIONS and 0 < row[name] < 1:
                color = ink_on(to_hex(AMOUNTS(shade(row[name]))))
                ax.text(x, y + 0.5, f"{100 * row[name]:.0f}", color=color, ha="center", va="center", fontsize=SMALL)
    ax.set_xticks(middles, [str(name).removeprefix("planted/") for name in grid], rotation=90)
    ax.set_yticks(np.arange(len(grid)) + 0.5, [f"{key} {LETTERS[verdicts[key]]}" for key in grid.index])
    ax.invert_yaxis()
    ax.tick_params(length=0)
    return DataFigure.from_figure(
        figure,
        name=QUESTION,
        title="Every rule on every population",
        alt=f"A grid of {len(grid)} rules by {grid.shape[1]} kinds of networks. {_numbers(data)}",
        caption="How many networks satisfy each rule, in per cent. Each rule is taken alone, without its controls. "
        "The populations come first, then each planted network. Darkest: all, lightest: none, empty: not measured. "
        "Beside the claim stands its verdict, for which its controls count: "
        f"{', '.join(f'{letter} {verdict}' for verdict, letter in LETTERS.items())}.",
        data=data,
    )


def _numbers(data: pd.DataFrame) -> str:
    """Return how many rules each population satisfies as a population."""
    parts = []
    for population in POPULATIONS:
        own = data[data["networks"] == population]
        parts += [f"{population} {(own['alone'] == 'established').sum()} of {len(own)}"] if len(own) else []
    return f"Rules that hold, controls left out: {', '.join(parts)}."


def _answer(data: pd.DataFrame, verdicts: dict[str, str]) -> str:
    def shared(verdict: str) -> str:
        keys = [key for key, decided in verdicts.items() if decided == verdict]
        parts = []
        for control in ("own initialisation", "fitted head"):
            rows = data[(data["networks"] == control) & (data["alone"] == "established")]
            also = [key for key in keys if key in set(rows["claim"])]
            parts.append(f"of the {control} {', '.join(also) or 'none'}")
        return "; ".join(parts)

    fitted = data[data["networks"] == "fitted head"]
    return (
        f"{(fitted['alone'] == 'established').sum()} of {len(fitted)} rules hold without training, with a fitted "
        "head. We asked each rule of each kind of network, as if that kind were the trained one. The figure counts "
        "the networks that satisfy it. A rule that holds without learning says nothing about learning by itself. Of "
        f"the claims that are established, these hold of the controls: {shared('established')}. There only a paired "
        "difference tells what training added, where the rule names that control. Of the claims that are not "
        f"specific, these hold: {shared('not specific')}."
    )
