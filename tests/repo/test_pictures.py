"""The figures of the first page: what a planted network must give in them."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.counter import common
from analyses.counter.pictures import cells, put_in, shown, space
from models import planted
from probe.evidence.measurements import Network
from probe.plots.style import style


def test_a_planted_cell_moves_the_answer_alone_and_its_mean_is_the_count() -> None:
    """The whole and its cell lie on the diagonal, every other unit leaves the base; rotated none does.

    The plane has the start and 65 mean states, the count rises along it, and a picture has its steps.
    """
    group = {network.role: network for network in common.with_controls("counter", 2000)}
    own = [
        Network("planted/ones", "planted", planted.ones_counter(distractors=2)),
        group["own initialisation"],
        group["trained"],
    ]
    three = shown.Three(*common.subjects(own), best={"planted": 0, "own initialisation": 1, "trained": 2})
    table = put_in.answered(three.planted).pivot_table(index="count", columns="put in", values="answered")
    for moves in (put_in.WHOLE, "unit 0"):
        assert table.pop(moves).to_numpy() == pytest.approx(np.arange(put_in.BITS + 1), abs=1e-4)
    assert table.to_numpy() == pytest.approx(put_in.BASE, abs=1e-4)
    rotated = common.subjects([Network("planted/rotated", "planted", planted.rotated_counter())])[0]
    wide = put_in.answered(rotated).pivot_table(index="count", columns="put in", values="answered")
    assert np.ptp(wide.drop(columns=put_in.WHOLE).to_numpy(), axis=0).max() < 4
    lines, trained = cells.told(three, three.planted, 0), cells.told(three, three.trained, 2)
    assert len(lines) == sum(bits + 1 for bits in range(1, 11))
    assert lines["said"].to_numpy() == pytest.approx(lines["ones"], abs=1e-6)
    assert trained.groupby("ones")["said"].agg(np.ptp).max() > 0.1
    data, _ = space.lattice(three.cells(three.trained))
    last = data[data["bits"] == 10]
    assert (len(data), np.cov(last["ones"], last["x"])[0, 1] > 0) == (66, True)
    with style():
        svg = space.staircase(three).svg
    assert all(f'id="at-{step}-' in svg for step in range(1, 11))
    assert len(svg.encode()) <= space.BYTES
