"""How every claim fares against its best control: a figure, how it was judged, and what is open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from analyses.counter import common, rules
from probe import Finding
from probe.errors import several
from probe.evidence import Claim, DataFigure, Range, Rule, judge
from probe.evidence.claims import STRONGEST, of_rule, with_strongest
from probe.evidence.measurements import tabulate
from probe.evidence.words import listed
from probe.plots.legends import figure_legend
from probe.plots.style import GREY, IN_INK, ROLE_STYLE, new_figure, style
from probe.report import Details, Points, Section, Table, Text
from probe.studies.pages.sections import VERDICTS

NAME = "verdicts"
#: Letters of a claim on a line.
LETTERS = 52


def find(findings: Mapping[str, Finding]) -> Finding:
    """Draw in how many networks each rule holds, and in how many of its best control."""
    data = pd.DataFrame(
        _line(claim, with_strongest(finding.measurements, claim.rule))
        for finding in findings.values()
        for claim in finding.claims
        if {one.role for one in claim.differences} & {*rules.UNTRAINED, STRONGEST}
    )
    with style():
        picture = _picture(data)
    return Finding(NAME, ACROSS.title, tabulate([]), (), (picture,), notes={"answer": picture.alt})


ACROSS = common.Across(
    NAME,
    "Does each claim hold by more than in its best control?",
    "We compared claims about answers with the best of five heads fitted to untrained weights, and claims about "
    "states with the network before training, also with larger weights.",
)
OPEN = (
    "The best of five heads is chosen network by network, which is hard on claims about shares of networks. All "
    "heads are fitted to the network's training strings: they have learned the answers; only their recurrence is "
    "untrained. The scale of the larger weights was chosen for answers under noise; under another rule, another "
    "scale may do better. 27e to 27g, 25a, 25b and 26 are refuted without a control, and 23a, 23b and T6 compare "
    "trained networks. Claim II.17b judges a value that is 0 or 1; the median of paired differences of such a value "
    "is 0 unless half of the pairs differ. The last test of one cell resamples all other cells: a count whose gates "
    "depend on other cells would fail it. T6 was written after looking at four other networks. We did not judge "
    "whether the search for directions finds a variable that is not there. The planted counter of ones fails II.5b, "
    "II.12b and II.18 too. The line n1 + d (10 - t) only approximates what networks answer. 27h and T6 are about the "
    "ones as read by one formula: read with a zero that moves, the ones fall by less than the margin of 27h, and "
    "networks that take zeros away hold more of the zeros than before. 20d also holds for a planted drift of 0.8 "
    "and, at 9 to 11 bits, for any count of ones; for strings as short as those of 20e many answers are close "
    "anyway. 24d restates in part that heads have no drift. Single cells were not read step by step on larger "
    "untrained weights. 29g does not test rarity: where ones and zeros are as frequent the median drift meets its "
    "bound, too. 29f is about the drift: where ones are rare, most answers are within one of the number of ones, "
    "and most are within one of a single number for each length. Narrow networks misread more, so width and "
    "learning cannot be told apart."
)


#: From which rank correlation on two claims go together, and over how many networks at least.
TOGETHER, LEAST = 0.8, 40
#: Claims that a reviewer held for readings of one fact.
DOUBTED = ("II.3", "II.4", "II.12b", "II.18")
RELATED = (
    "Weiss et al. 2018 (arXiv 1805.04908): LSTMs can count, and learn to. New here: in no network of twelve units "
    "does one cell pass all tests of a count, asked at ten bits alone or after every bit.",
    "Suzgun et al. 2019 (arXiv 1906.03648): one unit learns to count brackets. New here: networks asked at one "
    "length run another program at others.",
    "Merrill et al. 2020 (arXiv 2004.08500): what saturated LSTMs can compute, and what trained ones recognise. New "
    "here: by which program trained ones answer at other lengths.",
    "El-Naggar et al. 2023 (arXiv 2304.03639): trained linear cells do not meet the conditions of exact counting. "
    "New here: what networks compute instead.",
    "Grant et al. 2025 (arXiv 2501.06141): alignment searches find number variables in trained networks. New here: "
    "the same search does as well in random ones with a fitted head.",
    "Not All Structure Is Learned (OpenReview 1RfgHzf5IA): the most prominent feature of a trained GRU is there "
    "before training. New here: the same for many claims about LSTMs, with verdicts against fitted heads.",
    "We read only the abstracts of all these.",
)
#: What stands behind the table of all claims.
BEHIND = (
    Section("What reviewers still object to", [Details("All objections", [Text(OPEN)])], key="open"),
    Section("Related work", [Details("Six papers, and what is new here", [Points(RELATED)])], key="related"),
)


def correlations(findings: Mapping[str, Finding]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rank correlations of what claims measure, over trained networks with their controls, and over trained.

    Each is (claim, claim), positive where two hold or fail together, and NaN below `LEAST` networks.
    """
    columns = {}
    for finding in findings.values():
        for rule in (claim.rule for claim in finding.claims):
            rows = of_rule(finding.measurements, rule)
            values = rows[rows["pair"] != ""].groupby(["role", "pair"])["value"].mean()
            columns[rule.key] = values if math.isfinite(rule.established_if.low) else -values
    values = pd.DataFrame(columns)
    trained = values[values.index.get_level_values("role") == "trained"]
    both, alone = (one.corr("spearman", min_periods=LEAST) for one in (values, trained))
    return both, alone


def families(both: pd.DataFrame, trained: pd.DataFrame, bound: float = TOGETHER) -> list[list[str]]:
    """Return claims by family, of `correlations`: any two that go together, over controls too or not, are of one."""
    linked = np.fmax(both.abs(), trained.abs()) >= bound
    labels = connected_components(np.asarray(linked), directed=False)[1]
    return [[str(key) for key in both.columns[labels == label]] for label in dict.fromkeys(labels)]


def together(both: pd.DataFrame, trained: pd.DataFrame) -> Section:
    """Return by `correlations` how claims go together, for the page of all claims."""
    found = families(both, trained)
    linked = [own for own in found if len(own) > 1]
    rows = [
        [one, other, both.loc[one, other], trained.loc[one, other]]
        for own in [*linked, list(DOUBTED)]
        for place, one in enumerate(own)
        for other in own[place + 1 :]
    ]
    apart = both.isna() & trained.isna()
    looser, stricter = (len(families(both, trained, bound)) for bound in (TOGETHER - 0.1, TOGETHER + 0.1))
    doubted = several(sum(bool({*own} & {*DOUBTED}) for own in found), "family", "families")
    said = (
        f"{len(both)} claims are {len(found)} families: two go together where the ranks of what they "
        f"measure correlate at {TOGETHER} or more, over controls too or over trained networks alone, and chains "
        f"count. From {TOGETHER - 0.1:.1f} on they would be {looser}, from {TOGETHER + 0.1:.1f} on {stricter}. "
        f"{apart.to_numpy()[np.triu_indices(len(both), 1)].mean():.0%} of pairs cannot be compared, since they come "
        f"from different seeds or never vary, and count as apart. {listed(DOUBTED)}, which a reviewer took for "
        f"readings of one fact, belong to {doubted}."
    )
    table = Table(
        ["claim", "and claim", "with controls", "trained alone"],
        rows,
        "Rank correlations over networks of what two claims measure; below 0 one holds where the other fails.",
        name="together",
        digits=2,
        max_rows=len(rows),
    )
    fold = Details("Their families, and the correlations", [Text(said), table])
    return Section("Which claims go together", [fold], key="together")


def moved_bounds(rule: Rule) -> tuple[float, float] | None:
    """Return half and double the bound of a rule, the milder one first; None for a bound of 0.

    From .5 to 1 it is the distance to 1 that is doubled and halved, down to half the bound; above 1, where a metric
    is 1 if nothing is the case, what is beyond 1.
    """
    at_least = math.isfinite(rule.established_if.low)
    bound = rule.established_if.low if at_least else rule.established_if.high
    if bound == 0:
        return None
    if bound > 1:
        low, high = 1 + (bound - 1) / 2, 1 + 2 * (bound - 1)
    elif bound >= 0.5:
        low, high = max(1 - 2 * (1 - bound), bound / 2), 1 - (1 - bound) / 2
    else:
        low, high = bound / 2, 2 * bound
    return (low, high) if at_least else (high, low)


def with_bound(rule: Rule, bound: float) -> Rule:
    """Return a rule with another bound, its ends open or not as they were."""

    def moved(asked: Range) -> Range:
        return replace(asked, **{"low" if math.isfinite(asked.low) else "high": bound})

    return replace(rule, established_if=moved(rule.established_if), refuted_if=moved(rule.refuted_if))


def swept(findings: Mapping[str, Finding]) -> Section:
    """Return which verdicts would be others if each bound were half or double, for the page of all claims."""
    rows, asked = [], 0
    for finding in findings.values():
        for claim in finding.claims:
            bounds = moved_bounds(claim.rule)
            if bounds is None:
                continue
            asked += 1
            others = [with_bound(claim.rule, bound) for bound in bounds]
            found = [one.verdict for one in judge(finding.measurements, others, family=rules.family_of(claim.rule))]
            if {*found} != {claim.verdict}:
                bound = f"{claim.rule.established_if}"
                said = [f"{one.established_if}: {verdict}" for one, verdict in zip(others, found, strict=True)]
                rows.append([claim.rule.key, claim.rule.on_page, bound, claim.verdict, *said])
    told = (
        f"Of {asked} verdicts {asked - len(rows)} would be the same with a bound of half and of double. From .5 to 1 "
        "the distance to 1 is doubled and halved. The table has the others."
    )
    head = ["claim", "statement", "bound", "verdict", "with a milder bound", "with a stricter one"]
    table = Table(head, rows, "Verdicts that hang on the bound.", name="bounds", max_rows=len(rows))
    return Section("If the bounds were others", [Details("Half and double", [Text(told), table])], key="bounds")


def _line(claim: Claim, table: pd.DataFrame) -> dict[str, object]:
    """Return a claim with its verdict and its best control, and in how many networks of each kind its rule holds."""
    rule, difference = claim.rule, min(claim.differences, key=lambda one: one.value - one.margin)
    holds = {
        f"holds, {role}": float(pd.Series([value in rule.established_if for value in own]).mean())
        for role in ("trained", *(one.role for one in claim.differences))
        if len(own := table[table["role"] == role]["value"])
    }
    said = rule.on_page.partition(" (")[0]
    about: dict[str, object] = {"claim": rule.key, "says": said, "statement": rule.statement}
    measured = {
        "verdict": claim.verdict,
        "trained": claim.value,
        "control": difference.control,
        "difference": difference.value,
    }
    return about | measured | {"against": difference.role} | holds


def _picture(data: pd.DataFrame) -> DataFigure:
    """Draw each claim as a row below its verdict, and where it holds: trained, and in the best control."""
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    data = data.sort_values("verdict", key=lambda own: own.map(order), kind="stable").reset_index(drop=True)
    says = data["says"].map(lambda said: fill(str(said), LETTERS))
    # A long sentence takes two lines; above each verdict's first claim a line is left free for its name.
    lines = says.str.count("\n") + 1
    row = lines.cumsum() - lines / 2 + 1.5 * (data["verdict"].map(order) + 1)
    figure, axes = new_figure(height=0.185 * (row.max() + 2) + 0.6)
    ax = axes[0, 0]
    best = data[[f"holds, {role}" for role in (*rules.UNTRAINED, STRONGEST) if f"holds, {role}" in data]].max(axis=1)
    look, control = ROLE_STYLE["trained"], IN_INK[3]
    ax.hlines(row, 100 * best, 100 * data["holds, trained"], color=GREY, linewidth=1.5, zorder=1)
    ax.plot(
        100 * best, row, control.marker, color=control.color, markersize=6, fillstyle="none", label="best control"
    )
    ax.plot(100 * data["holds, trained"], row, look.marker, color=look.color, markersize=6, label="trained")
    ax.set_yticks(row, says)
    for verdict, top in (row - lines / 2).groupby(data["verdict"]).min().items():
        ax.text(-6, top - 0.7, str(verdict), ha="right", va="center", fontweight="bold")
    ax.set(xlabel="networks in which it holds, %", xlim=(-3, 103), ylim=(row.max() + 1, -0.7))
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([0, 50, 100])
    figure_legend(figure, *ax.get_legend_handles_labels())
    return DataFigure.from_figure(
        figure,
        name=NAME,
        title="Every claim about networks and their controls, against the best one",
        alt=f"{len(data)} claims. {_counted(list(data['verdict']))}",
        caption="The best control is, network by network, the best of five heads on untrained weights; for states, "
        "whichever of two untrained networks meets the rule more often. Verdicts go by medians and margins, so "
        "a claim can stand where its control holds too.",
        data=data,
    )


def _counted(verdicts: Sequence[str]) -> str:
    counts = pd.Series(verdicts).value_counts()
    return f"Verdicts: {', '.join(f'{number} {verdict}' for verdict, number in counts.items())}."
