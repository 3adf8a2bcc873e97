"""Do the methods find what was planted? Expected and measured values of the networks built by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from probe import DataFigure, Finding, ProbeError, Range, Rule
from probe.evidence.measurements import tabulate
from probe.plots.style import GREEN, GREY, ORANGE, new_figure, style

from . import common
from .expected import EXPECTED, Expected
from .summaries import Findings, rows_of, summary

QUESTION, TITLE = "planted_networks", "Do the instruments find what is known to be there?"
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
    expected = [each for each in EXPECTED if f"planted/{each.network}" in planted and each.question in findings]
    compared = pd.DataFrame([_compared(findings, each) for each in expected])
    table = tabulate(
        common.row(QUESTION, "as_expected", f"planted/{network}", float(own["met"].all())) | {"role": "planted"}
        for network, own in compared.groupby("network", sort=False)
    )
    missed = compared[~compared["met"]]
    with style():
        figure, axes = new_figure(height=3.4)
        for met, color, marker in ((True, GREEN, "o"), (False, ORANGE, "X")):
            own = compared[compared["met"] == met]
            label = "within tolerance" if met else "not met"
            axes[0, 0].plot(
                own["expected"], own["measured"], marker, color=color, mfc="none" if met else color, label=label
            )
        axes[0, 0].axline((0, 0), slope=1, color=GREY, linewidth=1)
        axes[0, 0].set_xlabel("expected")
        axes[0, 0].set_ylabel("measured")
        axes[0, 0].legend(loc="upper left")
        picture = DataFigure.from_figure(
            figure,
            name=QUESTION,
            title="Measured against expected on planted networks",
            alt=f"{len(compared)} values of planted networks against what their weights imply: {len(missed)} lie "
            f"outside their tolerance; the largest difference is {compared['difference'].max():.2g}.",
            caption="Each marker is one value of one network whose weights were written down; the table has all.",
            data=compared,
        )
    notes = {"answer": _answer(compared, missed)}
    return summary(QUESTION, TITLE, table, findings=findings, rules=RULES, figures=[picture], notes=notes)


def _compared(findings: Findings, expected: Expected) -> dict[str, object]:
    place: dict[str, Any] = {"signal": expected.signal, "units": expected.units, "kind": expected.kind}
    rows = rows_of(findings, expected.question, expected.metric, role="planted", **place)
    values = rows[rows["network"] == f"planted/{expected.network}"]["value"]
    if len(values) != 1:
        raise ProbeError(f"{expected.metric!r} has {len(values)} values on planted/{expected.network}, not one.")
    measured = float(values.iloc[0])
    difference = abs(measured - expected.value)
    return {
        "network": expected.network,
        "metric": " ".join(
            part for part in (expected.metric, expected.signal, expected.units, expected.kind) if part
        ),
        "expected": expected.value,
        "tolerance": expected.tolerance,
        "measured": measured,
        "difference": difference,
        "met": difference <= expected.tolerance,
        "because": expected.why,
    }


def _answer(compared: pd.DataFrame, missed: pd.DataFrame) -> str:
    named = "; ".join(
        f"{network}: {metric} {measured:.3g} instead of {wanted:.3g}"
        for network, metric, measured, wanted in zip(
            *(missed[name] for name in ("network", "metric", "measured", "expected")), strict=True
        )
    )
    return (
        f"{len(compared) - len(missed)} of {len(compared)} values that follow from planted weights are measured "
        f"within their tolerance.{' Not met: ' + named + '.' if named else ''}"
    )
