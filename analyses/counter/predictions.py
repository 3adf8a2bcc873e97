"""What shorter strings and other input codes should change in training, committed before that training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import pandas as pd

from models.recipes import CODES, DOSES, experiment_recipe
from probe import ProbeError
from probe.evidence import Range, Rule
from probe.evidence.intervals import median_interval

SOURCE = "the experiment of docs/science.md; Suzgun et al. 2019"
#: Claim 23. Both metrics are of the network with the same seed, which is what a pair shares.
RULES = (
    Rule(
        key="23a",
        statement="The input code sets the drift: with 0/1 it is larger than with -1/+1.",
        metric="code_difference",
        definition="d of the network trained on 0/1 less d of the one trained from the same seed on -1/+1.",
        source=SOURCE,
        established_if=Range.above(0.1),
        refuted_if=Range.at_most(0.1),
    ),
    Rule(
        key="23b",
        statement="A tenth of strings of length 9 among the training strings suffices for a small drift.",
        metric="shorter_drift",
        definition="d of the network of whose 500 training strings 50 were replaced by strings of 9 bits.",
        source=SOURCE,
        established_if=Range.at_most(0.3),
        refuted_if=Range.above(0.3),
    ),
)


class Cells:
    """The experiment's measurements, by cell and metric.

    Args:
        table: measurements of networks named `RECIPE/seed-N`, columns question, network, metric, signal, kind and
            value.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.assign(recipe=table["network"].str.split("/").str[0])

    def values(self, code: str, percent: int, metric: str, signal: str = "") -> list[float]:
        """Return a metric of all networks of a cell.

        Raises:
            ProbeError: it was not measured there.
        """
        name = experiment_recipe(code, percent).name
        rows = self._table[(self._table["recipe"] == name) & (self._table["metric"] == metric)]
        rows = rows[(rows["signal"] == signal) | (rows["kind"] == signal)] if signal else rows
        if rows.empty:
            raise ProbeError(f"{metric!r} was not measured on {name!r}; run `make study`, which does.")
        return [float(value) for value in rows["value"]]

    def median(self, code: str, percent: int, metric: str, signal: str = "") -> float:
        """Return the median of a metric over the networks of a cell."""
        return float(pd.Series(self.values(code, percent, metric, signal)).median())

    def interval(self, code: str, percent: int, metric: str) -> tuple[float, float]:
        """Return the 95 % interval of the median of a metric over the networks of a cell."""
        values = self.values(code, percent, metric)
        return median_interval(values) or (min(values), max(values))


@dataclass(frozen=True)
class Prediction:
    """A prediction of the experiment's outcome.

    Attributes:
        key: short name.
        statement: what is predicted.
        definition: which number tells.
        number: computes it.
        held_if: the prediction held where the number lies in this range.
    """

    key: str
    statement: str
    definition: str
    number: Callable[[Cells], float]
    held_if: Range


def _mirror(cells: Cells) -> float:
    low, high = cells.interval("", 0, "drift")
    reversed_low, reversed_high = cells.interval("reversed", 0, "drift")
    return max(0.0, (1 - high) - reversed_high, reversed_low - (1 - low))


def _off_centre(code: str) -> Callable[[Cells], float]:
    def number(cells: Cells) -> float:
        low, high = cells.interval(code, 0, "drift")
        return max(0.0, low - 0.5, 0.5 - high)

    return number


def _grows(cells: Cells) -> float:
    middle = {code: cells.median(code, 0, "drift") for code in ("", "signed", "half-signed", "shifted")}
    return min(middle[""] - middle["signed"], middle[""] - middle["half-signed"], middle["shifted"] - middle[""])


def _falls(cells: Cells) -> float:
    return min(cells.median(code, DOSES[0], "drift") - cells.median(code, DOSES[-1], "drift") for code in CODES)


def _never_rises(cells: Cells) -> float:
    return max(
        cells.median(code, more, "drift") - cells.median(code, less, "drift")
        for (less, more), code in product(pairwise(DOSES), CODES)
    )


def _moved(metric: str, signal: str = "") -> Callable[[Cells], float]:
    def number(cells: Cells) -> float:
        return max(
            abs(cells.median(code, DOSES[-1], metric, signal) - cells.median(code, DOSES[0], metric, signal))
            for code in CODES
        )

    return number


#: Of E5a to E5d, whose numbers and ranges are as they were committed. They were worded "does not see it", which says
#: more than these metrics can: each stands at an end of its scale (docs/science.md, "What the theorem does not say").
_AT_AN_END = "largest over the codes of the distance between the medians at the highest dose and at none"
PREDICTIONS = (
    Prediction(
        "E1",
        "Reading 1 for 0 and 0 for 1 mirrors the drift: d becomes 1 - d.",
        "how far the 95 % interval of the median d with the code 1/0 and the mirrored one of 0/1 are apart",
        _mirror,
        Range(0.0, 0.0),
    ),
    Prediction(
        "E2a",
        "With the code -1/+1 the drift is symmetric about one half.",
        "how far 0.5 lies outside of the 95 % interval of the median d",
        _off_centre("signed"),
        Range(0.0, 0.0),
    ),
    Prediction(
        "E2b",
        "With the code -.5/+.5 the drift is symmetric about one half.",
        "how far 0.5 lies outside of the 95 % interval of the median d",
        _off_centre("half-signed"),
        Range(0.0, 0.0),
    ),
    Prediction(
        "E3",
        "Where a 1 is the larger number, the drift grows with the mean of the code.",
        "smallest of the differences of median d: 0/1 less -1/+1, 0/1 less -.5/+.5, and 1/2 less 0/1",
        _grows,
        Range.above(0.0),
    ),
    Prediction(
        "E4a",
        "A tenth of shorter strings lowers the drift, whatever the code.",
        "smallest over the codes of median d without shorter strings less that with the highest dose",
        _falls,
        Range.above(0.0),
    ),
    Prediction(
        "E4b",
        "From one dose to the next the drift never rises.",
        "largest over codes and neighbouring doses of the change of the median d",
        _never_rises,
        Range.at_most(0.0),
    ),
    Prediction(
        "E5a",
        "A probe of ten-bit strings stays at the upper end of its scale.",
        f"held-out R² after ten bits: {_AT_AN_END}",
        _moved("last_step_r_squared"),
        Range.at_most(0.02),
    ),
    Prediction(
        "E5b",
        "Class means of ten-bit strings stay at the upper end of their scale.",
        f"accuracy from class means over own accuracy, worst step: {_AT_AN_END}",
        _moved("worst_class_mean_ratio"),
        Range.at_most(0.05),
    ),
    Prediction(
        "E5c",
        "Erasure on ten-bit strings stays at the lower end of its scale.",
        f"accuracy with the count erased, above the floor: {_AT_AN_END}",
        _moved("erased_excess"),
        Range.at_most(0.05),
    ),
    Prediction(
        "E5d",
        "Interchange along the probe's direction stays at the lower end of its scale.",
        f"interchange score along the probe's direction: {_AT_AN_END}",
        _moved("direction_score", "ols"),
        Range.at_most(0.1),
    ),
)
