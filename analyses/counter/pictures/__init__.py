"""The figures that the counter's first page tells its story with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses.counter import common
from analyses.counter.pictures import cells, drawing, lengths, put_in, space, string, tests
from analyses.counter.pictures.shown import three_networks
from probe import Finding
from probe.evidence.measurements import Network, only, tabulate
from probe.plots.style import style

QUESTION, TITLE = "pictures", "What does one of the networks look like?"


def find(networks: Sequence[Network], tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Return the figures of the story, and the sentences that belong to them.

    Args:
        networks: those that the rules are judged on.
        tables: what was measured of them, by question.
    """
    three = three_networks(networks, tables)
    with style():
        figures = [
            *cells.hero(three),
            drawing.unrolled(),
            drawing.shares(tables),
            *cells.every_cell(three),
            *cells.strips(tables),
            lengths.answers(three),
            lengths.drifts(tables),
            tests.bars(tables),
            *put_in.curves(three),
            space.staircase(three),
            string.one_string(three),
        ]
    notes = cells.said(three, tables) | put_in.said(three) | space.said(three)
    notes |= tests.said(tables) | drawing.said(tables)
    notes["answer"] = notes["hero"]
    rows = only(tables["other_lengths"], metric="drift", network=three.trained.network.name)
    table = tabulate([]) if rows.empty else rows.assign(question=QUESTION)
    return Finding(QUESTION, TITLE, table, (), tuple(figures), common.provenance(QUESTION, networks), notes)
