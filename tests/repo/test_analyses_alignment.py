"""Alignment and erasure on networks whose mechanism is known, with short searches."""

from __future__ import annotations

import pytest
import torch

from analyses.__main__ import limit_threads
from analyses.counter import alignment, common
from models import planted
from models.counter import answer, expected_answer
from probe.evidence.measurements import FITTED_HEADS
from probe.methods.causal.alignment_controls import halves, pairs_among
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import along
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from tests.repo import asked_once


def test_alignment_has_its_controls_and_leaves_untrained_heads_out() -> None:
    """One value a network, the planted counter at 1, a fitted head in closed form."""
    table = asked_once.tables()["alignment"]
    assert set(table["role"]) == {"trained", *FITTED_HEADS, "planted", "other"}
    table = table[table["network"] != "planted/ones-alone"]
    own = table[table["metric"] == "few_directions_score"].set_index("role")["value"]
    assert own["planted"] > 0.99
    assert own["fitted head"] > 0.9
    assert set(table[table["metric"] == "wrong_variable_accuracy"]["role"]) == {"trained", "planted"}
    assert len(table[(table["metric"] == "alignment_score") & (table["role"] == "trained")]) == 9 * 6 + 1


@pytest.mark.parametrize("alone", [False, True])
def test_in_the_planted_rotated_network_the_direction_is_not_unique(alone: bool):
    """Along (v, 0) and along (v, v), cosine .71, every answer follows, also where no idle unit writes across v."""
    limit_threads()
    model = planted.rotated_counter(dtype=torch.float64)
    if alone:
        model.lstm.get_parameter("weight_hh_l0").detach().zero_()
    machine = Machine.of(model, common.STRINGS, answer=answer, expected=expected_answer)
    v = planted.counting.rotated_direction()
    directions = torch.cat([v, torch.zeros_like(v)]), torch.cat([v, v]) / 2**0.5
    assert float(directions[0] @ directions[1]) == pytest.approx(0.5**0.5, abs=1e-12)
    for half in halves(machine, alignment.STEP):
        pairs = pairs_among(machine, alignment.STEP, half.test)
        for direction in directions:
            assert interchange(pairs, Task(common.COUNTS), along(direction)).score == 1.0


def test_erasure_leaves_what_the_suffix_allows() -> None:
    """The floor is C(7, 3) of 128, the rank seven, and the planted counter lies at the floor."""
    assert set(asked_once.tables()["erasure"]["role"]) == {"trained", *FITTED_HEADS, "planted", "other"}
    # Of the network with all its idle units: fewer units than classes leave less to erase.
    table = asked_once.measure("erasure", common.planted_networks(("ones",))).set_index("metric")["value"]
    assert table["floor"] == pytest.approx(35 / 128, abs=1e-6)
    assert table["erased_rank"] == 7
    assert table["erased_excess"] < 0.01
    assert table["own_accuracy"] == 1
