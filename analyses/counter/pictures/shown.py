"""Which three networks the story shows: the trained one of median drift, the same before training, a planted one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import Cells, cells_of
from probe.evidence.measurements import only
from probe.subjects.subject import Subject

#: The planted counter without idle units would have one cell; with them it looks like the others.
PLANTED = "planted/ones"
#: How pages call the three, and in which order they stand.
CALLED = {
    "planted": "Written by hand",
    "own initialisation": "Before training",
    "trained": "After training",
}


@dataclass(frozen=True, eq=False)
class Three:
    """The three networks, and by role the cell from which one map reads the ones best."""

    planted: Subject
    untrained: Subject
    trained: Subject
    best: Mapping[str, int]

    def __iter__(self) -> Iterator[Subject]:
        """The three in the order of the page."""
        return iter((self.planted, self.untrained, self.trained))

    def cells(self, subject: Subject) -> Cells:
        """Return a network's cells after every prefix of 1 to 10 bits."""
        return cells_of(subject)[0]


def three_networks(networks: Mapping[str, Subject], tables: Mapping[str, pd.DataFrame]) -> Three:
    """Return the three of all networks, by name, and tables of what was measured of them, by question."""
    name = common.median_drift(tables["other_lengths"])
    planted, untrained, trained = (networks[one] for one in (PLANTED, f"{name}/own initialisation", name))
    tests = only(tables["one_cell"], metric="cell_test", kind="read ones")
    best = {}
    for subject in (planted, untrained, trained):
        rows = only(tests, network=subject.network.name)
        best[subject.network.role] = int(rows["units"].astype(int).to_numpy()[np.argmax(rows["value"].to_numpy())])
    return Three(planted, untrained, trained, best)
