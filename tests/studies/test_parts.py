"""The parts of a study: which states are looked at, random weights, held-out probes, a stack run from any state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model
from refusing import refused
from studied import beside, bits, ones, planted, study_of, without_pictures
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import probe
from probe import Checkpoint, Concept, Readout, Study
from probe.intervals import bootstrap_counts
from probe.loading.checkpoint import Source
from probe.loading.modules import Masked
from probe.methods.probing.controls import clock_features, inputs_around
from probe.methods.probing.groups import by_sequence
from probe.methods.probing.linear import MOST_FEATURES, Features, Logistic, Ridge
from probe.methods.probing.scores import Score, of_categories, of_numbers
from probe.questions.readings import points_of
from probe.recurrent import CustomLSTM
from probe.recurrent.random_weights import FRESH, SHUFFLED, random_weights
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.concepts import resolve
from probe.subjects.ends import ends_of
from probe.subjects.stacks import layer_inputs
from probe.subjects.states import reads_ahead, recorded_rows

X = bits(40)


@pytest.mark.parametrize("layer", ["[0]", "[0].reverse"])
def test_each_state_is_looked_at_once_and_no_sequence_is_on_both_sides(layer: str) -> None:
    """No beginning stands twice, and of a layer that reads from the end no rest; its clock knows what is left."""
    x, lengths, back = bits(200, 10), np.arange(200) % 6 + 5, layer.endswith(".reverse")
    model = nn.GRU(1, 3, 2, bidirectional=back, batch_first=True)
    (subject,) = prepare(Study(model, x, {"ones": ones}, lengths=lengths))
    assert reads_ahead(subject) == ({"[0].reverse", "[1]", "[1].reverse"} if back else set())
    points, rows = points_of(subject, "ones", layer), recorded_rows(subject)
    places = list(zip(rows[points.sequence].tolist(), points.step.tolist(), strict=True))

    def part(row: int, step: int) -> bytes:
        return (x[row, step : lengths[row]] if back else x[row, : step + 1]).tobytes()

    seen = {part(row, step) for row, step in places}
    assert len(seen) == len(places) > 30
    assert seen == {part(row, step) for row in range(200) for step in range(lengths[row])}
    if back:
        assert points.left is not None
        assert points.left.tolist() == [lengths[row] - 1 - step for row, step in places]
    around = inputs_around(subject.x[rows], points.sequence, points.step, range(-1, 3))
    for (row, step), found in zip(places, around, strict=True):
        padded = np.concatenate([[0.0], x[row, : lengths[row], 0], [0.0, 0.0]])
        assert found.tolist() == padded[step : step + 4].tolist()
    (score,) = points.scores(clock_features(points.step, points.bin, points.left), [points.step.astype(float)])
    assert score.value > 0.8
    folds = {(row, fold) for row, fold in zip(points.sequence.tolist(), points.fold.tolist(), strict=True)}
    assert len(folds) == len(set(points.sequence.tolist()))
    assert {fold for _, fold in folds} == {0, 1, 2, 3}


class Undrawn(nn.Module):
    """A cell whose weights stand in it, and nobody says how they are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return torch.tanh(x + h @ self.weight)


def test_shuffled_weights_keep_each_gates_numbers_and_fresh_ones_torchs_bounds() -> None:
    """Every gate's block keeps its histogram, in another order; what nobody draws is shuffled; the network stays."""
    lstm = planted()
    before = {name: one.clone() for name, one in lstm.state_dict().items()}
    made = dict(random_weights(lstm, 4, seed=0))
    assert list(made) == [f"{FRESH} 1", f"{SHUFFLED} 1", f"{FRESH} 2", f"{SHUFFLED} 2"]
    for own, other in zip(before.values(), made[f"{SHUFFLED} 1"].state_dict().values(), strict=True):
        assert not torch.equal(own, other)
        for mine, theirs in zip(own.split(6), other.split(6), strict=True):
            assert torch.equal(mine.flatten().sort()[0], theirs.flatten().sort()[0])
    for one in made[f"{FRESH} 1"].parameters():
        assert float(one.detach().abs().max()) <= 6**-0.5
    assert not torch.equal(*(made[f"{FRESH} {number}"].state_dict()["weight_hh_l0"] for number in (1, 2)))
    assert all(torch.equal(one, before[name]) for name, one in lstm.state_dict().items())
    assert list(dict(random_weights(CustomLSTM(1, 3), 2, seed=0))) == [f"{FRESH} 1", f"{SHUFFLED} 1"]
    undrawn = dict(random_weights(Undrawn(), 2, seed=0, cells=["[0]"]))
    assert list(undrawn) == [f"{SHUFFLED} 1", f"{SHUFFLED} 2"]
    assert not torch.equal(*(one.state_dict()["weight"] for one in undrawn.values()))


def test_a_held_out_probe_finds_what_is_there_and_nothing_else() -> None:
    """What is linear is told, also along the directions of most variance; what is random no better than its mean."""
    rng, rows = np.random.default_rng(0), np.arange(200)
    states, parts = rng.normal(size=(200, 150)), by_sequence(rows % 4)
    there, noise = states @ rng.normal(size=150), rng.normal(size=200)
    many = Ridge().held_out(states, np.column_stack([there, noise]), parts)
    assert of_numbers(there, many[:, 0], rows, 200).value > 0.6
    assert -0.2 < of_numbers(noise, many[:, 1], rows, 200).value < 0.1
    for values, units, least, most in ((states[:, 0] > 0, 3, 0.9, 1), (noise > 0, 100, 0.35, 0.65)):
        named = values.astype(float)
        told = Logistic().held_out(states[:, :units], named[:, None], parts)[:, 0]
        assert least < of_categories(named, told, rows, 200).value <= most
    hidden = rng.normal(size=(700, 4))
    wide = hidden @ rng.normal(size=(4, 600)) + 0.01 * rng.normal(size=(700, 600))
    assert Features.of(wide).of_states(wide).shape == (700, MOST_FEATURES)
    told = Ridge().held_out(wide, hidden[:, :1], by_sequence(np.arange(700) % 4))
    assert of_numbers(hidden[:, 0], told[:, 0], np.arange(700), 700).value > 0.99


def test_scores_are_compared_on_the_same_sequences() -> None:
    """A difference that every sequence shows has a narrow interval, however far sequences lie apart."""
    rng = np.random.default_rng(0)
    lost, scale = rng.uniform(0, 1, 60), np.full(60, 2.0)
    worse, better = (Score(one[:, None], scale[:, None]) for one in (lost + 0.2, lost))
    samples = bootstrap_counts(60, seed=0)
    assert better.above(worse, samples) == pytest.approx((0.1, 0.1), abs=1e-9)
    low, high = better.interval(samples)
    assert high - low > 0.03
    assert low < better.value < high


def test_no_interval_goes_beyond_the_largest_score() -> None:
    """One error among 60 sequences: the share that is right is at most 1."""
    wrong = np.arange(60)[:, None] == 0
    low, high = Score(wrong.astype(float), np.ones((60, 1))).interval(bootstrap_counts(60, seed=0))
    assert low < 59 / 60 < high <= 1


def test_concepts_become_numbers_with_gaps() -> None:
    """Texts, truths and named numbers are categories; NaN, None and padding are gaps; numbers stay numbers."""
    small, lengths = np.zeros((2, 3, 1)), np.array([3, 2])
    for given, names, expected in (
        ([["b", "a", ""], ["a", "b", 7]], ("a", "b"), [[1, 0, np.nan], [0, 1, np.nan]]),
        (torch.tensor([[1.0, torch.nan, 3], [4, 5, 6]]), (), [[1, np.nan, 3], [4, 5, np.nan]]),
        ([[1.0, None, 3], [np.float32(4), torch.tensor(5), "padding"]], (), [[1, np.nan, 3], [4, 5, np.nan]]),
        (np.array([[True, False, True]] * 2), (False, True), [[1, 0, 1], [1, 0, np.nan]]),
        (Concept(np.array([[3, 5, 3]] * 2), "categorical"), (3, 5), [[0, 1, 0], [0, 1, np.nan]]),
        (lambda x: [None, *([2.5] * (len(x) - 1))], (), [[np.nan, 2.5, 2.5], [np.nan, 2.5, np.nan]]),
    ):
        found = resolve("c", given, small, lengths)
        assert (found.is_categorical, tuple(found.categories or ())) == (bool(names), names)
        np.testing.assert_array_equal(found.values, expected)
    for mixed in (
        lambda x: [1, "a", 2][: len(x)],
        np.array([[1, "a", 2], ["b", 3, "c"]], dtype=object),
        Concept([["1", 1, "1"], [1, 1, 1]], "categorical"),
        [[True, 2, 3], [4, 5, 6]],
        [[True, "yes", "no"], ["yes", "no", "no"]],
    ):
        with refused():
            _ = resolve("c", mixed, small, lengths)


@pytest.mark.parametrize(("kind", "ragged"), [(nn.LSTM, True), (nn.GRU, False), (nn.RNN, True)])
def test_a_stack_is_run_from_any_state_as_the_module_runs(kind: Any, ragged: bool) -> None:
    """Its states are the recording's; another sequence's whole state gives what the spliced sequence gives."""
    torch.manual_seed(0)
    model, head = kind(1, 5, 2, batch_first=True), nn.Linear(5, 9)
    lengths = np.where(np.arange(40) % 2, 8, 6) if ragged else None
    (subject,) = prepare(Study(model, X, {"ones": ones}, lengths=lengths, readout=Readout("ones", function=head)))
    end = ends_of(subject)
    assert end.whole is not ragged
    steps = subject.lengths[end.rows]
    recording = probe.record(model.double(), torch.tensor(X[end.rows]).double())
    last = recording["[1]", "hidden_state"][torch.arange(len(end.rows)), torch.as_tensor(steps - 1)]
    torch.testing.assert_close(end.machine.clean.states[:, -1, -5:], last, rtol=0, atol=1e-6)
    place, base, source = end.steps - 3, torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    went = end.machine.answers(end.machine.clean.states[source, place], base, place).expected
    spliced = [
        np.concatenate([X[end.rows[s], : steps[s] - 2], X[end.rows[b], steps[b] - 2 : steps[b]]])
        for b, s in zip(base.tolist(), source.tolist(), strict=True)
    ]
    assert subject.head is not None
    with torch.no_grad():
        h = torch.stack([model(torch.tensor(one)[None].double())[0][0, -1] for one in spliced])
        torch.testing.assert_close(went, subject.head.expected(head.double()(h)), rtol=0, atol=1e-6)
    assert task_of(subject).target(base, source, place).tolist() == [float(one.sum()) for one in spliced]


def test_steps_that_a_network_hides_are_its_padding_or_the_study_is_refused() -> None:
    """With lengths a masked module is the module inside, and the page says what was taken for granted."""
    masked = Masked(nn.LSTM(1, 3, batch_first=True), by="Masking 'zeros'")
    loaded = Checkpoint({"rnn": masked}, {}, Source("Keras", "a file"))
    given: dict[str, Any] = {"inputs": bits(12), "readout": None}
    for network in (masked, loaded):
        with refused():
            _ = prepare(study_of(network, **given))
    (subject,) = prepare(study_of(loaded, lengths=np.arange(12) % 8 + 1, **given))
    assert subject.model(subject.x)[0].shape == (12, 8, 3)
    assert "no step of a sequence is hidden by Masking 'zeros'" in subject.card["taken for granted"]


@pytest.mark.parametrize("sequences", [8, 20])
def test_a_layer_that_reads_time_first_is_studied_in_its_model_alone(sequences: int) -> None:
    """In the study's order, also where there are as many sequences as steps; a model that takes time first is not."""
    model = Model(lambda m, x: m.head(m.rnn(x.transpose(0, 1))[0][-1]), rnn=nn.GRU(1, 4), head=nn.Linear(4, 9))
    (subject,) = prepare(Study(model, bits(sequences), {"ones": ones}))
    assert np.array_equal(layer_inputs(subject, np.arange(sequences), subject.layers[0]), bits(sequences))
    assert len(beside(subject)) > 1
    with refused():
        _ = Study(model.rnn, bits(sequences), {"ones": ones})


def test_inputs_that_no_array_holds_are_refused_and_padded_ones_taken() -> None:
    """Sequences of several lengths, and a type of torch's alone; inputs in bfloat16 are no fault."""
    sequences, model = [torch.ones(3, 1), torch.zeros(5, 1)], nn.GRU(1, 4, batch_first=True)
    for inputs, network in ((sequences, model), ([[1, 2], [3]], model), (X, nn.GRU(1, 4).bfloat16())):
        with refused():
            _ = prepare(Study(network, inputs, {"ones": ones}))
    padded = pad_sequence(sequences, batch_first=True).bfloat16()
    (subject,) = prepare(Study(model, padded, {"ones": ones}, lengths=[3, 5]))
    np.testing.assert_array_equal(subject.concepts["ones"].values[0], [1, 2, 3, np.nan, np.nan])
    for part, given in (("readout", "ones"), ("programs", [sum]), ("rules", 3)):
        study = Study(model, X, {"ones": ones})
        object.__setattr__(study, part, given)  # the annotations, which tests check, would not let it in otherwise
        with refused():
            study.__post_init__()


def test_names_of_concepts_stay_names(tmp_path: Any) -> None:
    """Two concepts of the same letters have folders of their own, and markup in a name stays text."""
    hostile, same = "</script><img src=x onerror=alert(1)>", np.ones(X.shape[:2])
    concepts = {"step": same, "Step!": same, hostile: Concept(ones, description=hostile)}
    asked = ["reading-step", "reading-step-2", "reading-script-img-src-x-onerror-alert-1"]
    with without_pictures():
        page = Study(planted(), X, concepts, title=hostile, questions=asked).run(tmp_path)
    assert all((tmp_path / "findings" / name).exists() for name in asked)
    assert "<img src=x" not in page.render()
