"""Do the methods find what was planted? Expected and measured values of the networks built by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analyses.counter import common
from analyses.counter.expected import EXPECTED, Expected
from analyses.counter.expected_rules import NOT_ASKED, OF_RULES
from analyses.counter.summaries import Findings, rows_of, summary
from probe import Finding, ProbeError
from probe.evidence import DataFigure, Range, Rule
from probe.evidence.measurements import tabulate
from probe.plots.legends import legend_above
from probe.plots.style import GREY, INK, new_figure, role_style, style

QUESTION, TITLE = "planted_networks", "Do the instruments find what is known to be there?"
#: Of values that follow within a tolerance, and of those of which a range follows.
WIDE = 0.02
WITHIN, BETWEEN = "within tolerance", "in the range"
PLANTED = role_style("planted").color
RULES = (
    Rule(
        key="22",
        statement="Networks whose mechanism was written down give the values that follow from it.",
        metric="as_expected",
        definition="1 where every expected value of the network is met within its tolerance, else 0.",
        source="docs/science.md, planted networks",
        established_if=Range(1.0, 1.0),
        refuted_if=Range.below(1.0),
        check=True,
    ),
)


def find(findings: Findings) -> Finding:
    """Hold every expected value against the measured one, on those of the planted networks that were asked."""
    planted = set(rows_of(findings, "accuracy", "all_error", role="planted")["network"])
    wanted = [
        each for each in (*EXPECTED, *OF_RULES) if f"planted/{each.network}" in planted and each.question in findings
    ]
    compared = pd.DataFrame([_compared(findings, each) for each in wanted])
    table = tabulate([*_by_network(compared), *_by_rule(compared)])
    missed = compared[~compared["met"]]
    figures = [_picture(compared, missed), *_matrix(compared)]
    notes = {"answer": _answer(compared, missed, len(planted))}
    return summary(QUESTION, TITLE, table, findings=findings, rules=RULES, figures=figures, notes=notes)


def _by_network(compared: pd.DataFrame) -> list[dict[str, object]]:
    """Return whether every expected value of a network is met, a row a network."""
    return [
        common.row(QUESTION, "as_expected", f"planted/{network}", float(own["met"].all())) | {"role": "planted"}
        for network, own in compared.groupby("network", sort=False)
    ]


def _by_rule(compared: pd.DataFrame) -> list[dict[str, object]]:
    """Return the matrix of rules (`kind`) and networks: whether the value is met, and where it must lie."""
    rows = []
    for each in compared[compared["rule"] != ""].to_dict("records"):
        place = {"role": "planted", "low": each["low"], "high": each["high"]}
        network, met = f"planted/{each['network']}", float(each["met"])
        rows.append(common.row(QUESTION, "rule_as_expected", network, met, kind=str(each["rule"])) | place)
    return rows


def _compared(findings: Findings, expected: Expected) -> dict[str, object]:
    place: dict[str, Any] = {"signal": expected.signal, "units": expected.units, "kind": expected.kind}
    rows = rows_of(findings, expected.question, expected.metric, role="planted", **place)
    values = rows[rows["network"] == f"planted/{expected.network}"]["value"]
    if len(values) != 1:
        raise ProbeError(f"{expected.metric!r} has {len(values)} values on planted/{expected.network}, not one.")
    measured = float(values.iloc[0])
    difference = abs(measured - expected.value)
    return {
        "rule": expected.rule,
        "network": expected.network,
        "metric": " ".join(
            part for part in (expected.metric, expected.signal, expected.units, expected.kind) if part
        ),
        "follows": BETWEEN if expected.between else WITHIN,
        "expected": expected.value,
        "tolerance": expected.tolerance,
        "low": expected.value - expected.tolerance,
        "high": expected.value + expected.tolerance,
        "measured": measured,
        "difference": difference,
        # The end of a range belongs to it, and its middle was rounded.
        "met": bool(difference <= expected.tolerance + 1e-12),
        "because": expected.why,
    }


def _picture(compared: pd.DataFrame, missed: pd.DataFrame) -> DataFigure:
    exact = compared[compared["follows"] == WITHIN]
    with style():
        figure, axes = new_figure(height=3.4)
        for met, color, marker in ((True, PLANTED, "o"), (False, INK, "X")):
            own = compared[compared["met"] == met]
            label = "as expected" if met else "not met"
            axes[0, 0].plot(
                own["expected"], own["measured"], marker, color=color, mfc="none" if met else color, label=label
            )
        axes[0, 0].axline((0, 0), slope=1, color=GREY, linewidth=1)
        axes[0, 0].set_xlabel("expected")
        axes[0, 0].set_ylabel("measured")
        legend_above(axes[0, 0])
        return DataFigure.from_figure(
            figure,
            name=QUESTION,
            title="Measured against expected on planted networks",
            alt=f"{len(compared)} values of planted networks against what their weights imply: {len(missed)} lie "
            f"outside; the largest difference where one value follows is {exact['difference'].max():.2g}.",
            caption="Each marker is one value of one network whose weights we wrote by hand. If the weights imply "
            "only a range, its middle stands for it. The table has all values, by rule and network.",
            data=compared,
        )


def _matrix(compared: pd.DataFrame) -> list[DataFigure]:
    """Draw every rule on every planted network; nothing where no rule has an expected value."""
    data = compared[compared["rule"] != ""][["rule", "network", "follows", "low", "high", "measured", "met"]]
    if data.empty:
        return []
    rules, networks = (list(dict.fromkeys(data[name])) for name in ("rule", "network"))
    kinds = {(True, WITHIN): ("o", PLANTED, PLANTED), (True, BETWEEN): ("o", "none", PLANTED)}
    kinds |= dict.fromkeys([(False, WITHIN), (False, BETWEEN)], ("X", INK, INK))
    with style():
        figure, axes = new_figure(height=0.19 * len(rules) + 1.8)
        ax = axes[0, 0]
        for (met, follows), own in data.groupby(["met", "follows"]):
            marker, face, edge = kinds[bool(met), str(follows)]
            places = [networks.index(name) for name in own["network"]], [rules.index(key) for key in own["rule"]]
            label = f"{'as expected' if met else 'not met'}, {follows}"
            ax.plot(*places, marker, color=edge, mfc=face, markersize=5, label=label)
        ax.set_xticks(range(len(networks)), networks, rotation=90)
        ax.set_yticks(range(len(rules)), rules)
        ax.set(xlim=(-0.6, len(networks) - 0.4), ylim=(len(rules) - 0.4, -0.6))
        legend_above(ax, most=2)
        picture = DataFigure.from_figure(
            figure,
            name="rules_and_networks",
            title="Every rule on every planted network",
            alt=f"A grid of {len(rules)} rules and {len(networks)} planted networks: {int(data['met'].sum())} of "
            f"{len(data)} values are as expected; of {int((data['follows'] == BETWEEN).sum())} only a range follows.",
            caption="A row for each rule, a column for each planted network. Filled: the weights imply one value, "
            "and we measured it. Open: the weights imply a range.",
            data=data,
        )
    return [picture]


def _answer(compared: pd.DataFrame, missed: pd.DataFrame, networks: int) -> str:
    named = "; ".join(
        f"{network}: {metric} {measured:.3g} instead of {wanted:.3g}"
        for network, metric, measured, wanted in zip(
            *(missed[name] for name in ("network", "metric", "measured", "expected")), strict=True
        )
    )
    of_rules = compared[compared["rule"] != ""]
    return (
        f"{len(compared) - len(missed)} of {len(compared)} values that follow from planted weights are measured as "
        "expected. We wrote the weights of a planted network by hand, so we can say beforehand what a measurement "
        f"must give.{' Not met: ' + named + '.' if named else ''}{_coverage(of_rules, networks)}"
    )


def _coverage(of_rules: pd.DataFrame, networks: int) -> str:
    """Return how many rules and networks have an expected value, and which rules have none, as sentences."""
    if of_rules.empty:
        return ""
    ranges = int((of_rules["follows"] == BETWEEN).sum())
    reasons = " ".join(f"Rule {key}: {why}." for key, why in NOT_ASKED.items())
    plain = int(of_rules["expected"].isin([0.0, 1.0]).sum())
    wide = int((of_rules["tolerance"] >= WIDE).sum())
    return (
        f" {int(of_rules['met'].sum())} of {len(of_rules)} are those of {of_rules['rule'].nunique()} rules on "
        f"{networks} networks, each rule on each network. Not all of these are hard to meet: {plain} are exactly 0 "
        f"or 1. For {ranges} the weights imply only a range, and {wide} have a tolerance of {WIDE:g} or more. Some "
        "of the values that we first expected were wrong; docs/science.md says which, and why. Some rules have no "
        f"value on a planted network. {reasons}"
    )
