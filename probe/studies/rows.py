"""The rows of a study's tables, and how numbers and names are written in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

#: The column `subject`: the network, the controls with random weights, and controls that are no network.
NETWORK, RANDOM_WEIGHTS, NULL = "trained", "untrained", "null"


def row(
    question: str,
    metric: str,
    value: float | int,
    *,
    subject: str = NETWORK,
    network: str = "this network",
    layer: str = "",
    signal: str = "",
    units: str = "",
    step: int | None = None,
) -> dict[str, Any]:
    """Return one row of a question's table; for the columns see `probe.evidence.measurements.measurement`."""
    return {
        "question": question,
        "metric": metric,
        "subject": subject,
        "network": network,
        "seed": None,
        "layer": layer,
        "signal": str(signal),
        "units": units,
        "step": step,
        "value": float(value),
    }


def only(table: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """Return the rows of a table in which each of these columns has the given value."""
    for column, value in columns.items():
        table = table[table[column] == value]
    return table


def one(table: pd.DataFrame, **columns: str) -> float:
    """Return the value of the only such row; NaN if there is none."""
    values = only(table, **columns)["value"]
    return float(values.iloc[0]) if len(values) else float("nan")


def said(value: float) -> str:
    """Return a number with two decimals, as it is written in a sentence."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\N{MINUS SIGN}")


def between(ends: tuple[float, float]) -> str:
    """Return an interval as it is written in a sentence."""
    return f"95 % interval {said(ends[0])} to {said(ends[1])}"


def place(layer: str, signal: str) -> str:
    """Return the name of a layer's signal as it is written in a sentence."""
    return f"the {signal.replace('_', ' ')} of {layer}"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "none"
