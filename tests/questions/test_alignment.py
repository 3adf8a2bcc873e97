"""Searched directions and erasure, on a tally whose direction is known and on a GRU that nobody trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import Tally, subjects
from readers_by_hand import COUNT, LENGTH, READ, Reader, X
from tables_read import by, rows, value, values

from probe.evidence.measurements import Network
from probe.methods.causal.alignment import Alignment, Search, search
from probe.methods.causal.alignment_controls import Half, halves, mean_gradient, pairs_among
from probe.methods.causal.erasure import leace, one_hot, projected_out
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import along
from probe.methods.causal.support import OffSupport
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.questions.interventions import alignment, erasure

TASK = Task(COUNT)


def fitted() -> Reader:
    """Return a GRU that nothing trained, with a readout by least squares."""
    model = Reader("gru", None, 4)
    with torch.no_grad():
        states = model.rnn(X)[0][:, -1].numpy()
        weight = np.linalg.lstsq(np.column_stack([states, np.ones(len(X))]), COUNT[:, -1].numpy())[0]
        model.head.weight[0], model.head.bias[0] = torch.as_tensor(weight[:-1]), weight[-1]
    return model


NETWORKS = {
    "tally": Network("tally", "planted", Tally(2, loud=0.2)),
    "gru": Network("gru", "trained", Reader("gru", units=4), 1),
    "fitted": Network("fitted", "fitted head", fitted(), 1),
}


def searched(machine: Machine, iterations: int) -> Iterator[tuple[Half, Alignment]]:
    """Yield each half with the two directions that a search by hand finds on its other prefixes."""
    for half in halves(machine, 3):
        (found,) = search(machine, 3, [Search(2, TASK, half.train)], iterations=iterations)
        yield half, found


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return what is measured with short searches."""
    asked, wrong = subjects(NETWORKS.values(), X, COUNT, **READ), {"first": COUNT[:, 0].float()}
    return alignment.measure(asked, ranks=(1, 2), steps=(1,), iterations=20, wrong=wrong)


@pytest.fixture(scope="module")
def erased() -> pd.DataFrame:
    """Return what is left where the count is erased."""
    return erasure.measure(subjects([NETWORKS["tally"], NETWORKS["gru"]], X, COUNT, **READ), iterations=20)


def test_a_tally_is_carried_by_one_direction_and_not_by_random_ones(table: pd.DataFrame) -> None:
    """The planted unit gives a score of 1 at every step and rank, random directions far less.

    After four steps there are enough prefixes; where the whole state moves no answer there is no score.
    """
    assert set(rows(table, "few_directions_score")["step"]) == {3}
    assert "gru" not in by("network", table, "few_directions_score")
    scores = rows(table, "alignment_score", network="tally")
    raw = {(step, rank, "raw") for step in (1, 3) for rank in (1, 2)}
    assert set(zip(scores["step"], scores["at"], scores["kind"], strict=True)) == {*raw, (3, 2, "standardised")}
    assert scores["value"].min() > 0.97
    assert value(table, "random_directions_score", network="tally") < 0.6
    best = value(table, "alignment_score", network="tally", step=3, at=2, kind="raw")
    assert value(table, "few_directions_score", network="tally") == best


def test_scores_are_the_mean_over_both_ways_on_prefixes_not_fitted_on(table: pd.DataFrame) -> None:
    """Score and distance of the GRU equal those of searches made by hand, each scored on the other half."""
    machine, found = Machine.of(NETWORKS["gru"].model, X, **READ), list[tuple[float, float, float]]()
    for half, one in searched(machine, 20):
        pairs = pairs_among(machine, 3, half.test)
        scores = interchange(pairs, TASK, one.put)
        found.append((scores.iia, scores.shift, OffSupport(pairs, TASK).distance(one.put)))
    for name, wanted in zip(("accuracy", "shift", "off_support"), np.mean(found, axis=0), strict=True):
        measured = value(table, f"alignment_{name}", network="gru", step=3, at=2, kind="raw")
        assert measured == pytest.approx(wanted, abs=1e-6)
    # A fitted head is judged by its closed form: along the mean gradient of its number; no other network is.
    machine = Machine.of(NETWORKS["fitted"].model, X, **READ)
    put = along(mean_gradient(machine, 3))
    both = [interchange(pairs_among(machine, 3, half.test), TASK, put).score for half in halves(machine, 3)]
    assert value(table, "few_directions_score", network="fitted") == pytest.approx(np.mean(both), abs=1e-12)
    assert by("network", table, "gradient_score") == pytest.approx({"fitted": np.mean(both)}, abs=1e-12)


def test_a_tally_answers_at_the_floor_without_its_concept(erased: pd.DataFrame) -> None:
    """Of four wins, each of probability 1/2, two are the most frequent: a floor for every suffix."""
    assert by("network", erased, "floor") == pytest.approx({"tally": 6 / 16, "gru": 6 / 16})
    assert value(erased, "own_accuracy", network="tally") == 1
    assert value(erased, "erased_rank", network="tally") == 4
    for name in ("erased", "scalar_erased", "in_sample_erased"):
        assert value(erased, f"{name}_accuracy", network="tally") < 6 / 16 + 0.05, name
    shuffled = value(erased, "shuffled_accuracy", network="tally")
    assert shuffled > value(erased, "scalar_erased_accuracy", network="tally")


def test_accuracy_is_that_of_runs_from_held_out_states_erased_by_hand(erased: pd.DataFrame) -> None:
    """Everything is fitted on the distinct prefixes of one half and applied to every row of the other, both ways."""
    machine, name = Machine.of(NETWORKS["gru"].model, X, **READ), "gru"
    first, scores = machine.clean.prefixes[3].rows, list[list[float]]()
    for half, found in searched(machine, 20):
        own = first[torch.isin(first, half.train)]
        states, concept = machine.clean.states[own, 3].detach().numpy(), COUNT[own, 3].double().numpy()
        scores.append([])
        for eraser in (
            leace(states, one_hot(concept)),
            leace(states, concept),
            projected_out(states, found.basis.numpy()),
        ):
            changed = torch.as_tensor(eraser(machine.clean.states[half.test, 3].detach().numpy()))
            with torch.no_grad():
                after = machine.dynamics.advance(changed, machine.clean.inputs[half.test, 4:])
                chosen = machine.readout.read(after).argmax(1)
            scores[-1].append(float((chosen == COUNT[half.test, -1]).double().mean()))
    for metric, wanted in zip(("erased", "scalar_erased", "projected"), np.mean(scores, axis=0), strict=True):
        assert value(erased, f"{metric}_accuracy", network=name) == pytest.approx(wanted, abs=1e-12)
    for metric in ("erased", "shuffled", "projected"):
        above = value(erased, f"{metric}_accuracy", network=name) - value(erased, "floor", network=name)
        assert value(erased, f"{metric}_excess", network=name) == max(above, 0)


def test_below_the_floor_there_is_no_excess() -> None:
    """A network that always answers five is right in 2^-5 of the sequences, and its excess is 0, not less."""
    always = READ | {"answer": lambda output: torch.full((len(output),), LENGTH)}
    table = erasure.measure(subjects([NETWORKS["tally"]], X, COUNT, **always), iterations=1, step=LENGTH - 1)
    assert values(table, "erased_accuracy") == values(table, "own_accuracy") == [0.5**LENGTH]
    assert values(table, "erased_excess") == [0]
    assert value(table, "floor") == pytest.approx(10 / 32)
