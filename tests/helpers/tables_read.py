"""Reads values from the table that a question returns."""

from __future__ import annotations

from typing import Any

import pandas as pd


def rows(table: pd.DataFrame, metric: str, **where: Any) -> pd.DataFrame:
    """Return a metric's rows in which columns have the given values; None is a missing one."""
    table = table[table["metric"] == metric]
    for column, wanted in where.items():
        table = table[table[column].isna() if wanted is None else table[column] == wanted]
    return table


def values(table: pd.DataFrame, metric: str, **where: Any) -> list[float]:
    """Return the values of these rows, in the table's order."""
    return rows(table, metric, **where)["value"].tolist()


def by(column: str, table: pd.DataFrame, metric: str, **where: Any) -> dict[Any, float]:
    """Return the values of these rows by what stands in a column."""
    found = rows(table, metric, **where)
    assert found[column].is_unique
    return dict(zip(found[column], found["value"], strict=True))


def value(table: pd.DataFrame, metric: str, **where: Any) -> float:
    """Return the value of the only such row."""
    (found,) = values(table, metric, **where)
    return found
