"""The flip-flop's page: what it says follows from the findings, and the findings from what was measured."""

from __future__ import annotations

import numpy as np

from analyses.flipflop import page
from analyses.flipflop.networks import NAMES
from analyses.flipflop.page import BIT, STEP
from analyses.flipflop.study import FOLDER
from probe.evidence.measurements import only
from probe.studies import store


def test_what_is_drawn_of_one_network_is_what_the_table_counts() -> None:
    """As many fixed points of each kind, stable ones at their answers; a saddle parts two that differ in a bit."""
    found, ways = page.points(page.shown())
    name = "flipflop-gru/seed-4000"
    table = only(store.read(FOLDER / "gru.csv.xz")[name].tables["stable_answers"], network=name)
    counts = only(table, metric="points_unstable_in").set_index("at")["value"]
    assert {number: (found["unstable"] == number).sum() for number in counts.index} == counts.to_dict()
    stable = found[found["unstable"] == 0]
    signs = np.array([[float(part) for part in answer.split(",")] for answer in stable["answer"]])
    assert np.abs(stable[list(NAMES)].to_numpy() - signs).max() < 0.2
    ends = [[end.split(",") for end in both.split(" and ")] for both in found[found["unstable"] == 1]["answer"]]
    assert [sum(a != b for a, b in zip(*both, strict=True)) for both in ends] == [1] * len(ways)
    assert len({str(sorted(both)) for both in ends}) == counts[1] == len(ways)
    # An interchange changes one bit from the patch on until its next pulse, and no other bit.
    pulses, base, patched = page.one_interchange(page.shown())
    until = STEP + 1 + int(np.flatnonzero(pulses[STEP + 1 :, BIT])[0])
    differ = np.sign(patched) != np.sign(base)
    assert differ[STEP + 1 : until, BIT].all()
    assert not differ[until:, BIT].any()
    assert not np.delete(differ[STEP:], BIT, axis=1).any()
    assert np.isnan(patched[:STEP]).all()
