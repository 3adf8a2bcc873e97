"""The parts of a study: its states, random weights, held-out probes, and a stack run from any state."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import bits, ones, planted, report_of, study_of
from torch import nn

import probe
from probe import Checkpoint, Concept, Readout, Study
from probe.loading.checkpoint import Source
from probe.loading.modules import BothWays, Masked
from probe.loading.named_network import NamedNetwork
from probe.methods.probing.controls import clock_features, inputs_around, relabelled
from probe.methods.probing.fits import MOST_FEATURES, Features, Logistic, Ridge
from probe.methods.probing.prefixes import first_of_prefix, grouped_prefixes
from probe.methods.probing.scores import Score, of_categories, of_numbers
from probe.methods.probing.splits import by_sequence
from probe.methods.probing.units import follows
from probe.questions.states.targets import Target
from probe.recurrent import CustomLSTM
from probe.recurrent.finding import find_layers
from probe.recurrent.signals import Signal
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.concepts import resolve
from probe.subjects.ends import ends_of
from probe.subjects.networks.random_weights import FRESH, SHUFFLED, random_weights
from probe.subjects.states import reads_ahead, run, sample_of

X = bits(40)
LENGTHS = np.arange(40) % 8 + 1


def test_each_prefix_stands_once_and_padding_never() -> None:
    """The first sequence of each distinct prefix, as `grouped_prefixes` finds them; shorter ones end early."""
    found = first_of_prefix(X, np.full(40, 8))
    for step, (rows, _) in enumerate(grouped_prefixes(torch.tensor(X))):
        assert np.flatnonzero(found[:, step]).tolist() == rows.tolist()
    short = first_of_prefix(X, LENGTHS)
    assert not short[np.arange(8) >= LENGTHS[:, None]].any()
    assert short.sum() < found.sum()


def test_no_sequence_is_on_both_sides(tmp_path: Path) -> None:
    """Folds are of sequences, and each has some of them."""
    sample = sample_of(*prepare(study_of(planted())))
    pairs = np.unique(np.stack([sample.sequence[sample.of["ones"]], sample.fold["ones"]]), axis=1)
    assert sorted(set(pairs[1])) == [0, 1, 2, 3]
    assert len(set(pairs[0])) == pairs.shape[1]
    assert len(sample.of["ones"]) == first_of_prefix(bits(), np.full(len(bits()), 8)).sum()


def test_a_layer_that_reads_from_the_end_sees_each_rest_once() -> None:
    """Neither a beginning nor a rest stands twice among its states, and its clock knows how many steps follow."""
    x, lengths = bits(200, 10), np.arange(200) % 6 + 5
    model = nn.GRU(1, 3, bidirectional=True, batch_first=True)
    (subject,) = prepare(Study(model, x, {"ones": ones}, lengths=lengths))
    sample = sample_of(subject)
    places = list(zip(sample.rows[sample.sequence].tolist(), sample.step.tolist(), strict=True))
    starts = [x[row, : step + 1].tobytes() for row, step in places]
    rests = [x[row, step : lengths[row]].tobytes() for row, step in places]
    assert len(set(starts)) == len(starts) > 30
    assert len(set(rests)) == len(rests)
    goal = Target.of(subject, "ones")
    assert goal.left is not None
    left = [lengths[row] - 1 - step for row, step in places]
    assert goal.left.tolist() == left
    features = clock_features(goal.step, goal.bin, goal.left)
    (score,) = goal.scores(features, [goal.left.astype(float)])
    assert score.value > 0.8


def test_many_units_are_read_by_their_largest_components() -> None:
    """What lies along a direction of much variance is still told, of more units than a probe reads."""
    rng = np.random.default_rng(0)
    hidden, fold = rng.normal(size=(700, 4)), np.arange(700) % 4
    states = hidden @ rng.normal(size=(4, 600)) + 0.01 * rng.normal(size=(700, 600))
    assert Features.of(states).of_states(states).shape == (700, MOST_FEATURES)
    assert Features.of(states[:, :30]).of_states(states[:, :30]).shape == (700, 30)
    told = Ridge().held_out(states, hidden[:, :1], by_sequence(fold))
    assert of_numbers(hidden[:, 0], told[:, 0], np.arange(700), 700).value > 0.99


def test_shuffled_weights_keep_each_gates_numbers_and_fresh_ones_torchs_bounds() -> None:
    """Every gate's block keeps its histogram, in another order; fresh weights are torch's; the network stays."""
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


class Undrawn(nn.Module):
    """A cell whose weights stand in it, and nobody says how they are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Return the next state."""
        return torch.tanh(x + h @ self.weight)


def test_weights_that_nobody_says_how_to_draw_are_shuffled() -> None:
    """All copies are, and each in another way."""
    made = dict(random_weights(Undrawn(), 2, seed=0, cells=["[0]"]))
    assert list(made) == [f"{SHUFFLED} 1", f"{SHUFFLED} 2"]
    assert not torch.equal(*(one.state_dict()["weight"] for one in made.values()))


def test_a_held_out_probe_finds_what_is_there_and_nothing_else() -> None:
    """A linear target is told exactly, a random one no better than its mean, from as many numbers as states."""
    rng = np.random.default_rng(0)
    states, parts = rng.normal(size=(200, 150)), by_sequence(np.arange(200) % 4)
    sequence = np.arange(200)
    there, noise = states @ rng.normal(size=150), rng.normal(size=200)
    both = np.column_stack([states[:, :20] @ rng.normal(size=20), noise])
    few = Ridge().held_out(states[:, :20], both, parts)
    assert of_numbers(noise, few[:, 1], sequence, 200).value < 0.05
    many = Ridge().held_out(states, np.column_stack([there, noise]), parts)
    assert of_numbers(there, many[:, 0], sequence, 200).value > 0.6
    assert -0.2 < of_numbers(noise, many[:, 1], sequence, 200).value < 0.1
    group = (states[:, 0] > 0).astype(float)
    told = Logistic().held_out(states[:, :3], group[:, None], parts)[:, 0]
    right = of_categories(group, told, sequence, 200).value
    chance = (noise > 0).astype(float)
    told = Logistic().held_out(states[:, :100], chance[:, None], parts)[:, 0]
    wrong = of_categories(chance, told, sequence, 200)
    assert right > 0.9
    assert wrong.value < 0.65


def test_scores_are_compared_on_the_same_sequences() -> None:
    """A difference that every sequence shows has a narrow interval, however far sequences lie apart."""
    rng = np.random.default_rng(0)
    lost, scale = rng.uniform(0, 1, 60), np.full(60, 2.0)
    worse, better = (Score(one[:, None], scale[:, None]) for one in (lost + 0.2, lost))
    low, high = better.above(worse, 0)
    assert low == pytest.approx(0.1, abs=1e-9)
    assert high == pytest.approx(0.1, abs=1e-9)
    ends = better.interval(0)
    assert ends[1] - ends[0] > 0.03
    assert ends[0] < better.value < ends[1]
    # R² does not change with where zero is.
    target, told = rng.normal(size=60), rng.normal(size=60)
    here, there = (of_numbers(target + far, told + far, np.arange(60), 60).value for far in (0, 100))
    assert here == pytest.approx(there)


def test_concepts_become_numbers_with_gaps() -> None:
    """Texts, truths and named numbers are categories; NaN, None and padding are gaps; numbers stay numbers."""
    small, lengths = np.zeros((2, 3, 1)), np.array([3, 2])
    texts = resolve("t", [["b", "a", ""], ["a", "b", "b"]], small, lengths)
    assert (texts.kind, texts.categories) == ("categorical", ("a", "b"))
    np.testing.assert_array_equal(texts.values, [[1, 0, np.nan], [0, 1, np.nan]])
    numbers = resolve("n", torch.tensor([[1.0, float("nan"), 3], [4, 5, 6]]), small, lengths)
    assert numbers.kind == "numeric"
    np.testing.assert_array_equal(numbers.values, [[1, np.nan, 3], [4, 5, np.nan]])
    truths = resolve("b", np.array([[True, False, True]] * 2), small, lengths)
    named = resolve("k", Concept(np.array([[3, 5, 3]] * 2), "categorical"), small, lengths)
    assert truths.is_categorical
    assert named.categories == (3, 5)
    assert named.said(1.0) == "5"
    gaps = resolve("f", lambda x: [None, *([2.5] * (len(x) - 1))], small, lengths)
    np.testing.assert_array_equal(gaps.values, [[np.nan, 2.5, 2.5], [np.nan, 2.5, np.nan]])
    with refused():
        _ = numbers.of_sequence(small[0])


def target() -> Target:
    """Return the count of ones at the sampled states of 160 sequences."""
    (subject,) = prepare(study_of(planted()))
    return Target.of(subject, "ones")


def test_what_only_tells_the_time_follows_nothing() -> None:
    """A unit that grows with the step correlates with a count, and not once the step is taken off."""
    goal = target()
    units = np.column_stack([goal.step.astype(float), goal.values, -goal.values + 0.0])
    assert follows(units, goal.values, goal.bin, named=False)[0] > 0.3
    np.testing.assert_allclose(goal.follows(units), [0, 1, 1], atol=1e-9)


def test_a_unit_that_holds_a_category_at_each_step_follows_it_wholly() -> None:
    """However far apart the categories stand at a step, and however often each is there."""
    goal = dataclasses.replace(target(), named=True, values=(target().values > 2).astype(float))
    units = np.column_stack([goal.values, goal.values * (goal.step + 1.0), goal.step.astype(float)])
    np.testing.assert_allclose(goal.follows(units), [1, 1, 0], atol=1e-9)
    alone = np.array([[1.0], [0.0], [0.0]])
    assert follows(alone, np.zeros(3), np.array([0, 1, 1]), named=True) == 0, (
        "of a step with one state nothing follows"
    )


def test_shuffled_values_keep_the_clock() -> None:
    """Within each step the same values stand in another order."""
    goal = target()
    for order in relabelled(goal.values, goal.bin, goal.sequence, 5, seed=0):
        assert not np.array_equal(order, goal.values)
        for step in np.unique(goal.step):
            here = goal.step == step
            assert sorted(order[here]) == sorted(goal.values[here])


def test_what_else_could_be_read_is_what_it_is_called() -> None:
    """The clock tells the step, and the last inputs are those of the last four steps."""
    goal, x = target(), torch.tensor(bits())
    inputs = inputs_around(x, goal.sequence, goal.step, range(0, -4, -1))
    some = int(np.flatnonzero(goal.step == 5)[0])
    row = goal.sequence[some]
    assert inputs[some].tolist() == x[row, [5, 4, 3, 2], 0].tolist()
    early = int(np.flatnonzero(goal.step == 0)[0])
    assert inputs[early, 1:].tolist() == [0, 0, 0]
    (score,) = goal.scores(clock_features(goal.step, goal.bin), [goal.step.astype(float)])
    assert score.value > 0.999


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_stack_is_run_from_any_state_as_the_module_runs(kind: Any, ragged: bool) -> None:
    """Its states are the recording's; another sequence's whole state gives what the spliced sequence gives."""
    torch.manual_seed(0)
    model = kind(1, 5, 2, batch_first=True)
    lengths = np.where(np.arange(40) % 2, 8, 6) if ragged else None
    head = nn.Linear(5, 9)
    study = Study(model, X, {"ones": ones}, lengths=lengths, readout=Readout("ones", function=head))
    (subject,) = prepare(study)
    end = ends_of(subject)
    assert end.whole is not ragged
    assert len(end.machine.clean.prefixes[0].rows) == (len(end.rows) if ragged else 2)
    steps = subject.lengths[end.rows]
    recording = probe.record(model.double(), torch.tensor(X[end.rows]).double())
    last = recording["[1]", "hidden_state"][torch.arange(len(end.rows)), torch.as_tensor(steps - 1)]
    torch.testing.assert_close(end.machine.clean.states[:, -1, -5:], last, rtol=0, atol=1e-6)
    place, base, source = end.steps - 3, torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    went = end.machine.answers(end.machine.clean.states[source, place], base, place).expected
    parts = zip(base.tolist(), source.tolist(), strict=True)
    spliced = [
        np.concatenate([X[end.rows[s], : steps[s] - 2], X[end.rows[b], steps[b] - 2 : steps[b]]]) for b, s in parts
    ]
    assert subject.head is not None
    with torch.no_grad():
        h = torch.stack([model(torch.tensor(one)[None].double())[0][0, -1] for one in spliced])
        expected = subject.head.expected(head.double()(h))
    torch.testing.assert_close(went, expected, rtol=0, atol=1e-6)
    task = task_of(subject)
    assert task.target(base, source, place).tolist() == [float(one.sum()) for one in spliced]


def test_names_of_concepts_stay_names(tmp_path: Path) -> None:
    """Two concepts of the same letters have folders of their own, and markup in a name stays text."""
    hostile = "</script><img src=x onerror=alert(1)>"
    same = np.ones(bits().shape[:2])  # of which nothing is drawn
    concepts = {"step": same, "Step!": same, hostile: Concept(ones, description=hostile)}
    report = report_of(study_of(planted(), concepts=concepts, readout=None, title=hostile), tmp_path)
    expected = {"reading-step", "reading-step-2", "reading-script-img-src-x-onerror-alert-1"}
    assert expected <= set(report.findings)
    assert len(report.findings["reading-script-img-src-x-onerror-alert-1"].figures) == 1
    assert "<img src=x" not in report.page.render()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_layer_that_a_wrapper_turns_is_recorded_in_the_inputs_order(kind: Any) -> None:
    """Its states are those of torch's own reverse direction, at every step; it would read padding first."""
    _ = torch.manual_seed(0)
    both: Any = kind(2, 3, batch_first=True, bidirectional=True)
    forward, backward = kind(2, 3, batch_first=True), kind(2, 3, batch_first=True)
    state = both.state_dict()
    forward.load_state_dict({name: one for name, one in state.items() if not name.endswith("_reverse")})
    backward.load_state_dict(
        {name.removesuffix("_reverse"): one for name, one in state.items() if name.endswith("_reverse")}
    )
    x, lengths = torch.randn(6, 5, 2), np.full(6, 5)
    model = NamedNetwork("rnn", BothWays(forward, backward, merge="sum"))
    names = {"rnn.forward_module[0]": "[0]", "rnn.backward_module[0].reverse": "[0].reverse"}
    for own, of_torch in names.items():
        for signal in find_layers(model, [own])[0].signals:
            found, expected = run(model, x, lengths, own, [signal]), run(both, x, lengths, of_torch, [signal])
            assert torch.allclose(found[own, signal], expected[of_torch, signal], atol=1e-6)
            assert found.max_error is not None
    with refused():
        _ = run(model, x, np.array([5, 3, 1, 3, 5, 2]), "rnn.backward_module[0].reverse", [Signal.HIDDEN_STATE])


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


def test_layers_that_have_seen_what_comes_next_are_known() -> None:
    """Those that read from the end, and those above one; the next inputs are what they have read."""
    rnn = nn.GRU(1, 3, num_layers=2, bidirectional=True, batch_first=True)
    (subject,) = prepare(Study(rnn, bits(40, 5), {"ones": ones}))
    assert reads_ahead(subject) == {"[0].reverse", "[1]", "[1].reverse"}
    assert not reads_ahead(*prepare(study_of(planted())))
    goal = Target.of(subject, "ones")
    x = subject.x[sample_of(subject).rows]
    found = inputs_around(x, goal.sequence, goal.step, range(1, 3))
    for at, (row, step) in enumerate(zip(goal.sequence, goal.step, strict=True)):
        rest = [*x[row, step + 1 : step + 3, 0].tolist(), 0.0, 0.0][:2]
        assert found[at].tolist() == rest


@pytest.mark.parametrize(
    "values",
    [
        [[1, "a", 2], ["b", 3, "c"]],
        lambda x: [1, "a", 2][: len(x)],
        np.array([[1, "a", 2], ["b", 3, "c"]], dtype=object),
        Concept([["1", 1, "1"], [1, 1, 1]], "categorical"),
        [[True, 2, 3], [4, 5, 6]],
        [[True, "yes", "no"], ["yes", "no", "no"]],
    ],
)
def test_values_of_several_sorts_are_refused(values: Any) -> None:
    """Where numpy would make texts of numbers, or numbers of truths, nobody knows what was meant."""
    with refused():
        _ = resolve("c", values, np.zeros((2, 3, 1)), np.array([3, 2]))


def test_a_list_is_what_its_values_are() -> None:
    """Gaps are no sort, numbers of numpy and torch are numbers, and what lies beyond a sequence is not looked at."""
    x, lengths = np.zeros((2, 3, 1)), np.array([3, 2])
    for values in (
        [[1.0, None, 3], [np.float32(4), 5, "padding"]],
        [[torch.tensor(1.0), None, torch.tensor(3)], [4, 5, 6]],
        [torch.tensor([1.0, torch.nan, 3.0]), np.array([4.0, 5.0, 6.0])],
    ):
        found = resolve("c", values, x, lengths)
        assert found.kind == "numeric"
        np.testing.assert_array_equal(found.values, [[1, np.nan, 3], [4, 5, np.nan]])
    texts = resolve("c", [["a", None, "b"], ["", "a", 7]], x, lengths)
    assert (texts.kind, texts.categories) == ("categorical", ("a", "b"))
