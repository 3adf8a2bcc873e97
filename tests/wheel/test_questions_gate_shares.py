"""Which gate lets an input in: the candidate of a tally, the input gate of another, and a GRU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from counters_by_hand import ByInputGate
from known_machines import LEAD, WINS, Reader, Tally, X, machine_of, subjects
from torch import nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.gates import gate_table
from probe.methods.decomposition.shapley import pooled_shares
from probe.plots.style import style
from probe.questions.interventions import gate_shares


def measured(model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network."""
    return gate_shares.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def shares(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each gate."""
    rows = table[table["metric"] == "gate_share"]
    return dict(zip(rows["signal"], rows["value"], strict=True))


def test_a_tally_is_written_by_its_candidate() -> None:
    """Share 1 of g at every step; with gates that never move every answer is right; all that is written is kept."""
    table = measured(Tally())
    wanted = {"input_gate": 0, "forget_gate": 0, "cell_candidate": 1, "output_gate": 0}
    assert shares(table) == pytest.approx(wanted, abs=1e-12)
    by_step = table[table["metric"] == "gate_share_at_step"]
    assert by_step["step"].tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert by_step["value"].tolist() == pytest.approx([0, 0, 1, 0] * 4, abs=1e-12)
    assert table[table["metric"] == "constant_gates_accuracy"]["value"].item() == 1
    kept = table[table["metric"] == "kept"]
    assert (kept["value"].tolist(), kept["step"].tolist()) == ([1.0] * 5, [0, 1, 2, 3, 4])


def test_a_win_that_opens_the_input_gate_is_the_input_gates() -> None:
    """Share 1 of i; with the gate at its mean of one half every sequence ends at tanh(5 x .05), nearest to 3 wins."""
    table = measured(ByInputGate())
    assert shares(table) == pytest.approx(
        {"input_gate": 1, "forget_gate": 0, "cell_candidate": 0, "output_gate": 0}, abs=1e-12
    )
    assert table[table["metric"] == "constant_gates_accuracy"]["value"].item() == pytest.approx(10 / 32)


def test_a_gru_has_its_own_gates_and_a_plain_rnn_one_place() -> None:
    """On another concept: r, z and n, pooled over all steps but the first; an RNN has no gate to freeze."""
    model = Reader("gru", 4)
    table = measured(model, LEAD)
    found = shares(table)
    assert list(found) == ["reset_gate", "update_gate", "candidate"]
    tables = [gate_table(machine_of(model), changed_at(X, LEAD, k, k), k) for k in range(1, 5)]
    whole = sum(np.average(values[:, -1] - values[:, 0], weights=weight) for values, weight in tables)
    added = np.sum([pooled_shares(*one).values * pooled_shares(*one).whole for one in tables], axis=0)
    assert list(found.values()) == pytest.approx((added / whole).tolist(), abs=1e-12)
    assert len(table[table["metric"] == "kept"]) == 4 * 5
    assert len(table[table["metric"] == "constant_gates_accuracy"]) == 1
    plain = measured(Reader("rnn"), LEAD)
    assert shares(plain) == pytest.approx({"hidden_state": 1})
    assert set(plain["metric"]) == {"gate_share", "gate_share_at_step"}


def test_steps_are_chosen_and_checked() -> None:
    """One step alone has its own shares, the first one too; steps beyond the input are named."""
    model = Reader("lstm")
    by_step = measured(model)
    one = measured(model, steps=[-1])
    last = by_step[(by_step["metric"] == "gate_share_at_step") & (by_step["step"] == 4)]
    assert list(shares(one).values()) == pytest.approx(last["value"].tolist())
    assert sum(shares(measured(model, steps=[0])).values()) == pytest.approx(1)
    with pytest.raises(ProbeError, match="steps=5 lies outside"):
        measured(model, steps=[5])
    with pytest.raises(ProbeError, match="differ in one of inputs 2 to 5 of 5 alone"):
        measured(model, torch.zeros_like(WINS))


def test_the_figures_show_shares_and_the_most_lasting_unit() -> None:
    """Dots are the table's values; the line is the unit in which most of the first step is left."""
    networks = [Network(f"n{seed}", "trained", Reader("lstm", 3, seed), seed) for seed in (1, 2, 3)]
    networks.append(Network("tally", "planted", Tally()))
    table = gate_shares.measure(subjects(networks))
    with style():
        ax = gate_shares.draw(table, thresholds={"input_gate": 0.5})
        lasting = gate_shares.draw_kept(table)
    labels = [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()]
    assert labels == ["input gate", "forget gate", "cell candidate", "output gate"]
    dots = next(line for line in ax.lines if line.get_label() == "trained")
    rows = table[(table["metric"] == "gate_share") & (table["signal"] == "input_gate")]
    assert np.asarray(dots.get_ydata()).tolist() == pytest.approx(rows["value"].tolist()[:3])
    lines = {str(line.get_label()): line for line in lasting.lines}
    kept = table[(table["metric"] == "kept") & (table["role"] == "trained") & (table["step"] == 0)]
    best = kept.groupby("network")["value"].max().median()
    assert np.asarray(lines["trained"].get_ydata())[0] == pytest.approx(best)
    assert np.asarray(lines["planted"].get_ydata()).tolist() == [1.0] * 5
    # A table counts steps from 0, and a figure from 1.
    assert np.asarray(lines["planted"].get_xdata()).tolist() == [1, 2, 3, 4, 5]
