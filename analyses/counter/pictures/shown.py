"""Which networks the story shows: the trained one of median drift, the same before training, and a planted one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import Cells, cells_of
from probe.subjects.subject import Subject

#: The planted counter without idle units would have one cell; with them it looks like the others.
PLANTED = "planted/ones"
#: How pages call the three, and in which order they stand.
CALLED = {
    "planted": "Written by hand",
    "own initialisation": "Before training",
    "fitted head": "Random weights",
    "trained": "After training",
}


@dataclass(frozen=True, eq=False)
class Three:
    """The three networks, and the untrained one once more with a fitted head."""

    planted: Subject
    untrained: Subject
    trained: Subject
    fitted: Subject

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
    (fitted,) = common.subjects([common.fitted_head(name)])
    return Three(planted, untrained, trained, fitted)
