"""By which route a difference is carried on: held in a cell, handed over by h, or through a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from counters_by_hand import Handed
from known_machines import LEAD, WINS, Reader, Tally, X, expected, machine_of, subjects
from torch import Tensor

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.routes import route_table
from probe.methods.decomposition.shapley import pooled_shares
from probe.plots.style import style
from probe.questions.interventions import routes


def shares(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each route of the only network."""
    rows = table[table["metric"] == "route_share"]
    return dict(zip(rows["signal"], rows["value"], strict=True))


def test_a_tally_stays_in_its_cell() -> None:
    """All of a difference goes through f * c; h reaches no gate that anything depends on."""
    table = routes.measure(subjects([Network("it", "trained", Tally(idle=2))]), step=2)
    wanted = {"cell_state": 1, "input_gate": 0, "forget_gate": 0, "cell_candidate": 0, "output_gate": 0}
    assert shares(table) == pytest.approx(wanted, abs=1e-12)
    assert table[table["metric"] == "whole_difference"]["value"].item() == pytest.approx(1)


def test_a_count_that_is_handed_over_goes_through_the_candidate() -> None:
    """With the forget gate shut all of it is written again by what the candidate reads of h."""
    own: dict[str, Any] = {"answer": lambda output: output.round(), "expected": lambda output: output}
    table = routes.measure(subjects([Network("it", "trained", Handed())], **own), step=2)
    assert shares(table) == pytest.approx(
        {"cell_state": 0, "input_gate": 0, "forget_gate": 0, "cell_candidate": 1, "output_gate": 0}, abs=1e-12
    )


def test_a_gru_has_the_routes_of_its_formulas_and_a_plain_rnn_has_one() -> None:
    """On another concept: h through z * h and into r, z and n, in shares that sum to 1; of an RNN 1."""
    model = Reader("gru", 4)
    table = routes.measure(subjects([Network("it", "trained", model)], concept=LEAD), step=3)
    found = shares(table)
    assert list(found) == ["hidden_state", "reset_gate", "update_gate", "candidate"]
    assert sum(found.values()) == pytest.approx(1)
    wanted = pooled_shares(*route_table(machine_of(model), changed_at(X, LEAD, 1, 3), 3))
    assert list(found.values()) == pytest.approx(wanted.values.tolist(), abs=1e-12)
    assert set(table["step"]) == {3}
    plain = routes.measure(subjects([Network("it", "trained", Reader("rnn"))], concept=LEAD), step=3)
    assert shares(plain) == pytest.approx({"hidden_state": 1})


def test_options_choose_pairs_and_steps() -> None:
    """Two before the step is the default; swapped pairs turn the difference round."""
    network = [Network("it", "trained", Reader("lstm"))]

    def whole(**options: object) -> float:
        table = routes.measure(subjects(network), step=3, **options)  # pyright: ignore[reportArgumentType]
        return table[table["metric"] == "whole_difference"]["value"].item()

    base, source = changed_at(X, WINS, 1, 3)
    assert whole() == whole(changed=1) != whole(changed=0)
    assert whole(pairs=(source, base)) == pytest.approx(-whole())


def test_the_last_step_has_no_route() -> None:
    """Its state is read and goes nowhere."""
    with pytest.raises(ProbeError, match=r"step=4 has no route out of its state; choose one from 0 to 3"):
        routes.measure(subjects([Network("it", "trained", Tally())]), step=-1)
    with pytest.raises(ProbeError, match="one value for each sequence and step"):
        routes.measure(subjects([Network("it", "trained", Tally())], concept=torch.zeros(2)), step=1)


def test_the_figure_has_a_column_a_route() -> None:
    """Every dot is a value of the table, under its route's name."""

    def doubled(scores: Tensor) -> Tensor:
        return expected(scores)

    networks = [Network("it", "trained", Reader("lstm"), 1), Network("tally", "planted", Tally(idle=1))]
    table = routes.measure(subjects(networks, expected=doubled), step=2)
    with style():
        ax = routes.draw(table, thresholds={"cell_state": 0.5})
    assert [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()] == [
        "c through f · c",
        "h into the input gate",
        "h into the forget gate",
        "h into the candidate",
        "h into the output gate",
    ]
    dots = [float(np.asarray(line.get_ydata())[0]) for line in ax.lines if line.get_marker() == "o"]
    rows = table[(table["metric"] == "route_share") & (table["role"] == "trained")]
    assert dots == pytest.approx(rows["value"].tolist())
