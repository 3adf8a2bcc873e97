"""Two exact symmetries of the task, and the theorem on what is equal at equal steps (docs/science.md)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analyses.counter import common
from models import planted, zoo
from models.checkpoints import weights_digest
from models.counter import Coded, Counter, answer, expected_answer
from models.data import Strings, training_strings
from models.learning import Adam, take_step
from models.recipes import RECIPES, Recipe
from models.tasks import bit_strings, running_count
from models.training import initialise
from probe import Signal
from probe.evidence.measurements import Network
from probe.methods.causal.interchange import Scores, interchange
from probe.methods.causal.pairs import all_pairs, along, columns
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.questions.answers import other_lengths
from probe.questions.states import linear_readout, single_units
from probe.subjects.subject import Subject

COUNTER = RECIPES["counter"]
X = bit_strings(10)
COUNTS = running_count(X)
STEPS = 25


def relabelled(model: Counter, order: torch.Tensor) -> Counter:
    """The same network with its head's rows in another order: label order[k] is answered where k was."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.weight[order] = model.head.weight
        other.head.bias[order] = model.head.bias
    return other


def trained(model: Counter, strings: Strings, recipe: Recipe, *, steps: int = STEPS) -> Counter:
    """The network after some steps; in float64 sums over classes in another order agree to rounding only."""
    adam = Adam(model, recipe)
    batches = strings.batches(recipe.batch_size)
    for step in range(steps):
        take_step(model, adam, batches[step % len(batches)], recipe=recipe, t=step + 1)
    return model


def assert_same(one: Counter, other: Counter, start: Counter) -> None:
    """Two networks have the same weights to 1e-9, and not those that training started from."""
    for name, tensor in one.state_dict().items():
        assert torch.allclose(tensor, other.state_dict()[name], atol=1e-9, rtol=0), name
    moved = one.layer.get_parameter("weight_hh_l0") - start.layer.get_parameter("weight_hh_l0")
    assert float(moved.detach().abs().max()) > 1e-3


def doubled(recipe: Recipe) -> tuple[Counter, Strings]:
    """A recipe's first weights and strings in float64."""
    strings = training_strings(recipe, 0)
    return initialise(recipe, 0).double(), dataclasses.replace(strings, x=strings.x.double())


@pytest.mark.parametrize("name", ["counter", "every-step", "truncated"])
def test_permuting_labels_and_the_heads_rows_is_the_same_training(name: str) -> None:
    """Softmax, loss, Adam and the zero start know no order of the classes."""
    recipe = RECIPES[name]
    start, strings = doubled(recipe)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    other = dataclasses.replace(strings, labels=order[strings.labels])
    plain = trained(copy.deepcopy(start), strings, recipe)
    permuted = trained(relabelled(start, order), other, recipe)
    assert_same(relabelled(plain, order), permuted, relabelled(start, order))


def test_the_reversed_code_is_the_mirrored_question() -> None:
    """Trained on 1/0, a network is the one trained on the mirrored strings with its labels reversed."""
    start, strings = doubled(RECIPES["code-reversed"])
    back = torch.arange(10, -1, -1)
    mirrored = Strings(1 - strings.bits, 1 - strings.bits.double(), running_count(1 - strings.bits))
    assert torch.equal(mirrored.x, strings.x)
    assert torch.equal(mirrored.last_labels, 10 - strings.last_labels)
    own = trained(copy.deepcopy(start), strings, RECIPES["code-reversed"])
    other = trained(relabelled(start, back), mirrored, COUNTER)
    assert_same(relabelled(own, back), other, relabelled(start, back))


def turned(model: Counter) -> Counter:
    """The same network with its input weights negated: on the negated code it has the same states."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.layer.get_parameter("weight_ih_l0").neg_()
    return other


@pytest.mark.parametrize("name", ["code-signed", "code-half-signed"])
def test_the_mirrored_network_is_trained_byte_for_byte(name: str) -> None:
    """In a symmetric code, in float32: complemented strings and negated input weights give the same training.

    The complement of a string holds as many zeros as the string holds ones. So with the labels as they were the
    network counts zeros, and after any number of steps it has the bytes of the first one, its input weights negated.
    With its labels and its head's rows reversed as well it counts ones. Then the sums over the eleven classes come in
    another order, and after 300 steps single weights differ by rounding.
    """
    recipe = RECIPES[name]
    strings, start, back = training_strings(recipe, 0), initialise(recipe, 0), torch.arange(10, -1, -1)
    bits = 1 - strings.bits
    complement = Strings(bits, recipe.encode(bits), running_count(bits))
    assert torch.equal(complement.x, -strings.x)
    assert torch.equal(complement.last_labels, 10 - strings.last_labels)
    zeros = dataclasses.replace(complement, labels=strings.labels)
    own = trained(copy.deepcopy(start), strings, recipe, steps=300)
    counts_zeros = trained(turned(start), zeros, recipe, steps=300)
    assert weights_digest(counts_zeros) == weights_digest(turned(own))
    assert weights_digest(own) != weights_digest(start)
    counts_ones = trained(relabelled(turned(start), back), complement, recipe, steps=300)
    mirrored = relabelled(turned(own), back).state_dict()
    for key, tensor in counts_ones.state_dict().items():
        assert torch.allclose(tensor, mirrored[key], atol=1e-6, rtol=0), key


def drift(model: nn.Module) -> float:
    """The drift by science.md's definition."""
    (subject,) = common.subjects([Network("n", "other", model)])
    table = other_lengths.measure([replace(subject, x=subject.x.double())], most=2**14)
    return float(table[table["metric"] == "drift"]["value"].iloc[0])


@pytest.mark.parametrize("name", ["ones", "drift-0.25", "drift-0.8", "balance", "zeros"])
def test_the_reversed_code_turns_a_drift_round(name: str) -> None:
    """Fed 1 for 0, with its head's rows reversed, a network with drift d answers the count with drift 1 - d."""
    model = planted.battery(torch.float64)[name]
    reversed_ = Coded(relabelled(model, torch.arange(10, -1, -1)), zero=1.0, one=0.0)
    with torch.no_grad():
        assert torch.equal(answer(reversed_(X.double())), COUNTS[:, -1])
    assert drift(reversed_) == pytest.approx(1 - drift(model), abs=1e-9)


#: Functions g of the step with g = 0 after the last: ones, zeros, balance, and one that is no line.
CLOCKS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "zeros": lambda t: 10 - t,
    "balance": lambda t: (10 - t) / 2,
    "crooked": lambda t: (10 - t) * torch.tensor([3.0, -1.0] * 5, dtype=torch.float64),
}


def with_clock(name: str) -> torch.Tensor:
    """The concept n1 + g(t)."""
    return COUNTS + CLOCKS[name](torch.arange(1, 11, dtype=torch.float64))


@pytest.fixture(scope="module")
def machine() -> Machine:
    """A trained counter run from its states."""
    return Machine.of(zoo.networks(seeds=[1])[0].model, X, answer=answer, expected=expected_answer)


@pytest.mark.parametrize("clock", CLOCKS)
def test_equal_step_interchange_scores_the_count_as_the_count_and_a_clock(machine: Machine, clock: str) -> None:
    """The theorem: at every step every score of n1 + g(t) is that of n1, to the bit."""
    draws = torch.Generator().manual_seed(0)
    direction = torch.randn(machine.dynamics.size, generator=draws, dtype=torch.float64)
    scores: list[list[Scores]] = []
    for concept in (COUNTS.double(), with_clock(clock)):
        found = []
        for step in range(10):
            pairs = all_pairs(machine, step, most=2**12)
            found += [
                interchange(pairs, Task(concept), put)
                for put in (columns(machine.dynamics.unit(3)), along(direction))
            ]
        scores.append(found)
    assert scores[0] == scores[1]
    assert len({score.shift for score in scores[0]}) > 10


@pytest.mark.parametrize("clock", ["zeros", "crooked"])
def test_no_probe_at_a_fixed_step_can_tell_them_either(clock: str) -> None:
    """Held-out R2, within-step correlation and monotone reading of n1 + g(t) are those of n1; pooled ones are not."""
    network = Network("n", "trained", zoo.networks(seeds=[1])[0].model)
    tables = []
    for concept in (COUNTS.double(), with_clock(clock)):
        asked = [Subject.of(network, X, concept)]
        tables.append((linear_readout.measure(asked, signals=[Signal.CELL_STATE]), single_units.measure(asked)))
    for metric, which in (("r_squared", 0), ("within_step_correlation", 1), ("monotone_accuracy", 1)):
        own, other = (table[which][table[which]["metric"] == metric]["value"].to_numpy() for table in tables)
        assert len(own) >= 4
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-9, err_msg=metric)
    lasting = [float(units[units["metric"] == "lasting_monotone_accuracy"]["value"].iloc[0]) for _, units in tables]
    assert lasting[0] != lasting[1]
