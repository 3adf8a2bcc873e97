"""The two questions that probe states, on a network that has nothing to do with counting."""

import numpy as np
import pytest
import torch
from known_machines import subjects
from torch import nn

from probe import ProbeError, Signal
from probe.evidence.measurements import Network
from probe.methods.probing.controls import signed_sums
from probe.methods.probing.fits import LeastSquares
from probe.methods.probing.scores import of_parts
from probe.methods.probing.splits import folds
from probe.plots.style import style
from probe.questions.states import linear_readout, single_units
from probe.subjects.computed.step_states import step_states

Data = tuple[torch.Tensor, torch.Tensor]


class Reader(nn.Module):
    """A small LSTM of two features, its layer inside another module."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.LSTM(2, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last hidden state."""
        return self.encoder(x)[0][:, -1]


@pytest.fixture(scope="module")
def data():
    """Return inputs of two features and how often the first was the larger so far."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 6, 2))).float()
    return x, (x[:, :, 0] > x[:, :, 1]).cumsum(1)


@pytest.fixture(scope="module")
def networks():
    """Return two networks and their own initialisations."""
    return [
        Network(
            f"reader-{seed}{'/own initialisation' if before else ''}",
            "own initialisation" if before else "trained",
            Reader(seed + before),
            seed,
        )
        for seed in (1, 2)
        for before in (0, 10)
    ]


def test_single_units_measures_every_network_once(data: Data, networks: list[Network]):
    """Each summary metric has one value a network, the unit's own correlations one a unit."""
    table = single_units.measure(subjects(networks, *data))
    for metric in ("largest_correlation", "mean_monotone_accuracy", "lasting_monotone_accuracy"):
        assert table[table["metric"] == metric]["network"].tolist() == [network.name for network in networks]
    assert (table["metric"] == "within_step_correlation").sum() == 4 * 4
    best = table[table["metric"] == "largest_correlation"].iloc[0]
    own = table[(table["metric"] == "within_step_correlation") & (table["network"] == "reader-1")]
    assert best["value"] == pytest.approx(own["value"].abs().max())
    assert best["units"] == own["units"].iloc[int(own["value"].abs().to_numpy().argmax())]


def test_the_chosen_signal_steps_and_seed_change_what_is_measured(data: Data, networks: list[Network]):
    """Options are used: another signal, other steps and another split give other numbers."""
    base = single_units.measure(subjects(networks[:1], *data))
    hidden = single_units.measure(subjects(networks[:1], *data), signal="hidden_state")
    assert not np.allclose(base["value"], hidden["value"])
    late = single_units.measure(subjects(networks[:1], *data), steps=[5])
    assert late[late["metric"] == "monotone_accuracy"]["step"].tolist() == [5]
    other = single_units.measure(subjects(networks[:1], *data), seed=1)
    exact = base["metric"] == "monotone_accuracy"
    assert base[exact]["value"].tolist() != other[exact]["value"].tolist()


def test_an_unknown_layer_is_named(data: Data, networks: list[Network]):
    """A layer that does not exist raises with the one that does."""
    with pytest.raises(ProbeError, match=r"encoder\[1\].*encoder\[0\]"):
        single_units.measure(subjects(networks, *data, layer="encoder[1]"))


def test_linear_readout_reports_each_signal_with_its_controls(data: Data, networks: list[Network]):
    """R2 at each step, selectivity, variance shares that sum to 1, and the smaller of the last two R2."""
    table = linear_readout.measure(subjects(networks[:1], *data))
    by_metric = table.groupby("metric")["value"]
    assert table[table["metric"] == "r_squared"]["signal"].value_counts().to_dict() == {
        "cell_state": 6,
        "hidden_state": 6,
    }
    shares = table[table["metric"] == "variance_share"].groupby("signal")["value"].sum()
    assert shares.tolist() == pytest.approx([1.0, 1.0])
    last = table[(table["metric"] == "r_squared") & (table["step"] == 5)]["value"]
    assert by_metric.get_group("last_step_r_squared").item() == pytest.approx(last.min())
    own = step_states(subjects(networks, *data)[0], [Signal.CELL_STATE, Signal.HIDDEN_STATE])[-1]
    memories = signed_sums(data[0])[own.rows, -1]
    for signal, states in own.states.items():
        parts = folds(len(states), 2)
        targets = np.column_stack([own.concept, memories])
        predicted = LeastSquares().held_out(states, targets, parts)
        explained = [of_parts(*pair, parts).value for pair in zip(targets.T, predicted.T, strict=True)]
        rows = table[(table["metric"] == "selectivity") & (table["signal"] == signal)]
        assert rows["value"].item() == pytest.approx(explained[0] - np.mean(explained[1:]))


def test_the_figures_show_what_the_table_says(data: Data, networks: list[Network]):
    """Dots and lines carry the table's values; every role has its own marker and label."""
    asked = subjects(networks, *data)
    units, readout = single_units.measure(asked), linear_readout.measure(asked)
    with style():
        ax = single_units.draw(units, threshold=0.9)
        legend = ax.get_legend()
        assert legend is not None
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels == ["trained", "own initialisation"]
        dots = next(line for line in ax.lines if line.get_label() == "trained")
        expected = units[(units["metric"] == "largest_correlation") & (units["role"] == "trained")]["value"]
        assert sorted(np.asarray(dots.get_ydata())) == pytest.approx(sorted(expected))
        lines = {line.get_label(): line for line in linear_readout.draw(readout).lines}
        assert np.asarray(lines["trained"].get_xdata()).tolist() == [1, 2, 3, 4, 5, 6]
        assert lines["trained"].get_marker() != lines["own initialisation"].get_marker()
        controls = linear_readout.draw_controls(readout)
        assert controls.get_xticklabels()[0].get_text() == "R² of the\nlast state"
