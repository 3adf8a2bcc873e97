"""How every claim fares against its best control: a figure, how it was judged, and what is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Claim, DataFigure
from probe.evidence.measurements import tabulate
from probe.evidence.strongest import STRONGEST, of_rule, with_strongest
from probe.plots.legends import figure_legend
from probe.plots.style import IN_INK, ROLE_STYLE, new_figure, style

NAME = "verdicts"


def find(findings: Mapping[str, Finding]) -> Finding:
    """Draw in how many networks each rule holds, and in how many of its best control."""
    lines = [
        _line(claim, with_strongest(finding.measurements, [claim.rule]))
        for finding in findings.values()
        for claim in finding.claims
        if claim.differences
    ]
    data = pd.DataFrame(lines)
    with style():
        picture = _picture(data)
    return Finding(NAME, ACROSS.title, tabulate([]), (), (picture,), notes={"answer": picture.alt})


ACROSS = common.Across(
    NAME,
    "Does each claim hold by more than in its best control?",
    "We held every statement about answers against the best of five heads on untrained weights: a line fitted by "
    "least squares, by ridge regression, and under noise; and a score for each count fitted under noise, also on "
    "larger weights. We held statements about states against the network before training, and with these "
    "larger weights.",
)
OPEN = (
    "Open objections of reviewers. The best of five heads is chosen network by network, which is hard on claims "
    "about shares of networks. All heads are fitted to the strings that the network was trained on: they have "
    "learned the answers, and only their recurrence has not. The scale of the larger weights was chosen for answers "
    "under noise; by another rule another scale may do better. 27a to 27c, 25a, 25b and 26 are refuted without a "
    "control, and 23a, 23b and T1 compare trained networks. Claim II.17b judges a value that is 0 or 1; the median "
    "of paired differences of such a value is 0 unless half of the pairs differ. The last test of one cell resamples "
    "all other cells: a count whose gates hear other cells would fail it. T1 was written after looking at four other "
    "networks. Whether the search for directions finds a variable that is not there was not judged. The planted "
    "counter of ones fails II.5b, II.12b and II.18 too. The line n1 + d (10 - t) only approximates what networks "
    "answer. 27d and T1 are about the ones read by one map: read with a zero that moves, the ones fall by less than "
    "the margin of 27d, and networks that take zeros away hold more of the zeros than before. 20d holds of a planted "
    "drift of 0.8 as well, and at 9 to 11 bits of any count of ones; of strings as short as those of 20e many "
    "answers are near by themselves. 24d restates in part that heads have no drift."
)


def _line(claim: Claim, table: pd.DataFrame) -> dict[str, object]:
    """Return a claim with its verdict and its best control, and in how many networks of each kind its rule holds."""
    rule, difference = claim.rule, min(claim.differences, key=lambda one: one.value - one.margin)
    rows = of_rule(table, rule)
    holds = {
        f"holds, {role}": float(pd.Series([value in rule.established_if for value in own]).mean())
        for role in ("trained", *(one.role for one in claim.differences))
        if len(own := rows[rows["role"] == role]["value"])
    }
    about: dict[str, object] = {"claim": rule.key, "statement": rule.statement}
    measured = {
        "verdict": claim.verdict,
        "trained": claim.value,
        "control": difference.control,
        "difference": difference.value,
    }
    return about | measured | {"against": difference.role} | holds


def _picture(data: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=0.22 * len(data) + 1.2)
    ax = axes[0, 0]
    for role in (*common.UNTRAINED, STRONGEST, "trained"):
        values = data.get(f"holds, {role}")
        # The strongest of several heads is none of their roles.
        look = IN_INK[3] if role == STRONGEST else ROLE_STYLE[role]
        if values is not None:
            values = values.dropna()
            ax.plot(100 * values, values.index, look.marker, color=look.color, markersize=6, label=role)
    ax.set_yticks(
        range(len(data)), [f"{key} {verdict}" for key, verdict in zip(data["claim"], data["verdict"], strict=True)]
    )
    ax.set(xlabel="% of networks", xlim=(-5, 105), ylim=(len(data) - 0.5, -0.5))
    ax.set_xticks([0, 50, 100])
    figure_legend(figure, *ax.get_legend_handles_labels(), most=3)
    return DataFigure.from_figure(
        figure,
        name=NAME,
        title="Every claim that has a control, against its best one",
        alt=f"{len(data)} claims. {_counted(list(data['verdict']))}",
        caption="How many networks satisfy each rule: the trained ones, the best of five heads on their untrained "
        "weights, and for statements about states the network before training, and with larger weights.",
        data=data,
    )


def _counted(verdicts: Sequence[str]) -> str:
    counts = pd.Series(verdicts).value_counts()
    return f"Verdicts: {', '.join(f'{number} {verdict}' for verdict, number in counts.items())}."
