"""`probe.linear_probe`: the numbers of scikit-learn, directions that can be put in, controls, refusals."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from matplotlib.collections import PathCollection
from planted_states import BATCH, BITS, COUNT, NOISE, ONES, RNG, STEP, TIME, UNITS, untrained, with_units
from recorded import recording_of
from refusing import refused
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from torch import nn

import probe
from probe.methods.probing.linear import Ridge as OurRidge
from probe.probes.reading import VERDICTS, Reading

RARE = np.arange(BATCH * TIME).reshape(BATCH, TIME) % 100 == 0
RANDOM = RNG.normal(size=(BATCH, TIME))
#: A name -> states, what is asked of them, and between which numbers the score lies.
PLANTED: dict[str, tuple[np.ndarray, np.ndarray, float, float]] = {
    "a planted unit": (with_units({0: 2 * COUNT}, noise=1), COUNT, 0.9, 1.0),
    "an absent concept": (NOISE, RANDOM, -0.02, 0.02),
    "a clock": (with_units({0: STEP}, noise=1), STEP, 0.9, 1.0),
    "two units": (with_units({0: 3 * COUNT, 1: -2 * COUNT + 5 * NOISE[:, :, 0]}, noise=1), COUNT, 0.9, 1.0),
}


def _score(reading: Reading) -> float:
    rows = reading.table[(reading.table["network"] == "this network") & reading.table["step"].isna()]
    return float(rows["score"].iloc[-1])


def _held_out(found: pd.DataFrame, states: np.ndarray, fitted: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the states that were read, and what models of the other folds predict of each."""
    x, fold, value = states[found["row"], found["place"]], found["fold"].to_numpy(), found["value"].to_numpy()
    x = (x - x.mean(0)) / x.std(0)
    predicted = np.empty_like(value)
    for one in np.unique(fold):
        out = fold == one
        predicted[out] = fitted(x[~out], value[~out], fold[~out]).predict(x[out])
    return value, predicted


def _ridge(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> Ridge:
    """Return scikit-learn's ridge with the penalty that does best among the folds it is fitted on."""

    def of(penalty: float, rows: np.ndarray) -> Ridge:
        return Ridge(alpha=penalty * rows.sum()).fit(x[rows], y[rows])

    def error(penalty: float) -> float:
        errors = [(y[fold == one] - of(penalty, fold != one).predict(x[fold == one])) ** 2 for one in set(fold)]
        return float(np.concatenate(errors).sum())

    return of(min(OurRidge().penalties, key=error), np.ones(len(y), dtype=bool))


THEIRS = {"ridge": _ridge, "least squares": lambda x, y, _: LinearRegression().fit(x, y)}


@pytest.mark.parametrize(("name", "fit"), [*((name, "ridge") for name in PLANTED), ("two units", "least squares")])
def test_scores_are_those_of_scikit_learn(name: str, fit: str) -> None:
    """With the same states and the same folds, to 1e-8; and they are what was planted."""
    states, concept, low, high = PLANTED[name]
    reading = probe.linear_probe(recording_of(states), concept, fit=fit)
    assert abs(r2_score(*_held_out(reading.states(), states, THEIRS[fit])) - _score(reading)) < 1e-8
    assert low < _score(reading) < high


def test_the_score_of_a_rare_class_is_that_of_scikit_learn() -> None:
    """One state in a hundred counts as much as the others: balanced accuracy, not .99 for never naming it."""
    states = with_units({0: 4.0 * RARE}, noise=1)
    reading = probe.linear_probe(recording_of(states), RARE)

    def fitted(x: np.ndarray, y: np.ndarray, _: np.ndarray) -> Any:
        return LogisticRegression(class_weight="balanced", max_iter=200).fit(x, y.astype(str))

    right, named = _held_out(reading.states("hidden_state"), states, fitted)
    assert abs(balanced_accuracy_score(right.astype(str), named.astype(str)) - _score(reading)) < 1e-8
    assert "balanced accuracy (chance 0.50), logistic" in reading.title
    assert _score(reading) > 0.9
    assert abs(_score(probe.linear_probe(recording_of(NOISE), RARE)) - 0.5) < 0.1


def test_a_direction_moves_what_the_probe_reads_by_one() -> None:
    """Steered along it, the probe reads one more; the probe's own weights would move it by their length."""
    lstm = untrained()
    recording = probe.record(lstm, BITS)
    reading = probe.linear_probe(recording, ONES, signals=["cell_state"])
    along, (weight, bias) = reading.direction("cell_state"), reading.weights("cell_state")
    steered = probe.record(lstm, BITS, edits=[probe.steer("cell_state", along, steps=4)])
    read = [(run["cell_state"].double() @ weight.T + bias)[..., 0] for run in (recording, steered)]
    assert torch.allclose(read[1][:, 4] - read[0][:, 4], torch.ones(256, dtype=torch.float64), atol=1e-5)
    found = reading.states("cell_state")
    assert r2_score(found["value"], read[0].numpy()[found["row"], found["place"]]) > _score(reading) - 0.01


def test_directions_of_planted_units_are_theirs() -> None:
    """Two units move with the count by 3 and -2: so does the direction, although a probe may weigh one alone."""
    states = NOISE * 0.01
    states[:, :, :2] += COUNT[:, :, None] * [3, -2]
    along = probe.linear_probe(recording_of(states), COUNT).direction("hidden_state")
    assert np.allclose(along.numpy(), [3, -2, 0, 0, 0, 0], atol=0.02)
    names = np.array(["none", "some", "many"])[np.clip(COUNT.astype(int) // 5, 0, 2)]
    reading = probe.linear_probe(recording_of(states), names)
    assert reading.direction("hidden_state", value="many")[0] > 1
    assert reading.weights("hidden_state")[0].shape == (3, UNITS)
    with refused():
        reading.direction("hidden_state")


def test_complex_states_are_read_and_steered() -> None:
    """Real and imaginary parts side by side; a direction is complex again."""
    turned = NOISE[:, :, :3] + 1j * (NOISE[:, :, 3:] + COUNT[:, :, None])
    reading = probe.linear_probe(recording_of(turned), COUNT)
    assert _score(reading) > 0.9
    along = reading.direction("hidden_state")
    assert along.is_complex()
    assert np.allclose(along.imag.numpy(), along.imag.mean(), atol=0.2)
    assert abs(along.real).max() < 0.2 * along.imag.mean()


ODD = np.broadcast_to(np.arange(130) % 2, (20, 130)).astype(float)
X = RNG.normal(size=(BATCH, TIME, 1))
LAST = X[:, :, 0] + np.pad(X[:, :-1, 0], ((0, 0), (1, 0)))
COUNTS, EMPTY = recording_of(with_units({0: 4 * COUNT}, noise=1)), recording_of(NOISE)
CLOCK = recording_of(with_units({0: STEP}, noise=1))
RECENT = recording_of(with_units({0: 5 * LAST}, noise=1), X)
ALTERNATES = recording_of(RNG.normal(size=(20, 130, 2)) + 9 * ODD[:, :, None])


@pytest.mark.parametrize(
    ("recording", "concept", "other", "verdict", "control"),
    [
        (COUNTS, COUNT, EMPTY, "above every control", ""),
        (COUNTS, COUNT, recording_of(with_units({0: 5 * COUNT}, noise=1)), "not above every control", "other"),
        (EMPTY, COUNT, COUNTS, "below every network", "other"),
        (CLOCK, STEP, EMPTY, "not above every control", "step alone"),
        # Of 130 steps: it knows nothing but the time.
        (ALTERNATES, ODD, None, "not above every control", "step alone"),
        (RECENT, LAST, None, "not above every control", "last 4 inputs"),
    ],
    ids=["above", "same", "below", "clock", "long clock", "last inputs"],
)
def test_what_a_control_reads_as_well_is_not_above_it(
    recording: probe.Recording,
    concept: np.ndarray,
    other: probe.Recording | None,
    verdict: str,
    control: str,
) -> None:
    """The network's own verdict follows the best control; the step alone is one, and so are the last inputs."""
    controls = None if other is None else {"other": other}
    found = probe.linear_probe(recording, concept, controls=controls).summary.iloc[0]
    assert found["verdict"] == verdict
    assert found["best control"] == control or not control


def test_a_network_is_below_others_only_if_it_is_below_the_worst_of_them() -> None:
    """Beside networks that are as empty, the best of them says nothing of this one."""
    beside = {"counts": COUNTS, "counts too": recording_of(with_units({0: 5 * COUNT}, noise=1))}
    as_empty = {"empty": recording_of(np.random.default_rng(8).normal(size=NOISE.shape))}
    for controls, verdict in ((beside, "below every network"), (beside | as_empty, "not above every control")):
        (row,) = probe.linear_probe(EMPTY, COUNT, controls=controls).summary.to_dict("records")
        assert row["verdict"] == verdict


def test_it_shows_itself_and_draws_a_mark_for_each_score() -> None:
    """A line a signal, escaped in a notebook; the network's dot, each control's mark, and a panel a signal."""
    lstm = untrained()
    controls = {"other": probe.record(nn.LSTM(1, 7, batch_first=True), BITS)}
    controls |= probe.random_weights(lstm, BITS, count=2)
    recording, signals = probe.record(lstm, BITS), ["cell_state", "hidden_state"]
    reading = probe.linear_probe(recording, ONES, controls=controls, signals=signals, name="<ones>")
    assert "510 states of 256 sequences" in reading.title
    assert "<ones>" not in reading._repr_html_()
    ax: Any = reading.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == signals
    assert ax.get_xlabel() == "held-out R²"
    dots = [one for one in ax.collections if isinstance(one, PathCollection)]
    labels = {one.get_label(): np.asarray(one.get_offsets())[:, 0] for one in dots}
    rows = reading.table.set_index("network")["score"]
    for name in ("other", "step alone", "last 4 inputs"):
        assert np.array_equal(labels[name], rows[name].to_numpy())
    assert len(labels["random weights"]) == 4
    marks = {str(one.get_label()): np.asarray(one.get_paths()[0].vertices).tobytes() for one in dots}
    without = ["this network", "random weights", "step alone", "last 4 inputs", "one answer for all"]
    assert len({marks[name] for name in without}) == len(without)


@pytest.mark.parametrize("find", [probe.linear_probe, probe.single_units])
def test_brackets_take_one_signal_of_a_reading(find: Callable[..., Reading]) -> None:
    """With its own rows, verdict and plot, and its states in the title; what was not read is refused."""
    torch.manual_seed(0)
    recording = probe.record(nn.LSTM(1, 4, 2, batch_first=True, bidirectional=True), BITS)
    whole = find(recording, ONES, layer=["[0]", "[1]"], signals=["cell_state", "hidden_state"])
    one = whole["[1]", "cell_state"]
    for every, own in ((whole.table, one.table), (whole.summary, one.summary)):
        there = (every["layer"] == "[1]") & (every["signal"] == "cell_state")
        assert there.any()
        pd.testing.assert_frame_equal(own, every[there].reset_index(drop=True))
    states = one.states("cell_state")
    assert len(states) == int(one.table["states"].max()) != int(whole.table["states"].min())
    assert f"; {len(states):,} states of {states['row'].nunique()} sequences" in one.title
    assert repr(one).count("cell_state") == len(one.summary) == repr(whole).count("cell_state") / 2
    assert one.plot() is not None
    for ask in ("cell_state", "forget_gate", ("[2]", "cell_state"), ("[1]", "cell_state", 0), 0):
        with refused():
            _ = whole[ask]  # pyright: ignore[reportArgumentType]
    alone = find(recording, ONES, layer="[0]", signals=["cell_state"])
    assert alone["cell_state"].table.equals(alone.table)


#: One labelling of every second count, in each type that a user may have at hand.
TWO_VALUES = {
    "floats": (COUNT % 2).astype(float),
    "whole numbers": COUNT % 2,
    "other numbers": COUNT % 2 * 9 - 10.0,
    "booleans": COUNT % 2 == 1,
    "texts": np.where(COUNT % 2 == 1, "odd", "even"),
    "a tensor": torch.tensor(COUNT % 2),
}


@pytest.mark.parametrize("find", [probe.linear_probe, probe.single_units])
def test_two_values_are_categories_of_whatever_type(find: Callable[..., Reading]) -> None:
    """They have one score; of numbers the reading says what they were taken for."""
    recording = recording_of(with_units({0: 3 * (COUNT % 2)}, noise=1))
    found = {name: find(recording, concept) for name, concept in TWO_VALUES.items()}
    assert len({float(reading.summary["score"].max()) for reading in found.values()}) == 1
    assert all("balanced accuracy (chance 0.50)" in repr(reading) for reading in found.values())
    said = {name: "two values are categories" in repr(reading) for name, reading in found.items()}
    assert said == {name: "number" in name or "tensor" in name or "float" in name for name in TWO_VALUES}
    assert "The concept is -10 or -1: two values" in repr(found["other numbers"])
    assert "The concept is 1234567 or 1234568: two" in repr(find(recording, COUNT % 2 + 1234567.0))


def test_a_reading_explains_the_verdicts_that_occur() -> None:
    """A line each below its table, as text and in a notebook; the others are not explained."""
    reading = probe.linear_probe(COUNTS, COUNT, controls={"other": EMPTY})
    (verdict,) = set(reading.summary["verdict"])
    for text in (repr(reading), reading._repr_html_()):
        assert [name for name in VERDICTS if f"{name}: {VERDICTS[name]}" in text] == [verdict]


def test_one_of_two_numbers_is_named_as_it_was_given() -> None:
    """A direction is that of the larger one unless the other is named, as a number or as a text."""
    reading = probe.linear_probe(recording_of(with_units({0: 3 * (COUNT % 2)}, noise=1)), TWO_VALUES["floats"])
    odd, *even = (reading.direction("hidden_state", value=value) for value in (None, 0.0, 0, "0"))
    assert odd[0] > 0
    assert all(torch.allclose(each, -odd) for each in even)


def test_two_numbers_may_be_taken_for_a_number() -> None:
    """By `fit="ridge"`: then the score is R², and a direction moves what is read by one."""
    recording = recording_of(with_units({0: 3 * (COUNT % 2)}, noise=1))
    reading = probe.linear_probe(recording, TWO_VALUES["floats"], fit="ridge")
    assert "R²" in reading.title
    assert _score(reading) != _score(probe.linear_probe(recording, TWO_VALUES["floats"]))
    assert "two values" not in repr(reading)


def test_a_square_concept_says_which_axis_was_taken_for_time() -> None:
    """It fits either way: as many sequences as steps, of a module that reads time first."""
    torch.manual_seed(0)
    recording = probe.record(nn.GRU(1, 5), torch.randn(12, 12, 1))
    concept = RNG.normal(size=(12, 12))
    said = "The concept is 12 x 12: its rows were taken for sequences, its columns for steps."
    assert said in repr(probe.linear_probe(recording, concept))
    assert said in repr(probe.single_units(recording, torch.tensor(concept)))
    assert said not in repr(probe.linear_probe(recording, concept[:, 0]))
    assert "were taken for" not in repr(probe.linear_probe(COUNTS, COUNT))


def ends(x: torch.Tensor, step: int = -1) -> probe.Recording:
    """Return a recording of an untrained network that kept one step."""
    return probe.record(untrained(), x, steps=[step])


UNREAD: list[Callable[[probe.Recording], object]] = [
    lambda r: probe.linear_probe(r, np.ones(BATCH)),
    lambda r: probe.linear_probe(r, np.where(np.arange(BATCH)[:, None] < 5, COUNT, np.nan)),
    lambda r: probe.linear_probe(r, COUNT + 1j),
    lambda r: probe.linear_probe(r, COUNT.T),
    lambda r: probe.linear_probe(r, torch.ones(BATCH, TIME, device="meta")),
    lambda r: probe.linear_probe(r, COUNT, groups=torch.ones(BATCH, device="meta")),
    lambda r: probe.linear_probe(r, COUNT, controls={"a": r}),
    lambda r: probe.linear_probe(r, COUNT, fit="logistic"),
    lambda r: probe.linear_probe(r, COUNT, folds=2),
    lambda r: probe.linear_probe(r, COUNT, layer=["rn"]),
    lambda r: probe.linear_probe(r, COUNT).direction("cell_state"),
    lambda r: probe.linear_probe(r, STEP).direction("hidden_state"),
    lambda r: probe.linear_probe(r, RANDOM).direction("hidden_state"),
    lambda r: probe.single_units(r, COUNT).weights("hidden_state"),
    lambda r: probe.linear_probe(r, COUNT, controls={"step alone": recording_of(NOISE)}),
    lambda r: probe.linear_probe(r, np.where(COUNT > 9, np.inf, COUNT)),
    lambda r: probe.linear_probe(r, 90 * NOISE[:, :, 0] < COUNT).direction("hidden_state"),
    lambda _: probe.linear_probe(recording_of(np.where(np.arange(UNITS) == 2, np.nan, NOISE)), COUNT),
    lambda _: probe.random_weights(untrained(), BITS, count=0),
    # Controls that read other steps, and other sequences of the same shape.
    lambda _: probe.linear_probe(ends(BITS), ONES[:, -1], controls={"other": ends(BITS, 0)}),
    lambda _: probe.linear_probe(ends(BITS), ONES[:, -1], controls={"other": ends(BITS.flip(1))}),
]


def test_what_no_probe_reads_is_refused() -> None:
    """In words that say what was given, what is allowed and what to do."""
    for ask in UNREAD:
        with refused():
            ask(CLOCK)


def gru(x: torch.Tensor, seed: int, tokens: int = 0) -> probe.Recording:
    """Return a recording of an untrained GRU inside a model, which embeds its inputs where they are tokens."""
    torch.manual_seed(seed)
    reads: nn.Module = nn.Embedding(tokens, 3) if tokens else nn.Identity()
    rnn = nn.GRU(3 if tokens else x.shape[2], 4, batch_first=True)
    return probe.record(Model(lambda m, x: m.rnn(m.reads(x))[0], reads=reads, rnn=rnn), x)


def test_a_control_that_read_other_numbers_is_refused() -> None:
    """Also where no number stands twice, so that all sequences of both begin apart.

    A bare layer must have read the same numbers. A model may embed them, and so read others; but the same numbers in
    other places are sequences in another order.
    """
    generator = torch.Generator().manual_seed(0)
    x, others = torch.randn(2, 120, 8, 1, generator=generator)
    sums = x[:, :, 0].cumsum(1)
    with refused():
        probe.linear_probe(probe.record(untrained(), x), sums, controls={"other": probe.record(untrained(), others)})
    with refused():
        probe.linear_probe(gru(x, 0), sums, controls={"other": gru(x.flip(0), 1)})
    tokens = torch.randint(0, 5, (120, 8), generator=generator)
    for concept, one, other in ((sums, gru(x, 0), gru(x, 1)), (tokens == 0, gru(tokens, 0, 5), gru(tokens, 1, 5))):
        assert "other" in set(probe.linear_probe(one, concept, controls={"other": other}).table["network"])


def test_random_weights_are_other_networks_in_the_models_own_mode() -> None:
    """Half fresh, half shuffled, in train mode as the model is; model and random numbers go on as they were."""
    torch.manual_seed(0)
    model = Model(lambda m, x: m.rnn(x - float(m.training))[0], rnn=nn.GRU(1, 4, batch_first=True)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = probe.record(model, BITS + 1)["hidden_state"]
    random = torch.get_rng_state()
    found: dict[str, Any] = probe.random_weights(model, BITS + 1, count=4)
    assert torch.equal(torch.get_rng_state(), random)
    assert list(found) == ["fresh weights 1", "shuffled weights 1", "fresh weights 2", "shuffled weights 2"]
    again = probe.random_weights(model, BITS + 1, count=4)
    for name, run in found.items():
        assert (run["hidden_state"] - own).abs().max() > 0.01
        assert torch.equal(run.inputs, BITS)
        assert torch.equal(run["hidden_state"], again[name]["hidden_state"])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_one_answer_for_all_states_is_a_control() -> None:
    """Where the step tells less than the mean does, held out, a score is compared with that of the mean."""
    for concept, chance in ((RANDOM, 0.0), (np.where(RANDOM > 0, "high", "low"), 0.5)):
        table = probe.linear_probe(EMPTY, concept).table.set_index("network")["score"]
        assert table["one answer for all"] == chance
    (row,) = probe.linear_probe(EMPTY, RANDOM).summary.to_dict("records")
    assert (row["best control"], row["its score"]) == ("one answer for all", 0)


def test_of_equal_controls_the_one_that_needs_no_network_is_named() -> None:
    """The step alone, and a network that tells the time: the step says why that network is as good."""
    late = np.where(STEP > 3, "late", "early")
    other = {"tells the time too": recording_of(with_units({0: 9 * (STEP > 3)}, noise=0.1))}
    reading = probe.linear_probe(CLOCK, late, controls=other)
    scores = reading.table.set_index("network")["score"]
    assert scores["step alone"] == scores["tells the time too"] == 1
    assert reading.summary["best control"].tolist() == ["step alone"]


def test_each_category_has_its_share() -> None:
    """Of the states of each, how many are named right; their mean is the score, and a number has none."""
    kind = np.where(COUNT > 5, "many", np.where(RANDOM > 0, "left", "right"))
    reading = probe.linear_probe(COUNTS, kind)
    shares = reading.by_category("hidden_state")
    assert list(shares.index) == ["left", "many", "right"]
    assert shares["many"] > 0.8
    assert max(shares["left"], shares["right"]) < 0.7
    assert shares.mean() == pytest.approx(_score(reading))
    with refused():
        probe.linear_probe(COUNTS, COUNT).by_category("hidden_state")


def test_the_states_that_are_drawn_do_not_follow_from_what_categories_are_called() -> None:
    """Of 3,000 states, half of either category, 2,000 are drawn: the same ones in any alphabetical order."""
    truth = np.random.default_rng(5).permutation(np.arange(3_000) % 2).reshape(300, 10) == 1
    recording = recording_of(np.random.default_rng(6).normal(size=(300, 10, 3)) + truth[:, :, None])
    scores = {
        _score(probe.linear_probe(recording, np.where(truth, *names))) for names in (("in", "out"), ("yes", "no"))
    }
    assert len(scores) == 1


def test_two_networks_may_have_one_gate_in_common() -> None:
    """Their forget gates stand still, and nothing else of them is the same: neither is the other again."""
    lstm = untrained()
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            parameter.view(4, lstm.hidden_size, -1)[1] = 40.0 * (name == "bias_ih_l0")
    controls = {"other": probe.record(lstm, BITS)}
    with torch.no_grad():
        lstm.get_parameter("weight_ih_l0").view(4, lstm.hidden_size, -1)[2].mul_(0.5)
    reading = probe.linear_probe(probe.record(lstm, BITS), ONES, controls=controls, signals=["forget_gate"])
    assert reading.summary["verdict"].tolist() == ["not above every control"]
    with refused():
        probe.linear_probe(controls["other"], ONES, controls=controls, signals=["forget_gate"])


class Recorded(Mapping[str, probe.Recording]):
    """Recordings that are made when they are asked for, with the number of those that are alive then."""

    def __init__(self, count: int) -> None:
        self.count, self.made, self.alive = count, list[weakref.ref[probe.Recording]](), list[int]()

    def __getitem__(self, name: str) -> probe.Recording:
        gc.collect()
        self.alive.append(sum(made() is not None for made in self.made))
        recording = recording_of(np.random.default_rng(int(name)).normal(size=NOISE.shape))
        self.made.append(weakref.ref(recording))
        return recording

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self.count))

    def __len__(self) -> int:
        return self.count


def test_controls_are_asked_for_one_at_a_time() -> None:
    """What holds them may record each when it is asked: all recordings at once may not fit into memory."""
    controls = Recorded(4)
    reading = probe.linear_probe(COUNTS, COUNT, controls=controls)
    assert {"0", "1", "2", "3"} < set(reading.table["network"])
    assert controls.alive == [0, 0, 0, 0]


class OwnCell(nn.Module):
    """A cell of somebody's own that a loop calls: its state is the sum of what it read, in so many units."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Summing()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return its states."""
        state, states = x.new_zeros(len(x), 4), []
        for step in x.unbind(1):
            state = self.cell(step, state)
            states.append(state)
        return torch.stack(states, 1)


class Summing(nn.Module):
    """The cell."""

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return the next state."""
        return state + x.sum(1, keepdim=True)


def test_the_inputs_stand_beside_a_cell_in_a_loop() -> None:
    """What it read is recorded: a concept that the inputs tell is no merit of the network's."""
    x = torch.randn(60, 6, 3, generator=torch.Generator().manual_seed(0))
    recording = probe.record(OwnCell(), x)
    torch.testing.assert_close(recording.inputs, x)
    (row,) = probe.linear_probe(recording, x[:, :, 1], signals=["state"]).summary.to_dict("records")
    assert row["best control"] == "last 4 inputs"
    assert row["its score"] > 0.99
