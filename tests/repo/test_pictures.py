"""The figures of the first page: what a planted network must give in them, and the words that stand beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.counter import common
from analyses.counter.pictures import cells, drawing, put_in, shown, space, tests
from models import planted
from probe.evidence import DataFigure
from probe.evidence.measurements import Network
from probe.plots.style import style
from reports import first_page
from tests.repo.asked_once import ONES


@pytest.fixture(scope="module")
def three() -> shown.Three:
    """Return a counter, itself before training, and a planted one."""
    group = {network.role: network for network in common.with_controls("counter", 2000)}
    own = [Network("planted/ones", "planted", ONES), group["own initialisation"], group["trained"]]
    return shown.Three(*common.subjects(own), best={"planted": 0, "own initialisation": 1, "trained": 2})


def test_a_planted_cell_moves_the_answer_alone_and_its_mean_is_the_count(three: shown.Three) -> None:
    """The whole and its cell lie on the diagonal, every other unit leaves the base; rotated none does."""
    table = put_in.answered(three.planted).pivot_table(index="count", columns="put in", values="answered")
    for moves in (put_in.WHOLE, "unit 0"):
        assert table.pop(moves).to_numpy() == pytest.approx(np.arange(put_in.BITS + 1), abs=1e-4)
    assert table.to_numpy() == pytest.approx(put_in.BASE, abs=1e-4)
    rotated = common.subjects([Network("planted/rotated", "planted", planted.rotated_counter())])[0]
    wide = put_in.answered(rotated).pivot_table(index="count", columns="put in", values="answered")
    assert np.ptp(wide.drop(columns=put_in.WHOLE).to_numpy(), axis=0).max() < 4
    lines, trained = cells.means(three, three.planted, 0), cells.means(three, three.trained, 2)
    assert len(lines) == sum(bits + 1 for bits in range(1, 11))
    assert np.corrcoef(lines["ones"], lines["cell"])[0, 1] == pytest.approx(1)
    assert lines.groupby("ones")["cell"].agg(np.ptp).max() == pytest.approx(0, abs=1e-6)
    assert trained.groupby("ones")["cell"].agg(np.ptp).max() > 0.1


def test_the_plane_has_every_mean_state_and_a_picture_its_steps(three: shown.Three) -> None:
    """The start and 65 means; the count rises after ten bits along the plane."""
    data, share = space.lattice(three)
    assert (len(data), 0.3 < share <= 1) == (66, True)
    last = data[data["bits"] == 10]
    assert np.cov(last["ones"], last["x"])[0, 1] > 0
    with style():
        svgs = space.staircase(three).svg, drawing.unrolled().svg
    assert all(f'id="at-{step}-' in svg for step in range(1, 11) for svg in svgs)
    assert len(svgs[0].encode()) <= space.BYTES


def test_a_tests_share_and_the_table_of_panels_have_every_number() -> None:
    """Shares are of trained counters alone; a row says of which panel it is, also where their columns differ."""
    counted = pd.DataFrame(
        {"metric": "cell_test", "role": role, "network": network, "pair": "1", "kind": kind, "value": value}
        for role, network, value in (("trained", "counter/seed-1", 0.95), ("other", "gru/seed-1", 1.0))
        for kind in ("read ones", "lasts ones", "carries", "moves", "suffices")
    )
    whole = counted[counted["kind"] == "carries"].assign(metric="all_tests", kind="ones", value=0.0)
    found = tests.passing({"one_cell": pd.concat([counted, whole])})
    assert set(found["role"]) == {"trained"}
    assert found.set_index("test")["share"].to_dict() == dict.fromkeys(tests.ASKED.values(), 1.0) | {tests.ALL: 0}
    answers, drifts = pd.DataFrame({"bits": [6, 8], "answer": [1.0, 2.0]}), pd.DataFrame({"value": [0.5]})
    left, right = (DataFigure(name, name, "1.", "", data, "<svg/>") for name, data in (("a", answers), ("d", drifts)))
    table = first_page._table([left, right])
    assert table.columns == ("panel", "bits", "answer", "value")
    assert ([row[0] for row in table.rows], table.rows[-1][3]) == (["a", "a", "d"], 0.5)
    assert first_page._table([right]).rows == ((0.5,),)
