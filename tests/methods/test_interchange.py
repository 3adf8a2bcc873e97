"""Interchange on networks with known answers: what is put in moves the answer by exactly what it should."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from known_machines import LEAD, LENGTH, READ, WINS, Reader, Tally, X, machine_of
from refusing import refused

from probe.methods.causal.interchange import Scores, interchange
from probe.methods.causal.pairs import Pairs, Put, all_pairs, along, columns, whole
from probe.methods.causal.task import Task, added
from probe.methods.machines import Machine

TASK = Task(WINS)
STEPS = range(LENGTH)


def by_hand(model: torch.nn.Module, step: int, put: Put) -> list[float]:
    """Return iia, unpatched, whole, shift and how many pairs by the definition: every pair a run of its own."""
    sources = [row for row in range(len(X)) if not row % 2 ** (LENGTH - 1 - step)]
    base = torch.tensor([row for row in range(len(X)) for _ in sources])
    source = torch.tensor(sources * len(X))
    machine = machine_of(model)
    found = machine.answers(put(Pairs(machine, step, base, source)), base, step)
    target = (WINS[source, step] + WINS[base, -1] - WINS[base, step]).double()
    joined = torch.cat([X[source, : step + 1], X[base, step + 1 :]], 1).double()
    with torch.no_grad():
        spliced = READ["answer"](copy.deepcopy(model).double()(joined))
    changed = WINS[source, step] != WINS[base, step]
    answers = found.chosen, machine.clean.answers.chosen[base], spliced
    shares = [float((one == target)[changed].double().mean()) for one in answers]
    moved, way = found.expected - machine.clean.answers.expected[base], target - WINS[base, -1]
    return [*shares, float(moved @ way / (way @ way)), len(base), int(changed.sum())]


def numbers(scores: Scores) -> list[float]:
    """Return the numbers that `by_hand` returns."""
    return [scores.iia, scores.unpatched, scores.whole, scores.shift, scores.pairs, scores.changed]


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("step", [0, 2])
def test_a_random_network_gives_what_pairs_run_one_by_one_give(kind: str, step: int) -> None:
    """Sharing prefixes and suffixes changes nothing: the numbers equal those of the definition."""
    machine = machine_of(Reader(kind))
    for put in (whole, columns([0]), columns(slice(1, 3)), along(np.ones(machine.dynamics.size))):
        found = interchange(all_pairs(machine, step), TASK, put)
        assert numbers(found) == pytest.approx(by_hand(Reader(kind), step, put), abs=1e-12)
        way = found.whole - found.unpatched
        assert not way or found.score == pytest.approx((found.iia - found.unpatched) / way)


def test_drawn_pairs_agree_with_all_of_them() -> None:
    """Pairs drawn with a seed estimate the share of all pairs; another seed draws others."""
    machine = machine_of(Reader("gru"))
    put = columns([0, 2])
    exact = interchange(all_pairs(machine, 3), TASK, put)
    drawn = [interchange(all_pairs(machine, 3, most=400, seed=seed), TASK, put) for seed in (0, 0, 1)]
    assert repr(drawn[0]) == repr(drawn[1]) != repr(drawn[2])  # since Python 3.13 NaN makes them differ
    for scores in drawn:
        assert scores.pairs == 400
        assert scores.iia == pytest.approx(exact.iia, abs=0.1)
        assert scores.shift == pytest.approx(exact.shift, abs=0.15)


def test_inputs_that_are_not_all_sequences_have_every_row_as_source() -> None:
    """Where prefixes are not equally frequent each sequence counts once; duplicates weigh twice."""
    machine = machine_of(Reader("gru"), X[[0, 0, 5, 9, 31, 30]])
    task = Task(WINS[[0, 0, 5, 9, 31, 30]])
    for step in STEPS:
        pairs = all_pairs(machine, step)
        assert (len(pairs), pairs.exhaustive) == (36, True)
        one = Pairs(machine, step, pairs.base, pairs.source)
        for put in (whole, columns([1])):
            found = numbers(interchange(pairs, task, put))
            assert found == pytest.approx(numbers(interchange(one, task, put)), abs=1e-12)


def test_what_is_put_in_is_what_its_name_says() -> None:
    """Columns are the source's, the others the base's; along a basis only the projection moves."""
    machine = machine_of(Reader("lstm"))
    pairs = Pairs(machine, 2, torch.tensor([3, 4]), torch.tensor([28, 9]))
    base, source = machine.clean.states[[3, 4], 2], machine.clean.states[[28, 9], 2]
    mixed = columns([1, 4])(pairs)
    assert torch.equal(mixed[:, [1, 4]], source[:, [1, 4]])
    assert torch.equal(mixed[:, [0, 2, 3, 5]], base[:, [0, 2, 3, 5]])
    assert torch.equal(whole(pairs), source)
    direction = np.array([3.0, 0, 0, 4, 0, 0])
    moved = along(direction)(pairs)
    unit = torch.as_tensor(direction / 5)
    assert torch.allclose(moved @ unit, source @ unit, atol=1e-12)
    assert torch.allclose(moved - (moved @ unit)[:, None] * unit, base - (base @ unit)[:, None] * unit, atol=1e-12)
    assert torch.allclose(along(np.eye(6)[:, [2, 5]])(pairs), columns([2, 5])(pairs), atol=1e-12)


def test_a_task_says_what_the_answer_should_be() -> None:
    """A sum adds what the base's suffix adds; another combination takes its place."""
    base, source = torch.tensor([0b00011]), torch.tensor([0b11100])
    assert (TASK.target(base, source, 2).tolist(), Task(LEAD).target(base, source, 2).tolist()) == ([5], [5])
    assert added(torch.tensor([3]), torch.tensor([0]), torch.tensor([2])).tolist() == [5]
    kept = Task(WINS, combine=lambda source, base, final: final)
    assert kept.target(base, source, 2).tolist() == [2]
    machine = machine_of(Tally())
    assert all_pairs(machine, -1).step == LENGTH - 1
    scores = interchange(all_pairs(machine, 2), kept, columns([0]))
    assert scores.unpatched == 1
    assert math.isnan(scores.shift)
    never = interchange(all_pairs(machine, 2), Task(torch.zeros_like(WINS)), whole)
    assert never.changed == 0
    assert math.isnan(never.iia + never.score)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda machine: all_pairs(machine, LENGTH),
        lambda machine: all_pairs(machine, 0, most=0),
        lambda machine: interchange(all_pairs(machine, 0), Task(WINS[:, 1:]), whole),
        lambda _: along(np.zeros(2)),
        lambda _: along(np.ones((3, 2))),
        lambda _: along(np.eye(3)[:2]),
        lambda _: Task(torch.zeros(4)),
        lambda _: Task(torch.full((4, 2), math.nan)),
    ],
)
def test_what_does_not_exist_is_refused(wrong: Callable[[Machine], object]) -> None:
    """Steps, pairs and concepts that cannot be are named."""
    with refused():
        wrong(machine_of(Tally()))
