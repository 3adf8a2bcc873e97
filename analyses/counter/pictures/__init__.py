"""The figures that the counter's first page tells its story with."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analyses.counter.pictures import drawing, lengths, paths, put_in, space, tests
from analyses.counter.pictures.shown import three_networks
from probe import Finding
from probe.evidence.measurements import only
from probe.subjects.subject import Subject

NAME = "pictures"


def find(
    networks: Mapping[str, Subject], tables: Mapping[str, pd.DataFrame], compared: Mapping[str, pd.DataFrame]
) -> Finding:
    """Return the figures of the story, and the sentences that belong to them; `compared` are tables of recipes."""
    three = three_networks(networks, tables)
    trained = {name: paths.Paths.of(one) for name, one in networks.items() if one.network.role == "trained"}
    figures = [
        *paths.hero(three),
        paths.hundred(three.planted, trained),
        drawing.step(tables),
        lengths.answers(three),
        lengths.drifts(tables),
        tests.readings(tables),
        *put_in.curves(three),
        space.staircase(three),
    ]
    notes = put_in.said(three) | tests.said(compared)
    notes |= paths.said(three, trained.values())
    notes["answer"] = f"The trained network is {three.trained.network.name}, the one of median drift."
    rows = only(tables["other_lengths"], metric="drift", network=three.trained.network.name)
    title = "What does one of the networks look like?"
    return Finding(NAME, title, rows.assign(question=NAME), (), tuple(figures), notes=notes)
