"""Does the counter count? Its errors on the strings that it never saw, by count, and the floor."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.counter import answer
from models.tasks import format_bits
from probe import DataFigure, Finding, Range, Rule
from probe.figures import new_figure, style
from probe.measurements import Network
from probe.questions import accuracy

from . import common

BOUND = 0.01
RULES = (
    Rule(
        key="0",
        statement="The network counts: at most 1 % of the strings that it never saw are misread.",
        metric="test_error",
        definition="Share of the network's own 524 test strings whose highest score is not at their count.",
        source="the notebook that the counter comes from, which reports 0.1 %",
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
    ),
)
EVERY = tuple(range(len(common.STRINGS)))


def groups(network: Network) -> accuracy.Groups:
    """Return a network's training and test strings and all strings; a planted one has neither of the first."""
    own = network if isinstance(network, common.Studied) else common.Studied("", "planted", network.model)
    parts = {"train": own.train, "test": own.test, "all": EVERY}
    return {name: rows for name, rows in parts.items() if rows}


def find(networks: Sequence[Network]) -> Finding:
    """Measure the errors of counters on all strings of ten bits."""
    counts = common.COUNTS[:, -1]
    table = accuracy.measure(networks, common.STRINGS, counts, answer=answer, groups=groups)
    drawn = table[table["metric"].isin(["test_error", "test_floor"])]
    with style():
        figure, axes = new_figure(height=3.2)
        accuracy.draw(table, group="test", bound=BOUND, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="test-error",
            title="Strings misread among those never seen in training",
            alt=_alt(drawn),
            caption="Each mark is one network; a bar is the share of its test strings whose count it never saw "
            "in training, which nobody could have learned. The scale is logarithmic above 1 %.",
            data=drawn,
        )
    notes = {"misread": _misread(networks, counts.numpy())}
    title = "Does the network count?"
    return common.finding("accuracy", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _alt(drawn: pd.DataFrame) -> str:
    errors = drawn[drawn["metric"] == "test_error"].groupby("subject")["value"]
    parts = [
        f"{subject} networks: {values.min():.2%} to {values.max():.2%}, median {values.median():.2%}"
        for subject, values in errors
    ]
    return f"Share of test strings misread. {'; '.join(parts).capitalize()}."


def _misread(networks: Sequence[Network], counts: np.ndarray) -> str:
    sentences = []
    for network in common.pick(networks, "trained"):
        given = accuracy.answers(network.model, common.STRINGS, answer=answer)
        rows = np.flatnonzero(given != counts)
        names = format_bits(common.STRINGS[rows]) if len(rows) else []
        listed = [f"{name} as {given[row]}" for name, row in zip(names, rows, strict=True)]
        sentences.append(f"{network.name} misreads {', '.join(listed) or 'no string'}.")
    return " ".join(sentences)


if __name__ == "__main__":
    from .command import run

    sys.exit(run(["accuracy"], "python -m analyses.accuracy"))
