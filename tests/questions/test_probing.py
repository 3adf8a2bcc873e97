"""Questions about states, on networks that have nothing to do with counting.

- The two questions that probe states, on a network that has nothing to do with counting.
- Questions about states, asked of one network that somebody brings: sequences of several lengths, any number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import subjects
from known_studies import brackets, depth
from refusing import refused
from studied import bits, ones, planted, study_of
from torch import nn

import probe
from probe import Signal, Study
from probe.evidence.measurements import Network
from probe.methods.probing.controls import signed_sums
from probe.methods.probing.fits import LeastSquares
from probe.methods.probing.scores import of_parts
from probe.methods.probing.splits import folds
from probe.plots.style import style
from probe.questions.states import linear_readout, single_units
from probe.studies.measuring import groups_of
from probe.studies.prepare import prepare
from probe.subjects.states import step_states
from probe.subjects.subject import Subject

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


def test_an_unknown_layer_is_named(data: Data, networks: list[Network]):
    """A layer that does not exist raises with the one that does."""
    with refused():
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
        ax = single_units.draw(units)
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


QUESTIONS = (single_units, linear_readout)


def group(study: Study, copies: int = 2) -> tuple[Subject, ...]:
    """Return a study's network with its controls."""
    return next(iter(groups_of(prepare(study), copies=copies).values()))


def gru(features: int, layers: int = 1) -> nn.GRU:
    """Return a GRU that nobody trained."""
    torch.manual_seed(0)
    return nn.GRU(features, 6, layers, batch_first=True)


@pytest.mark.usefixtures("undrawn")
def test_the_planted_unit_is_told_beside_its_controls() -> None:
    """Unit 0 holds the count, is read exactly at all steps, and no control's unit is."""
    subjects = group(study_of(planted()))
    found = answer(single_units.question(subjects[0]), subjects)
    assert found.notes["answer"].startswith(
        "Unit 0 of the cell state of [0] follows “ones” best within steps: |r| is 1.00 (random weights 0."
    )
    lasting = found.measurements.query("metric == 'lasting_monotone_accuracy'").set_index("role")["value"]
    assert lasting["trained"] == 1
    assert lasting[["random weights", "fitted head"]].max() < 0.6


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("question", QUESTIONS)
def test_sequences_of_several_lengths_and_undefined_places_are_measured(question: Any) -> None:
    """A concept that is defined at every second step of ragged sequences."""
    x, lengths = brackets(2_000, time=18)
    values = np.array([depth(one) for one in x])
    values[:, ::2] = np.nan
    subjects = group(Study(gru(2), x, {"depth": values}, lengths=lengths))
    table = answer(question.question(subjects[0]), subjects).measurements
    assert len(table)
    assert table["value"].notna().all()
    assert set(table["step"].dropna() % 2) <= {1}


@pytest.mark.usefixtures("undrawn")
def test_a_number_of_any_size_is_only_correlated() -> None:
    """A sum that never repeats: no value is read exactly, and no rounding is measured."""
    x = np.random.default_rng(0).normal(size=(150, 20, 2)).astype(np.float32)
    subjects = group(Study(gru(2), x, {"sum": lambda one: np.cumsum(one[:, 0])}))
    tables = [answer(each.question(subjects[0]), subjects).measurements for each in QUESTIONS]
    assert set(tables[0]["metric"]) == {"within_step_correlation", "largest_correlation"}
    assert not {"rounding_accuracy", "codelength"} & set(tables[1]["metric"])
    assert "selectivity" in set(tables[1]["metric"])


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        (Study(gru(1), bits(), {"kind": lambda x: ["a" if one else "b" for one in x[:, 0]]}), "is categorical"),
        (Study(gru(1), bits(8, 2), {"ones": ones}), "“ones” is defined after 6 distinct beginnings of sequences"),
        (Study(gru(1, 2), bits(), {"ones": ones}), "several layers: '[0]', '[1]'"),
    ],
)
def test_what_a_network_lacks_is_said(study: Study, reason: str) -> None:
    """Each question says why it is not asked, before anything is measured."""
    (subject,) = prepare(study)
    for question in QUESTIONS:
        found = answer(question.question(subject), [subject])
        assert reason in found.notes["answer"]
        assert found.measurements.empty


def test_a_layer_that_the_readout_reads_is_studied() -> None:
    """Of a stack with a readout its layer is looked at, and not an error raised."""
    (subject,) = prepare(study_of(nn.GRU(1, 6, 2, batch_first=True), inputs=bits(600)))
    for question in QUESTIONS:
        assert question.question(subject).why_not(subject) is None


def test_probes_name_how_they_were_fitted_and_each_control() -> None:
    """The kind of a score is the probe's, that of a difference the control's; its interval stands in its row."""
    subjects = group(study_of(planted()), copies=4)
    name = linear_readout.names(subjects[0])["ones"]
    asked = linear_readout.reading(subjects[0], "ones")
    table = asked.ask(subjects)
    assert asked.name == name == "reading-ones"
    assert set(table[table["metric"].isin(["score", "best_score"])]["kind"]) == {"ridge"}
    above = table[table["metric"] == "above"].set_index("kind")
    assert list(above.index) == ["step alone", "last 4 inputs", "relabelled", "random weights"]
    assert (above["low"] <= above["value"]).all()
    assert (above["value"] <= above["high"]).all()
    scores = table[table["metric"] == "score"]
    random = scores[scores["role"] == "random weights"].groupby("network")["value"].max()
    assert len(random) == 4
    best = scores[scores["role"] == "trained"]["value"].max()
    assert above["value"]["random weights"] == pytest.approx(best - random.max())
    assert table.query("metric == 'best_score' and role == 'random weights'")["value"].item() == random.max()


def test_a_reading_is_what_the_front_door_reads() -> None:
    """The same seed draws the same states and folds, so that scores and their intervals are the same."""
    torch.manual_seed(0)
    model, x = nn.GRU(1, 6, batch_first=True), bits(400)
    (subject,) = prepare(Study(model, x, {"ones": ones}))
    table = linear_readout.reading(subject, "ones").ask([subject])
    recording = probe.record(model, torch.tensor(x), signals=["hidden_state"])
    public = probe.linear_probe(recording, np.array([ones(one) for one in x])).table.set_index("network")
    own = table[table["metric"] == "score"].rename(columns={"value": "score"})
    own = own.replace(subject.network.name, "this network").set_index("network")
    columns, names = ["score", "low", "high"], ["this network", "step alone", "last 4 inputs"]
    np.testing.assert_allclose(own.loc[names, "score"], public.loc[names, "score"], atol=1e-6)
    mine, its = (each.loc["this network", columns].to_numpy(float) for each in (own, public))
    np.testing.assert_allclose(mine, its, atol=1e-6)
