"""Questions about several answers at every step, on flip-flops built by hand whose fixed points are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from flipflop_by_hand import BITS, TIME, Latch, held, pulses, subjects
from known_machines import READ, WINS, Reader, X
from refusing import refused

from probe.evidence.measurements import Network
from probe.methods.causal.directions import joint_directions
from probe.methods.causal.pairs import Pairs, along_coordinate
from probe.questions.answers import answers
from probe.questions.interventions import single_answers
from probe.questions.states import stable_answers
from probe.subjects.concepts import NUMERIC, Known
from probe.subjects.ends import runs_of
from probe.subjects.subject import Subject, by_network

mpl.use("agg")
ZERO = torch.zeros(BITS).double()
RAGGED = np.where(np.arange(60) % 3 == 0, 7, TIME)


def value(table: pd.DataFrame, metric: str, **columns: Any) -> float:
    """Return the value of the only such row."""
    rows = table[table["metric"] == metric]
    for name, wanted in columns.items():
        rows = rows[rows[name] == wanted]
    (found,) = rows["value"]
    return float(found)


def test_a_latch_holds_each_combination_in_one_stable_point_with_saddles_between() -> None:
    """Each unit rests at 0 and at the two solutions of h = tanh(2 h): 4 stable points, 4 saddles, and 1 repeller."""
    h = 0.9575040240772687
    assert math.tanh(2 * h) == pytest.approx(h, abs=1e-15)
    table = stable_answers.measure(subjects(Latch()), silent=ZERO, starts=150, noise=0.7)
    wanted = {"fixed_points": 9, "stable_points": 4, "slow_points": 0, "one_stable_each": 1, "starts_reached": 1}
    assert {metric: value(table, metric) for metric in wanted} == wanted
    assert [value(table, "points_unstable_in", at=float(n)) for n in range(3)] == [4, 4, 1]
    for kind in ("-1,-1", "-1,1", "1,-1", "1,1"):
        assert value(table, "stable_points_answering", kind=kind) == 1
    moduli = table[table["metric"] == "point_modulus"]["value"]
    slope = 2 * (1 - h**2)
    assert sorted(moduli) == pytest.approx([slope] * 4 + [2.0] * 5, abs=1e-6)
    points = table[table["metric"] == "point_unstable"]
    assert sorted(points["value"]) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert set(points[points["value"] == 0]["kind"]) == {"-1,-1", "-1,1", "1,-1", "1,1"}


def test_visited_states_alone_lead_to_the_stable_points() -> None:
    """Without noise a latch's visited states lie near its corners."""
    table = stable_answers.measure(subjects(Latch(), lengths=RAGGED), silent=ZERO)
    assert (value(table, "stable_points"), value(table, "one_stable_each")) == (4, 1)


def test_a_network_that_forgets_has_one_stable_point() -> None:
    """h = tanh(h / 2) at 0 alone, so that no combination but one is held."""
    table = stable_answers.measure(subjects(Latch(0.5)), silent=ZERO, starts=40)
    assert (value(table, "fixed_points"), value(table, "stable_points"), value(table, "one_stable_each")) == (1, 1, 0)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
def test_one_bit_of_a_latch_is_interchanged_and_the_other_stays(lengths: np.ndarray | None) -> None:
    """Each bit is a unit of its own: all later answers follow until the next pulse, and no other changes."""
    table = single_answers.measure(subjects(Latch(), lengths=lengths), steps=(3, 5), pairs=80)
    for metric in ("worst_followed", "worst_followed_whole", "worst_score", "worst_kept"):
        assert value(table, metric) == 1
    for bit in ("bit 0", "bit 1"):
        assert value(table, "followed_unpatched", kind=bit) == 0
        assert value(table, "followed_after", kind=bit, at=1.0) == 1
    counted = table[table["metric"] == "followed_after"].groupby("kind")["n"].sum()
    judged = table[table["metric"] == "followed"].set_index("kind")["n"]
    assert counted.to_dict() == judged.to_dict()


def test_one_answer_alone_follows_its_direction_and_keeps_no_others() -> None:
    """There are no others. In 30 sequences the bits go together a little, so that its direction has some of both."""
    table = single_answers.measure(subjects(Latch())[:1], steps=(3, 5), pairs=80)
    assert value(table, "worst_followed_whole") == 1
    assert 0.8 < value(table, "worst_followed") == value(table, "worst_score") < 1
    assert not {"others_kept", "worst_kept"} & set(table["metric"])
    assert len(single_answers.draw(table).get_xticks()) == 2


def test_how_many_answers_are_judged_is_known() -> None:
    """Of each pair that differs in a bit: the steps after the patch and before the base's next pulse on it."""
    step = 4
    table = single_answers.measure(subjects(Latch()), steps=step, pairs=50)
    x = pulses().numpy()
    generator = np.random.default_rng([0, step])
    test = generator.permutation(len(x))[len(x) // 2 :]
    base, source = (test[generator.integers(0, len(test), 50)] for _ in range(2))
    for bit in range(BITS):
        count = 0
        for b, s in zip(base, source, strict=True):
            if held(bit, x[b])[step] != held(bit, x[s])[step]:
                later = np.flatnonzero(x[b, step + 1 :, bit])
                count += int(later[0]) if len(later) else TIME - step - 1
        assert int(table[(table["metric"] == "followed") & (table["kind"] == f"bit {bit}")]["n"].iloc[0]) == count


def test_a_network_that_forgets_at_once_follows_nothing() -> None:
    """The whole state answers as no patch does, so that there is no score."""
    table = single_answers.measure(subjects(Latch(0.0)), steps=3, pairs=80)
    assert (table["metric"] == "followed_score").sum() == (table["metric"] == "worst_score").sum() == 0
    assert value(table, "worst_followed") == value(table, "worst_followed_whole") < 0.7


def test_bits_that_hear_each_other_do_not_stay() -> None:
    """A unit that is driven by the one before it is moved with it: the other answers are not kept."""
    table = single_answers.measure(subjects(Latch(1.5, crossed=1.5)), steps=3, pairs=80)
    assert value(table, "worst_kept") < 0.9


def test_steps_that_are_not_answered_are_not_judged() -> None:
    """Where the readout answers after the last step alone, only that is counted."""
    table = single_answers.measure(subjects(Latch(), steps="last"), steps=9, pairs=80)
    assert set(table[table["metric"] == "followed_after"]["at"]) == {2.0}


def test_answers_are_counted_after_every_step() -> None:
    """A latch is right everywhere; one that forgets is right where nothing is to be remembered, or by chance."""
    table = answers.measure_steps(subjects(Latch(), lengths=RAGGED))
    assert value(table, "worst_step_error") == 0
    assert table[table["metric"] == "step_error"]["n"].tolist() == [RAGGED.sum()] * 2
    assert value(table, "step_error_at", kind="bit 0", step=8) == 0
    forgets = answers.measure_steps(subjects(Latch(0.0)))
    assert value(forgets, "step_error_at", kind="bit 0", step=0) == 0
    x = pulses().numpy()
    wrong = [(held(0, row) == 1) & (row[:, 0] == 0) for row in x]  # 0 is as near to both, and read as the first
    assert value(forgets, "step_error", kind="bit 0") == pytest.approx(np.mean(wrong), abs=1e-12)


def test_the_figures_show_each_network() -> None:
    """A dot a network in each column."""
    several = [*subjects(Latch(), "one"), *subjects(Latch(1.5), "two")]
    for draw, table in (
        (answers.draw, answers.measure_steps(several)),
        (single_answers.draw, single_answers.measure(several, steps=3, pairs=30)),
    ):
        axes = draw(table)
        assert [np.size(line.get_xdata()) for line in axes.lines].count(2) >= len(axes.get_xticks())


def test_joint_directions_are_found_where_they_are_not_orthogonal() -> None:
    """States made of three directions and noise: the readings are 1 on their own direction and 0 on the others."""
    generator = np.random.default_rng(0)
    wanted, concepts = generator.normal(size=(3, 6)), generator.normal(size=(200, 3))
    encodings, readings = joint_directions(concepts @ wanted + 2.0, concepts)
    assert encodings == pytest.approx(wanted, abs=1e-12)
    assert readings @ encodings.T == pytest.approx(np.eye(3), abs=1e-12)
    with refused():
        _ = joint_directions(concepts @ wanted, concepts[:, [0, 1, 1]])
    with refused():
        _ = joint_directions(concepts[:, [0]] @ wanted[[0]], concepts)


def test_a_coordinate_is_put_in_and_the_others_stay() -> None:
    """b + e w (s - b): what is read along w is the source's, and what another reading sees is the base's."""
    machine = runs_of(subjects(Latch())[0])
    pairs = Pairs(machine, 3, torch.arange(20), torch.arange(20, 40))
    encodings = np.array([[1.0, 0.5], [0.0, 1.0]])
    readings = np.linalg.pinv(encodings).T
    after = along_coordinate(encodings[0], readings[0])(pairs).numpy()
    base, source = pairs.base_states.numpy(), pairs.source_states.numpy()
    assert after @ readings[0] == pytest.approx(source @ readings[0], abs=1e-12)
    assert after @ readings[1] == pytest.approx(base @ readings[1], abs=1e-12)
    with refused():
        _ = along_coordinate(np.array([2.0, 0.0]), np.array([1.0, 0.0]))


def test_subjects_of_one_network_must_be_its_answers() -> None:
    """They are grouped by name, in order, and differ in the readout alone."""
    one, two = subjects(Latch(), "one"), subjects(Latch(), "two")
    assert [[each.network.name for each in group] for group in by_network([*one, *two])] == [["one"] * 2, ["two"] * 2]
    with refused():
        _ = by_network([one[0], replace(one[1], x=one[1].x + 1)])
    with refused():
        _ = by_network([one[0], *subjects(Latch(1.5), "one")])
    with refused():
        _ = by_network([one[0], one[0]])


def test_several_answers_that_cannot_be_asked_are_refused() -> None:
    """Concepts without a function, steps without a later one, too few sequences."""
    latch = subjects(Latch())
    with refused():
        _ = single_answers.measure(latch, steps=-1)
    with refused():
        _ = single_answers.measure(latch, steps=12)
    never = [replace(each, allowed=lambda _: False) for each in latch]
    with refused():
        _ = single_answers.measure(never, steps=3)
    array = {name: Known(name, NUMERIC, known.values) for name, known in latch[0].concepts.items()}
    with refused():
        _ = single_answers.measure([replace(each, concepts=array) for each in latch], steps=3)
    short = np.where(np.arange(60) < 6, TIME, 4)
    with refused():
        _ = single_answers.measure(subjects(Latch(), lengths=short), steps=5)
    with refused():
        _ = stable_answers.measure(latch, silent=torch.zeros(3).double())
    undefined = {name: replace(known, values=np.full(known.values.shape, np.nan)) for name, known in array.items()}
    with refused():
        _ = answers.measure_steps([replace(each, concepts=undefined) for each in latch])
    with refused():
        _ = answers.measure_steps([Subject.of(Network("n", "planted", Reader("gru")), X, WINS, **READ)])
