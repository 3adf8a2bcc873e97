"""`probe.linear_probe`: the numbers of scikit-learn, states counted once, directions that can be put in, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from recorded import recording_of
from refusing import refused
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from torch import nn

import probe
from probe.methods.probing.fits import Ridge as OurRidge
from probe.probes.reading import Reading

RNG = np.random.default_rng(0)
BATCH, TIME, UNITS = 120, 20, 6
NOISE = RNG.normal(size=(BATCH, TIME, UNITS))
STEP = np.broadcast_to(np.arange(TIME, dtype=float), (BATCH, TIME))
COUNT = (RNG.random((BATCH, TIME)) < 0.5).cumsum(1).astype(float)
RARE = np.arange(BATCH * TIME).reshape(BATCH, TIME) % 100 == 0


def _with(*units: np.ndarray) -> np.ndarray:
    states = NOISE.copy()
    for place, unit in enumerate(units):
        states[:, :, place] += unit
    return states


#: A name -> states, and what is asked of them.
PLANTED: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "a planted unit": (_with(2 * COUNT), COUNT),
    "an absent concept": (NOISE, RNG.normal(size=(BATCH, TIME))),
    "a clock": (_with(STEP), STEP),
    "two units": (_with(3 * COUNT, -2 * COUNT + 5 * NOISE[:, :, 0]), COUNT),
}
RARELY = (_with(4.0 * RARE), RARE)
BITS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))[:, :, None]
ONES = BITS[:, :, 0].cumsum(1)


@pytest.fixture(scope="module")
def lstm() -> nn.LSTM:
    """Return an untrained LSTM."""
    torch.manual_seed(3)
    return nn.LSTM(1, 7, batch_first=True)


def _score(reading: Reading, network: str = "this network") -> float:
    rows = reading.table[(reading.table["network"] == network) & reading.table["step"].isna()]
    return float(rows["score"].iloc[-1])


def _held_out(
    states: pd.DataFrame, x: np.ndarray, fitted: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
) -> Any:
    """Return what models of the other folds predict of each state."""
    predicted = np.zeros(len(x))
    for fold in np.unique(states["fold"]):
        out = (states["fold"] == fold).to_numpy()
        rest = states["fold"][~out].to_numpy()
        predicted[out] = fitted(x[~out], states["value"].to_numpy()[~out].astype(float), rest).predict(x[out])
    return predicted


def _ridge(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> Ridge:
    """Return scikit-learn's ridge with the penalty that does best among the folds it is fitted on."""

    def of(penalty: float, rows: np.ndarray) -> Ridge:
        return Ridge(alpha=penalty * rows.sum()).fit(x[rows], y[rows])

    def error(penalty: float) -> float:
        missed = [
            ((y[fold == one] - of(penalty, fold != one).predict(x[fold == one])) ** 2).sum() for one in set(fold)
        ]
        return float(np.sum(missed))

    return of(min(OurRidge().penalties, key=error), np.ones(len(y), dtype=bool))


THEIRS = {"ridge": _ridge, "least squares": lambda x, y, fold: LinearRegression().fit(x, y)}


@pytest.mark.parametrize("fit", THEIRS)
@pytest.mark.parametrize("name", PLANTED)
def test_scores_are_those_of_scikit_learn(name: str, fit: str) -> None:
    """With the same states and the same folds, to 1e-8; and they are what was planted."""
    states, concept = PLANTED[name]
    reading = probe.linear_probe(recording_of(states), concept, fit=fit)
    found = reading.states()
    x = states[found["row"], found["place"]]
    predicted = _held_out(found, (x - x.mean(0)) / x.std(0), THEIRS[fit])
    assert abs(r2_score(found["value"], predicted) - _score(reading)) < 1e-8
    low, high = {"an absent concept": (-0.02, 0.02)}.get(name, (0.9, 1.0))
    assert low < _score(reading) < high


def test_the_score_of_a_rare_class_is_that_of_scikit_learn() -> None:
    """One state in a hundred counts as much as the others: balanced accuracy, not .99 for never naming it."""
    states, concept = RARELY
    reading = probe.linear_probe(recording_of(states), concept)
    found = reading.states("hidden_state")
    x, right = states[found["row"], found["place"]], (found["value"] == "True").to_numpy()
    x = (x - x.mean(0)) / x.std(0)
    named = np.zeros(len(x), dtype=bool)
    for fold in np.unique(found["fold"]):
        out = (found["fold"] == fold).to_numpy()
        model = LogisticRegression(class_weight="balanced", max_iter=200).fit(x[~out], right[~out])
        named[out] = model.predict(x[out])
    assert abs(balanced_accuracy_score(right, named) - _score(reading)) < 1e-8
    assert "balanced accuracy (chance 0.50), logistic" in reading.title
    assert _score(reading) > 0.9
    never = probe.linear_probe(recording_of(NOISE), concept)
    assert abs(_score(never) - 0.5) < 0.1


def test_a_direction_moves_what_the_probe_reads_by_one(lstm: nn.LSTM) -> None:
    """Steered along it, the probe reads one more; the probe's own weights would move it by their length."""
    recording = probe.record(lstm, BITS)
    reading = probe.linear_probe(
        recording, ONES, controls={"other": probe.record(nn.LSTM(1, 7, batch_first=True), BITS)}
    )
    along, (weight, bias) = reading.direction("cell_state"), reading.weights("cell_state")
    assert along.shape == (7,)
    steered = probe.record(lstm, BITS, edits=[probe.steer("cell_state", along, steps=4)])
    read = [(run["cell_state"].double() @ weight.T + bias)[..., 0] for run in (recording, steered)]
    assert torch.allclose(read[1][:, 4] - read[0][:, 4], torch.ones(256, dtype=torch.float64), atol=1e-5)
    found = reading.states("cell_state")
    in_sample = r2_score(found["value"], read[0].numpy()[found["row"], found["place"]])
    assert in_sample > _score(probe.linear_probe(recording, ONES, signals=["cell_state"])) - 0.01


def test_directions_of_planted_units_are_theirs() -> None:
    """Two units move with the count by 3 and -2: so does the direction, although a probe may weigh one alone."""
    states = NOISE * 0.01
    states[:, :, 0] += 3 * COUNT
    states[:, :, 1] += -2 * COUNT
    along = probe.linear_probe(recording_of(states), COUNT).direction("hidden_state")
    assert np.allclose(along.numpy(), [3, -2, 0, 0, 0, 0], atol=0.02)
    names = np.array(["none", "some", "many"])[np.clip(COUNT.astype(int) // 5, 0, 2)]
    reading = probe.linear_probe(recording_of(states), names)
    to_many = reading.direction("hidden_state", value="many")
    assert to_many[0] > 1
    assert to_many[1] < -0.5
    assert reading.weights("hidden_state")[0].shape == (3, UNITS)
    with refused():
        reading.direction("hidden_state")


def test_complex_and_matrix_states_are_read_and_steered() -> None:
    """Real and imaginary parts side by side; a direction is complex again."""
    turned = NOISE[:, :, :3] + 1j * (NOISE[:, :, 3:] + COUNT[:, :, None])
    reading = probe.linear_probe(recording_of(turned), COUNT)
    assert _score(reading) > 0.9
    along = reading.direction("hidden_state")
    assert along.is_complex()
    assert np.allclose(along.imag.numpy(), along.imag.mean(), atol=0.2)
    assert abs(along.real).max() < 0.2 * along.imag.mean()


def test_what_a_control_reads_as_well_is_not_specific() -> None:
    """The network's own verdict follows the best control: above, the same, and below; and the step alone is one."""
    planted, empty = recording_of(_with(4 * COUNT)), recording_of(NOISE)
    found = {
        name: probe.linear_probe(own, COUNT, controls={"other": other}).summary.iloc[0]
        for name, own, other in (("above", planted, empty), ("same", planted, recording_of(_with(5 * COUNT))))
    }
    assert found["above"]["verdict"] == "above every control"
    assert found["same"]["verdict"] == "not specific"
    below = probe.linear_probe(empty, COUNT, controls={"other": planted}).summary.iloc[0]
    assert (below["verdict"], below["best control"]) == ("below a control", "other")
    clock = probe.linear_probe(recording_of(_with(STEP)), STEP, controls={"other": empty}).summary.iloc[0]
    assert (clock["verdict"], clock["best control"]) == ("not specific", "step alone")


def test_a_memory_of_the_last_inputs_is_a_control() -> None:
    """A state that holds the last two inputs reads their sum, and so do the inputs: nothing was remembered."""
    x = RNG.normal(size=(BATCH, TIME, 1))
    last = x[:, :, 0] + np.pad(x[:, :-1, 0], ((0, 0), (1, 0)))
    summary = probe.linear_probe(recording_of(_with(5 * last), x), last).summary.iloc[0]
    assert summary["best control"] == "last 4 inputs"
    assert summary["its score"] > 1 - 1e-9
    assert summary["verdict"] in ("not specific", "below a control")


def test_it_shows_itself(lstm: nn.LSTM) -> None:
    """A line a signal, the verdict last; in a notebook a table, escaped; without controls it says so."""
    recording = probe.record(lstm, BITS)
    alone = probe.linear_probe(recording, ONES, name="<ones>")
    assert (
        repr(alone).splitlines()[0].startswith("Linear probe of “<ones>”: held-out R², ridge, one map for all steps")
    )
    assert "510 states of 256 sequences" in alone.title
    assert repr(alone).endswith("No network was compared: controls=probe.random_weights(model, x).")
    assert len(repr(alone).splitlines()) == 2 + 6 + 1
    assert "&lt;ones&gt;" in alone._repr_html_()
    assert "<ones>" not in alone._repr_html_()
    compared = probe.linear_probe(recording, ONES, controls=probe.random_weights(lstm, BITS, count=2))
    assert "No network" not in repr(compared)
    assert "beside 2 other networks" in compared.title


def test_it_draws_a_mark_for_each_score(lstm: nn.LSTM) -> None:
    """The network's dot with its interval, each control's mark; with a map a step, a panel a signal."""
    controls = {"own initialisation": probe.record(nn.LSTM(1, 7, batch_first=True), BITS)}
    controls |= probe.random_weights(lstm, BITS, count=2)
    recording, signals = probe.record(lstm, BITS), ["cell_state", "hidden_state"]
    reading = probe.linear_probe(recording, ONES, controls=controls, signals=signals)
    ax = reading.plot()
    assert isinstance(ax, Axes)
    assert [label.get_text() for label in ax.get_yticklabels()] == signals
    labels = {line.get_label(): np.asarray(line.get_xdata(), dtype=float) for line in ax.get_lines()}
    rows = reading.table.set_index("network")["score"]
    for name in ("own initialisation", "step alone", "last 4 inputs"):
        assert np.array_equal(labels[name], rows[name].to_numpy())
    assert len(labels["random weights"]) == 4
    figure = probe.linear_probe(recording, ONES, controls=controls, signals=signals, one_map=False).plot()
    assert isinstance(figure, Figure)
    assert [panel.get_title(loc="left") for panel in figure.axes] == signals
    assert [len(panel.get_lines()) for panel in figure.axes] == [5, 5]


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: probe.linear_probe(r, np.ones(BATCH)),
        lambda r: probe.linear_probe(r, COUNT[:, :-1]),
        lambda r: probe.linear_probe(r, np.where(np.arange(BATCH)[:, None] < 5, COUNT, np.nan)),
        lambda r: probe.linear_probe(r, COUNT + 1j),
        lambda r: probe.linear_probe(r, COUNT, controls={"a": r}),
        lambda r: probe.linear_probe(r, COUNT, fit="logistic"),
        lambda r: probe.linear_probe(r, COUNT > 3, fit="ridge"),
        lambda r: probe.linear_probe(r, COUNT, fit="lasso"),
        lambda r: probe.linear_probe(r, COUNT, folds=2),
        lambda r: probe.linear_probe(r, COUNT, seed=-1),
        lambda r: probe.linear_probe(r, COUNT, signals="hidden_state"),
        lambda r: probe.linear_probe(r, COUNT, layers=["rn"]),
        lambda r: probe.linear_probe(r, COUNT).direction("cell_state"),
        lambda r: probe.linear_probe(r, STEP).direction("hidden_state"),
        lambda r: probe.linear_probe(r, RNG.normal(size=(BATCH, TIME))).direction("hidden_state"),
        lambda r: probe.linear_probe(r, COUNT).direction("hidden_state", value="x"),
        lambda r: probe.single_units(r, COUNT).weights("hidden_state"),
        lambda r: probe.linear_probe(r, COUNT, signals=[]),
        lambda r: probe.linear_probe(r, COUNT, controls={"step alone": recording_of(NOISE)}),
        lambda r: probe.linear_probe(r, np.where(COUNT > 9, np.inf, COUNT)),
        lambda r: probe.linear_probe(r, [[1, 2], [3]]),
        lambda r: probe.linear_probe(r, 90 * NOISE[:, :, 0] < COUNT).direction("hidden_state"),
    ],
)
def test_what_no_probe_reads_is_refused(ask: Callable[[probe.Recording], object]) -> None:
    """In words that say what was given, what is allowed and what to do."""
    with refused():
        ask(recording_of(_with(STEP)))


def test_what_the_step_alone_tells_is_a_control_in_long_sequences_too() -> None:
    """Whether the step is even, of 130 steps: a unit that alternates knows nothing but the time."""
    odd = np.broadcast_to(np.arange(130) % 2, (20, 130)).astype(float)
    states = RNG.normal(size=(20, 130, 2))
    states[:, :, 0] += 9 * odd
    summary = probe.linear_probe(recording_of(states), odd).summary.iloc[0]
    assert (summary["best control"], summary["its score"]) == ("step alone", pytest.approx(1))


def test_the_direction_of_one_step_is_that_steps_own() -> None:
    """The unit rises with the count at every step but the third, where it falls."""
    states = NOISE * 0.05
    states[:, :, 0] += COUNT
    states[:, 2, 0] = -COUNT[:, 2]
    reading = probe.linear_probe(recording_of(states), COUNT)
    assert reading.direction("hidden_state")[0] > 0.5
    assert reading.direction("hidden_state", step=2)[0] == pytest.approx(-1, abs=0.05)


def test_controls_that_read_something_else_are_refused(lstm: nn.LSTM) -> None:
    """Other steps, and other sequences of the same shape."""
    recording = probe.record(lstm, BITS, steps=[-1])
    with refused():
        probe.linear_probe(recording, ONES[:, -1], controls={"first": probe.record(lstm, BITS, steps=[0])})
    turned = probe.record(lstm, BITS.flip(1))
    with refused():
        probe.linear_probe(probe.record(lstm, BITS), ONES, controls={"turned": turned})
    controls = probe.random_weights(lstm, BITS, count=2, steps=[-1])
    assert probe.linear_probe(recording, ONES[:, [-1]], controls=controls, signals=["cell_state"]).title


def test_random_weights_are_recorded_in_the_models_own_mode() -> None:
    """A model in training drops out, and so do its controls; torch's random numbers go on as if nothing had been."""
    model = nn.Sequential(nn.Dropout(0.5), nn.GRU(1, 4, batch_first=True)).train()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    (run,) = probe.random_weights(model, BITS + 1, count=1).values()
    assert torch.equal(torch.rand(3), expected)
    assert run.inputs is not None
    assert (run.inputs == 0).double().mean() > 0.4
    assert model.training


def test_a_state_that_is_no_number_is_refused_with_its_place() -> None:
    """Layer, signal, row, step and unit."""
    states = NOISE.copy()
    states[7, 3, 2] = np.nan
    with refused():
        probe.linear_probe(recording_of(states), COUNT)


def test_random_weights_are_other_networks(lstm: nn.LSTM) -> None:
    """Half fresh, half shuffled; never the network that the same seed gave torch; the model is left as it was."""
    torch.manual_seed(0)
    model = nn.LSTM(1, 7, batch_first=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = probe.record(model, BITS)["hidden_state"]
    found = probe.random_weights(model, BITS, count=4)
    assert list(found) == ["fresh weights 1", "shuffled weights 1", "fresh weights 2", "shuffled weights 2"]
    assert all((run["hidden_state"] - own).abs().max() > 0.01 for run in found.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = probe.random_weights(model, BITS, count=4)
    assert all(torch.equal(run["hidden_state"], again[name]["hidden_state"]) for name, run in found.items())
    with refused():
        probe.random_weights(model, BITS, count=0)
