"""The table that every question returns, one row a value, and `Network`: a model and its role in the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

COLUMNS = (
    "question",
    "metric",
    "role",
    "network",
    "pair",
    "layer",
    "signal",
    "units",
    "step",
    "kind",
    "at",
    "value",
    "low",
    "high",
    "n",
)
#: A network's part in a comparison. `null` is a value that no network has, such as that of guessing.
ROLES = (
    "trained",
    "own initialisation",
    "random weights",
    "fitted head",
    "ridge head",
    "noise head",
    "scores head",
    "scaled head",
    "template",
    "planted",
    "other",
    "null",
)
#: The roles of untrained networks whose head alone is fitted: those whose head may be one line, and those with a
#: score for each answer. The states are those of the own initialisation, but of a scaled head, whose weights are
#: larger.
LINES, LATER = ("fitted head", "ridge head", "noise head"), ("scores head", "scaled head")
FITTED_HEADS = (*LINES, *LATER)
#: What a study puts beside each trained network by itself.
CONTROLS = ("random weights", "fitted head")


@dataclass(frozen=True)
class Network:
    """A network under study.

    Attributes:
        name: its name in tables, such as `counter/seed-3`.
        role: its part, one of `ROLES`: `trained`, or what a control is.
        model: the module.
        pair: what the comparison pairs it by, such as the seed: a control of one network has the pair of that
            network. Empty for a network that stands alone. A number becomes a text.
        known_by: a digest that tells the network from others, where its weights are computed and their last bits
            depend on the processor; empty for that of its weights.
    """

    name: str
    role: str
    model: nn.Module
    pair: str | int = ""
    known_by: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ProbeError(f"role={self.role!r} is none of {', '.join(ROLES)}.")
        from torch import nn

        if not isinstance(self.model, nn.Module):
            raise ProbeError(
                f"Network {self.name!r} has a {type(self.model).__name__} as its model; give a torch.nn.Module."
            )
        object.__setattr__(self, "pair", str(self.pair))


def measurement(
    question: str,
    metric: str,
    network: Network,
    value: float,
    *,
    layer: str = "",
    signal: str = "",
    units: str = "",
    step: int | None = None,
    kind: str = "",
    at: int | float | None = None,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
) -> dict[str, Any]:
    """Return one row of the table.

    Args:
        question: the question that measures.
        metric: what was measured.
        network: on which network.
        value: the number.
        layer: at which layer.
        signal: at which signal.
        units: at which units, such as `3` or `3 5`.
        step: at which step, the first being 0.
        kind: which of several that the metric has by name, such as a program or a part of the state.
        at: which of several that it has by number, such as a dose, a length or how many directions.
        low: lower end of the value's interval at 95 %, where one network's value is an estimate.
        high: its upper end.
        n: of how many sequences or pairs the value is.
    """
    return {
        "question": question,
        "metric": metric,
        "role": network.role,
        "network": network.name,
        "pair": network.pair,
        "layer": layer,
        "signal": str(signal),
        "units": units,
        "step": step,
        "kind": kind,
        "at": at,
        "value": float(value),
        "low": low,
        "high": high,
        "n": n,
    }


#: The types of the columns that are no texts; an empty field means that it does not apply.
TYPES: Mapping[str, Any] = {"step": "Int64", "at": float, "value": float, "low": float, "high": float, "n": "Int64"}


def tabulate(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as one table with the fixed columns; what does not apply is missing, or an empty text."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    texts = [name for name in COLUMNS if name not in TYPES]
    table[texts] = table[texts].astype(object).fillna("").astype(str)
    return table.astype({**TYPES})


def only(table: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """Return the rows of a table in which each of these columns has the given value."""
    for column, value in columns.items():
        table = table[table[column] == value]
    return table


def one(table: pd.DataFrame, **columns: str) -> float:
    """Return the value of the only such row; NaN if there is none."""
    values = only(table, **columns)["value"]
    return float(values.iloc[0]) if len(values) else float("nan")
