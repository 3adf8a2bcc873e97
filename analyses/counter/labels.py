"""Which counts are misread? Of each count, of strings that were trained on and of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses.counter import common
from models.counter import answer
from probe import Finding
from probe.evidence.measurements import measurement, tabulate
from probe.evidence.words import listed
from probe.subjects.subject import Subject

NAME = "labels"
TOLD = {True: "trained on", False: "unseen"}
ENDS = {0: "ten zeros", common.STRINGS.shape[1]: "ten ones"}
ACROSS = common.Across(
    NAME,
    "Which counts are misread?",
    "A count that few strings have is learned from few. We look at each count by itself, and apart at the strings "
    "that a network was trained on.",
)


@torch.no_grad()
def find(subjects: Iterable[Subject]) -> Finding:
    """Measure the share of misread strings by count, of every trained network."""
    right, rows = common.COUNTS[:, -1].numpy(), []
    for one in (subject.network for subject in subjects):
        if not isinstance(one, common.Studied) or one.role != "trained":
            continue
        wrong = answer(one.model(common.STRINGS)).numpy() != right
        trained = np.isin(np.arange(len(right)), one.train)
        for count in range(right.max() + 1):
            for seen, kind in TOLD.items():
                own = wrong[(right == count) & (trained == seen)]
                if len(own):
                    rows.append(measurement(NAME, "misread", one, kind=kind, at=count, value=own.mean(), n=len(own)))
    table = tabulate(rows)
    return Finding(NAME, ACROSS.title, table, (), (), notes={"answer": ends(table)})


def ends(table: pd.DataFrame) -> str:
    """Return how many networks read the two strings right that are alone with their count, seen and unseen.

    Args:
        table: what `find` measured.
    """
    right, others = [], []
    for count, called in ENDS.items():
        seen, unseen = (
            table[(table["at"] == count) & (table["kind"] == TOLD[one])]["value"] == 0 for one in (True, False)
        )
        right.append(f"{'all' if seen.all() else f'{seen.sum()} of'} {len(seen)} read {called} right")
        others.append(f"{unseen.sum()} of {len(unseen)}")
        if not unseen.any():
            others.pop()
    rest = f"of the others, {listed(others)} do" if others else "no other does"
    return f"Of networks trained on them, {' and '.join(right)}; {rest}."


def by_count(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return by count, and by whether strings were trained on, how many networks and strings, and how many misread.

    Args:
        table: what `find` measured.
    """
    found = []
    for (count, kind), own in table.groupby(["at", "kind"]):
        strings, wrong = int(own["n"].sum()), round(float((own["value"] * own["n"]).sum()))
        about = {"count": int(float(str(count))), "strings": str(kind), "networks": len(own), "answers": strings}
        found.append(about | {"misread": wrong, "share": wrong / strings})
    return found
