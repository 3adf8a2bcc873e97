"""Questions about several answers at every step, on flip-flops built by hand whose fixed points are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flipflop_by_hand import BITS, TIME, Latch, held, pulses, subjects
from refusing import refused
from tables_read import by, rows, value, values

from probe.methods.causal.directions import joint_directions
from probe.methods.causal.pairs import Pairs, along_coordinate
from probe.questions import Question
from probe.questions.answers import answers
from probe.questions.interventions import single_answers
from probe.questions.states import stable_answers
from probe.subjects.ends import runs_of

ZERO = torch.zeros(BITS).double()
RAGGED = np.where(np.arange(60) % 3 == 0, 7, TIME)
NAMES = ("bit 0", "bit 1")


def test_a_latch_holds_each_combination_in_one_stable_point_with_saddles_between() -> None:
    """Each unit rests at 0 and at the two solutions of h = tanh(2 h): 4 stable points, 4 saddles, and 1 repeller."""
    h = 0.9575040240772687
    assert math.tanh(2 * h) == pytest.approx(h, abs=1e-15)
    table = stable_answers.measure(subjects(Latch()), silent=ZERO, starts=150, noise=0.7)
    wanted = {"fixed_points": 9, "stable_points": 4, "slow_points": 0, "one_stable_each": 1, "starts_reached": 1}
    assert {metric: value(table, metric) for metric in wanted} == wanted
    assert by("at", table, "points_unstable_in") == {0: 4, 1: 4, 2: 1}
    corners = ("-1,-1", "-1,1", "1,-1", "1,1")
    assert by("kind", table, "stable_points_answering") == dict.fromkeys(corners, 1)
    moduli, slope = values(table, "point_modulus"), 2 * (1 - h**2)
    assert sorted(moduli) == pytest.approx([slope] * 4 + [2.0] * 5, abs=1e-6)
    assert sorted(values(table, "point_unstable")) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert set(rows(table, "point_unstable", value=0)["kind"]) == set(corners)
    # A latch's visited states alone lead to its corners; h = tanh(h / 2), which forgets, rests at 0.
    for model, lengths, points in ((Latch(), RAGGED, (4, 1)), (Latch(0.5), None, (1, 0))):
        table = stable_answers.measure(subjects(model, lengths=lengths), silent=ZERO, starts=40)
        assert (value(table, "stable_points"), value(table, "one_stable_each")) == points


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
def test_one_bit_of_a_latch_is_interchanged_and_the_other_stays(lengths: np.ndarray | None) -> None:
    """Each bit is a unit of its own: all later answers follow until the next pulse, and no other changes."""
    table = single_answers.measure(subjects(Latch(), lengths=lengths), steps=(3, 5), pairs=80)
    for metric in ("worst_followed", "worst_followed_whole", "worst_score", "worst_kept"):
        assert value(table, metric) == 1
    assert by("kind", table, "followed_unpatched") == dict.fromkeys(NAMES, 0)
    assert by("kind", table, "followed_after", at=1) == dict.fromkeys(NAMES, 1)
    counted = rows(table, "followed_after").groupby("kind")["n"].sum()
    assert counted.to_dict() == rows(table, "followed").set_index("kind")["n"].to_dict()


def test_how_many_answers_are_judged_is_known() -> None:
    """Of each pair that differs in a bit: the steps after the patch and before the base's next pulse on it."""
    step, x, generator = 4, pulses().numpy(), np.random.default_rng([0, 4])
    table = single_answers.measure(subjects(Latch()), steps=step, pairs=50)
    test = generator.permutation(len(x))[len(x) // 2 :]
    base, source = (test[generator.integers(0, len(test), 50)] for _ in range(2))
    for bit, name in enumerate(NAMES):
        count = 0
        for b, s in zip(base, source, strict=True):
            if held(bit, x[b])[step] != held(bit, x[s])[step]:
                later = np.flatnonzero(x[b, step + 1 :, bit])
                count += int(later[0]) if len(later) else TIME - step - 1
        assert rows(table, "followed", kind=name)["n"].tolist() == [count]
    # Where the readout answers after the last step alone, only that is counted.
    last = single_answers.measure(subjects(Latch(), steps="last"), steps=9, pairs=80)
    assert set(rows(last, "followed_after")["at"]) == {2.0}


def test_what_does_not_hold_its_bits_apart_is_seen() -> None:
    """One that forgets at once follows nothing, and has no score; bits that hear each other are not kept."""
    table = single_answers.measure(subjects(Latch(0.0)), steps=3, pairs=80)
    assert not len(rows(table, "followed_score")) + len(rows(table, "worst_score"))
    assert value(table, "worst_followed") == value(table, "worst_followed_whole") < 0.7
    crossed = single_answers.measure(subjects(Latch(1.5, crossed=1.5)), steps=3, pairs=80)
    assert value(crossed, "worst_kept") < 0.9
    # One answer alone has no others. In 30 sequences the bits go together a little: its direction has some of both.
    alone = single_answers.measure(subjects(Latch())[:1], steps=(3, 5), pairs=80)
    assert value(alone, "worst_followed_whole") == 1
    assert 0.8 < value(alone, "worst_followed") == value(alone, "worst_score") < 1
    assert not {"others_kept", "worst_kept"} & set(alone["metric"])


def test_answers_are_counted_after_every_step() -> None:
    """A latch is right everywhere; one that forgets is right where nothing is to be remembered, or by chance."""
    table = answers.measure_steps(subjects(Latch(), lengths=RAGGED))
    assert value(table, "worst_step_error") == value(table, "step_error_at", kind="bit 0", step=8) == 0
    assert rows(table, "step_error")["n"].tolist() == [RAGGED.sum()] * 2
    forgets = answers.measure_steps(subjects(Latch(0.0)))
    assert value(forgets, "step_error_at", kind="bit 0", step=0) == 0
    wrong = [(held(0, row) == 1) & (row[:, 0] == 0) for row in pulses().numpy()]  # 0 is as near to both
    assert value(forgets, "step_error", kind="bit 0") == pytest.approx(np.mean(wrong), abs=1e-12)


def test_a_control_with_several_answers_is_one_network() -> None:
    """Of two fitted heads the first alone is asked, and with each of its answers."""
    latch, *heads = [
        [replace(one, network=replace(one.network, name=name, role=role)) for one in subjects(Latch())]
        for name, role in (("latch", "trained"), ("latch/first", "fitted head"), ("latch/second", "fitted head"))
    ]
    measure = answers.measure_steps
    asked = Question("told", "Is it told?", measure).ask([*latch, *heads[0], *heads[1]])
    assert rows(asked, "step_error").groupby("network").size().to_dict() == {"latch": BITS, "latch/first": BITS}


def test_joint_directions_are_found_where_they_are_not_orthogonal() -> None:
    """States made of three directions and noise: the readings are 1 on their own direction and 0 on the others."""
    generator = np.random.default_rng(0)
    wanted, concepts = generator.normal(size=(3, 6)), generator.normal(size=(200, 3))
    encodings, readings = joint_directions(concepts @ wanted + 2.0, concepts)
    assert encodings == pytest.approx(wanted, abs=1e-12)
    assert readings @ encodings.T == pytest.approx(np.eye(3), abs=1e-12)
    # b + e w (s - b): what is read along w is the source's, and what another reading sees is the base's.
    pairs = Pairs(runs_of(subjects(Latch())[0]), 3, torch.arange(20), torch.arange(20, 40))
    own = np.linalg.pinv(both := np.array([[1.0, 0.5], [0.0, 1.0]])).T
    after = along_coordinate(both[0], own[0])(pairs).numpy()
    assert after @ own[0] == pytest.approx(pairs.source_states.numpy() @ own[0], abs=1e-12)
    assert after @ own[1] == pytest.approx(pairs.base_states.numpy() @ own[1], abs=1e-12)
    cases: list[Any] = [
        lambda: joint_directions(concepts @ wanted, concepts[:, [0, 1, 1]]),
        lambda: joint_directions(concepts[:, [0]] @ wanted[[0]], concepts),
        lambda: along_coordinate(np.array([2.0, 0.0]), np.array([1.0, 0.0])),
    ]
    for ask in cases:
        with refused():
            ask()
