"""`groups=` of the probes: whole groups are held out and drawn, and near copies without groups are told of."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recorded import recording_of
from refusing import refused
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch import nn

import probe
from probe.methods.probing.groups import group_folds, near_copies
from probe.probes.points import GivenConcept

CONDITIONS, TRIALS, TIME = 12, 5, 10
GROUPS = np.repeat(np.arange(CONDITIONS), TRIALS)
#: Copies of twelve sequences, and a value of each of the twelve that has nothing to do with it.
RNG = np.random.default_rng(0)
COPIED = np.repeat(RNG.normal(size=(CONDITIONS, TIME, 3)), TRIALS, axis=0) + 1e-6 * RNG.normal(size=(60, TIME, 3))
NOISE = np.repeat(RNG.normal(size=CONDITIONS), TRIALS)
COPIES = pytest.mark.filterwarnings("ignore:60 sequences are nearly equal")


def network() -> nn.GRU:
    """Return an untrained network."""
    torch.manual_seed(0)
    return nn.GRU(3, 16, batch_first=True, dtype=torch.float64)


def recorded() -> probe.Recording:
    """Return a recording of an untrained network that read the copies."""
    return probe.record(network(), torch.tensor(COPIED))


def own(reading: Any) -> pd.Series:
    """Return the row of the network itself, of the hidden state."""
    return reading.summary[reading.summary["signal"] == "hidden_state"].iloc[0]


@COPIES
@pytest.mark.parametrize("read", [probe.linear_probe, probe.single_units])
def test_whole_groups_lie_in_one_fold(read: Callable[..., Any]) -> None:
    """Of copies in several folds a probe reads a value that is noise, and of whole groups it reads nothing."""
    alone, grouped = read(recorded(), NOISE), read(recorded(), NOISE, groups=GROUPS)
    folds = grouped.states("hidden_state").groupby(GROUPS[grouped.states("hidden_state")["row"]])["fold"]
    assert (folds.nunique() == 1).all()
    assert (alone.states("hidden_state").groupby("row")["fold"].nunique() == 1).all()
    assert own(grouped)["score"] < 0
    if read is probe.linear_probe:
        assert own(alone)["score"] > 0.2
    assert "60 sequences in 12 groups, each in one fold" in grouped.title


@COPIES
def test_the_score_of_groups_is_that_of_scikit_learn() -> None:
    """With the folds of the reading, and as good as with the folds that `GroupKFold` makes of the same groups."""
    states = RNG.normal(size=(60, TIME, 4))
    speaker = RNG.normal(size=(CONDITIONS, 1, 4))[GROUPS]
    values = states[..., 0] + speaker[..., 1]
    reading = probe.linear_probe(recording_of(states + speaker), values, groups=GROUPS, fit="least squares")
    found = reading.states()
    rows, places = found["row"].to_numpy(), found["place"].to_numpy()
    x, y = (states + speaker)[rows, places], found["value"].to_numpy()
    for groups, near in ((found["fold"].to_numpy(), 1e-8), (GROUPS[rows], 0.1)):
        predicted = cross_val_predict(LinearRegression(), x, y, groups=groups, cv=GroupKFold(4))
        assert abs(r2_score(y, predicted) - reading.summary["score"].iloc[0]) < near


def test_folds_of_groups_are_about_equally_large() -> None:
    """The largest group comes first, each into the fold that has fewest states: as `GroupKFold` cuts them."""
    group = np.repeat(np.arange(9), [40, 1, 9, 20, 20, 5, 5, 30, 10])
    folds = group_folds(group, 4, np.random.default_rng(1))
    assert sorted(np.bincount(folds)) == [31, 34, 35, 40]
    for one in np.unique(group):
        assert len(np.unique(folds[group == one])) == 1
    theirs = [len(test) for _, test in GroupKFold(4).split(group, groups=group)]
    assert sorted(theirs) == sorted(np.bincount(folds))


def test_intervals_are_over_groups() -> None:
    """Ten equal sequences in each group: the interval is as wide as of one sequence each, and not a third of it."""
    states, noise = RNG.normal(size=(20, TIME, 3)), RNG.normal(size=(20, TIME))
    values = states[..., 0] + noise * np.repeat([0.2, 2.0], 10)[:, None]
    once = probe.linear_probe(recording_of(states), values)
    many = recording_of(np.repeat(states, 10, axis=0) + 1e-3 * RNG.normal(size=(200, TIME, 3)))
    grouped = probe.linear_probe(many, np.repeat(values, 10, axis=0), groups=np.repeat(np.arange(20), 10))
    with warnings.catch_warnings(record=True):
        alone = probe.linear_probe(many, np.repeat(values, 10, axis=0))
    wide = [float(np.ptp(own(each)[["low", "high"]])) for each in (once, grouped, alone)]
    assert 0.6 < wide[1] / wide[0] < 1.6
    assert wide[2] < 0.5 * wide[1]


@COPIES
def test_a_value_of_whole_groups_is_shuffled_among_groups() -> None:
    """The shuffled concept has one value in each group too; one that differs within groups moves by sequence."""
    points = GivenConcept(NOISE, "", 4, 0, GROUPS).points(recorded(), recorded().parts[0])
    (order,) = points.shuffled(1, seed=0)
    assert all(len(np.unique(order[points.group == one])) == 1 for one in range(CONDITIONS))
    assert not np.array_equal(order, points.values)
    assert sorted(order[np.unique(points.group, return_index=True)[1]]) == sorted(np.unique(NOISE))
    (order,) = replace(points, values=points.sequence.astype(float)).shuffled(1, seed=0)
    assert all(len(np.unique(order[points.sequence == one])) == 1 for one in range(60))
    assert any(len(np.unique(order[points.group == one])) > 1 for one in range(CONDITIONS))


def test_categories_of_one_group_are_left_out() -> None:
    """A probe that is scored on another group never saw them; the title names them."""
    groups = np.repeat(np.arange(8), 10)
    named = np.where(groups == 0, "only one", np.where(np.arange(80) % 2, "odd", "even"))
    reading = probe.linear_probe(recording_of(RNG.normal(size=(80, TIME, 3))), named, groups=groups)
    assert reading.title.endswith("left out, in too few sequences or groups: only one")


GIVEN: dict[str, Any] = {
    "texts": np.array(["Ada", "Bo", "Cy", "Di"])[GROUPS % 4],
    "list": [f"story {number}" for number in GROUPS],
    "tensor": torch.tensor(GROUPS),
    "series": pd.Series(GROUPS, index=range(9, 69)),
    "categories": pd.Categorical(GROUPS.astype(str)),
    "tuples": [(int(number) % 6, int(number) // 6) for number in GROUPS],
}


@COPIES
@pytest.mark.parametrize("name", GIVEN)
def test_groups_may_be_anything_that_can_be_told_apart(name: str) -> None:
    """Texts, numbers, a tensor, a column of a table: the group is the value, in any order."""
    codes = pd.factorize(np.array([str(value) for value in GIVEN[name]]))[0]
    found = probe.linear_probe(recorded(), NOISE, groups=GIVEN[name], signals=["hidden_state"]).states()
    assert (found.groupby(codes[found["row"]])["fold"].nunique() == 1).all()


REFUSED: list[dict[str, Any]] = [
    {"groups": GROUPS[1:]},
    {"groups": np.repeat(GROUPS[:, None], TIME, axis=1)},
    {"groups": "speaker"},
    {"groups": 3},
    {"groups": [None, *GROUPS[1:]]},
    {"groups": [float("nan"), *GROUPS[1:]]},
    {"groups": ["Ada"] * 60},
    {"groups": GROUPS % 3},
    {"groups": GROUPS % 4, "folds": 5},
    {"groups": GROUPS % 2},
    {"groups": [[number] for number in GROUPS]},
    {"groups": [{"speaker": number} for number in GROUPS]},
]


@COPIES
def test_groups_that_hold_nothing_out_are_refused() -> None:
    """With what was given, how many there are, and what is wanted."""
    for options in REFUSED:
        with refused():
            probe.linear_probe(recorded(), NOISE, **options)
    with refused():
        probe.single_units(recorded(), NOISE, groups=GROUPS % 3)
    with refused():  # a category a group
        probe.linear_probe(recorded(), GROUPS.astype(str), groups=GROUPS)


@pytest.mark.parametrize("size", [1e-6, 1e-3])
def test_near_copies_in_several_folds_are_told_of(size: float) -> None:
    """A warning and the printed reading say how many and what to give; with the right groups neither does."""
    copies = np.repeat(COPIED[::TRIALS], TRIALS, axis=0) + size * RNG.normal(size=COPIED.shape)
    recording = probe.record(network(), torch.tensor(copies))
    with pytest.warns(UserWarning, match=r"60 sequences are nearly equal .* groups="):
        reading = probe.linear_probe(recording, NOISE)
    assert "60 sequences nearly equal one of another fold: see groups=." in repr(reading)
    with warnings.catch_warnings(record=True) as met:
        assert "see groups=" not in repr(probe.single_units(recording, NOISE, groups=GROUPS))
    assert not met


def test_near_copies_are_found_in_states_alone() -> None:
    """Of a recording that does not say what was read."""
    whole = recording_of(COPIED)
    unread = replace(whole, parts=(replace(whole.parts[0], inputs=None),))
    with pytest.warns(UserWarning, match="60 sequences are nearly equal"):
        probe.linear_probe(unread, NOISE)


def _several_lengths(rng: np.random.Generator) -> list[np.ndarray]:
    """Return strings of bits and their lengths: those that end in zeros differ in the length alone."""
    lengths = rng.integers(1, 9, 200)
    data = np.arange(8) < lengths[:, None]
    strings = np.unique(np.column_stack([rng.integers(0, 2, (200, 8)) * data, data]), axis=0)
    return [strings[:, :8].astype(float), strings[:, 8:].astype(float)]


DENSE: dict[str, Callable[[np.random.Generator], list[np.ndarray]]] = {
    "all strings of ten bits": lambda _: [np.array(list(itertools.product([0.0, 1.0], repeat=10)))],
    "strings of several lengths": _several_lengths,
    "noise": lambda rng: [rng.normal(size=(60, 30))],
    "one number a sequence": lambda rng: [np.repeat(rng.normal(size=(300, 1)), 20, axis=1)],
    "two numbers a sequence": lambda rng: [rng.normal(size=(2_000, 2))],
    "waves of any phase": lambda rng: [np.sin(np.arange(50) / 5 + rng.uniform(0, 7, (200, 1)))],
    "heavy tails": lambda rng: [rng.standard_cauchy((200, 30))],
    "noisy trials": lambda rng: [np.repeat(rng.normal(size=(8, 30)), 20, 0) + 0.1 * rng.normal(size=(160, 30))],
    "one input, other initial states": lambda rng: [np.ones((60, 30)), rng.normal(size=(60, 8))],
    "tokens": lambda rng: [rng.integers(0, 30, (300, 12)).astype(float)],
}


@pytest.mark.parametrize("name", DENSE)
def test_sequences_that_lie_densely_are_no_copies(name: str) -> None:
    """They have close neighbours too, but no gap around them: no false alarm in a hundred draws."""
    for seed in range(100 if name != "two numbers a sequence" else 10):
        rng = np.random.default_rng(seed)
        blocks = DENSE[name](rng)
        assert not near_copies(blocks, rng.permutation(len(blocks[0])) % 4).any()


def test_ten_thousand_sequences_take_no_table_of_pairs() -> None:
    """Each is compared with its neighbours alone: pairs of copies are found among 10,000."""
    rng = np.random.default_rng(0)
    copies = np.repeat(rng.normal(size=(5_000, 20)), 2, axis=0) + 1e-6 * rng.normal(size=(10_000, 20))
    found = near_copies([copies], rng.permutation(10_000) % 4)
    assert 0.7 < found.mean() < 0.8  # three of four pairs lie in two folds
    assert not near_copies([copies], np.arange(10_000) // 2 % 4).any()
