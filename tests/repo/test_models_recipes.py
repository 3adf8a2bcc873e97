"""Recipes with one thing changed: what each trains on, which loss it takes, and what none can be."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused

from models import zoo
from models.checkpoints import load, weights_digest
from models.counter import answer
from models.data import Strings, described_strings, training_strings, whole_strings
from models.describe import errors
from models.learning import Adam, last_scores, string_loss, take_step
from models.recipes import CROSSED, CROSSED_CELLS, EXPERIMENT, RECIPES, Recipe, crossed_recipe
from models.recipes import THIRD as THIRDS
from models.tasks import TEMPLATE, parse_bits
from models.training import initialise, split, train

COUNTER = RECIPES["counter"]
PAIRED = ("name", "zero", "one", "other", "p_other")
VARIED = [name for name in RECIPES if name != "counter"]
COMMITTED = [name for name in RECIPES if zoo.committed_seeds(name)]


#: The fields that belong to one thing.
ALTERED = [{"zero", "one"}, {"other", "p_other"}, *({one} for one in COUNTER.to_dict() if one not in PAIRED)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The programs train on one thread."""
    torch.set_num_threads(1)


def test_every_recipe_changes_one_thing_or_is_a_cell_of_the_experiment() -> None:
    """Beside its name it differs from the counter in one thing, or is a cell, or a beginning, or differs in none."""
    base, cells = COUNTER.to_dict(), {cell.name for cell in (*EXPERIMENT, *CROSSED_CELLS)}
    for name in VARIED:
        changed = {key for key, value in RECIPES[name].to_dict().items() if value != base[key]} - {"name"}
        things = sum(bool(changed & these) for these in ALTERED)
        assert changed <= set().union(*ALTERED), name
        if name == "after-10000-steps":
            assert not changed
            continue
        assert things == 1 or name in cells or changed == {"p_one", "epochs"}, name
        assert RECIPES[name].name == name


def test_a_longer_training_passes_through_the_weights_of_a_shorter_one(tmp_path: Path) -> None:
    """Ten epochs hold after five the bytes of a training that ends there: batches, draws and Adam know no end."""
    short, long = (dataclasses.replace(COUNTER, epochs=epochs) for epochs in (5, 10))
    model, strings = initialise(long, 1), training_strings(long, 1)
    adam, batches = Adam(model, long), strings.batches(long.batch_size)
    for step in range(short.steps):
        take_step(model, adam, batches[step % len(batches)], recipe=long, t=step + 1)
    assert weights_digest(model) == weights_digest(load(train(short, 1, tmp_path / "short")))


def test_truncated_strings_are_the_same_strings_cut() -> None:
    """500 beginnings of the 500 training strings, lengths 1 to 10 all there, labels the count so far."""
    strings, whole = training_strings(RECIPES["truncated"], 0), training_strings(COUNTER, 0)
    assert strings.lengths is not None
    assert sorted(set(strings.lengths.tolist())) == list(range(1, 11))
    for text, full, label in zip(strings.texts(), whole.texts(), strings.last_labels.tolist(), strict=True):
        assert full.startswith(text)
        assert label == text.count("1")
    behind = torch.arange(10) >= strings.lengths[:, None]
    assert torch.count_nonzero(strings.bits[:, :, 0][behind]) == 0
    assert torch.count_nonzero(whole.bits[:, :, 0][behind]) > 0
    strings = training_strings(dataclasses.replace(RECIPES["truncated"], question="template"), 0)
    matches = [sum(a == b for a, b in zip(text, TEMPLATE, strict=False)) for text in strings.texts()]
    assert strings.last_labels.tolist() == matches
    assert strings.labels[:, -1].tolist() != matches  # behind the end, zeros would go on matching the template


CELLS = {crossed_recipe(*cell): cell for cell in CROSSED} | {
    crossed_recipe(0.2, 0, 5, p): (0.2, 0, 5) for p in THIRDS
}


@pytest.mark.parametrize("recipe", CELLS, ids=lambda one: one.name)
def test_a_crossed_cell_trains_on_what_it_is_called(recipe: Recipe) -> None:
    """Ones are as frequent and numbers as large as it says, its head starts there, and ones are counted."""
    p_one, mean, start = CELLS[recipe]
    drawn = [training_strings(recipe, seed) for seed in range(6)]
    bits, read = torch.cat([one.bits for one in drawn]), torch.cat([one.x for one in drawn])
    assert (bits == 1).float().mean() == pytest.approx(p_one, abs=0.01)
    assert (bits == 2).float().mean() == pytest.approx(recipe.p_other, abs=0.01)
    assert read.mean() == pytest.approx(mean, abs=0.02)
    assert torch.equal(drawn[0].last_labels, (drawn[0].bits == 1).sum((1, 2)))
    likely = initialise(recipe, 0).head.bias.detach().softmax(0)
    assert int(likely.argmax()) == start
    assert likely.max() / likely[abs(start - 2)] == pytest.approx(math.exp(0.5), rel=1e-4)


def test_what_stands_behind_a_strings_end_is_never_answered() -> None:
    """Scores are those of each string alone, and another padding changes neither loss nor slope."""
    recipe = RECIPES["truncated"]
    model = initialise(recipe, 0).double()
    strings = training_strings(recipe, 0).batches(50)[0]
    strings = dataclasses.replace(strings, x=strings.x.double())
    with torch.no_grad():
        alone = torch.cat([model(parse_bits(text).double()) for text in strings.texts()])
        assert torch.allclose(last_scores(model, strings), alone, atol=1e-12, rtol=0)
    assert strings.lengths is not None
    padded = torch.where(torch.arange(10)[None, :, None] >= strings.lengths[:, None, None], 7.0, strings.x)
    for own in (recipe, dataclasses.replace(recipe, every_step=True)):
        losses = [string_loss(model, dataclasses.replace(strings, x=x), own) for x in (strings.x, padded)]
        slopes = [torch.autograd.grad(loss, model.lstm.get_parameter("weight_hh_l0"))[0] for loss in losses]
        assert torch.equal(*losses)
        assert torch.allclose(*slopes, atol=1e-12, rtol=0)


def test_the_loss_at_every_step_is_the_sum_over_beginnings() -> None:
    """It equals the loss after the last step of all beginnings of all strings, cut off one by one."""
    recipe = dataclasses.replace(COUNTER, every_step=True)
    model = initialise(recipe, 0).double()
    strings = training_strings(recipe, 0).batches(40)[0]
    strings = dataclasses.replace(strings, x=strings.x.double())
    with torch.no_grad():
        cut = [Strings(strings.bits[:, :t], strings.x[:, :t], strings.labels[:, :t]) for t in range(1, 11)]
        parts = [float(string_loss(model, part, COUNTER)) for part in cut]
        assert float(string_loss(model, strings, recipe)) == pytest.approx(sum(parts), rel=1e-12)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_networks_are_what_their_table_says(name: str) -> None:
    """Recipe, split, strings and errors follow from weights and seed, of the counter the initial weights too."""
    for trained in zoo.networks(name, range(10) if name == "counter" else zoo.committed_seeds(name)):
        recipe = Recipe.from_dict(trained.config["recipe"])
        assert recipe == RECIPES[name]
        whole = whole_strings(recipe)
        with torch.no_grad():
            wrong = answer(trained.model(whole.x)) != whole.last_labels
        assert int(wrong.sum()) == trained.config["errors"]["all"]["misread"]
        assert trained.config["split"]["train"] == split(recipe, trained.seed)[0].tolist()
        told, drawn = described_strings(trained.config), training_strings(recipe, trained.seed)
        assert torch.equal(told.bits, drawn.bits)
        lengths = [None if one.lengths is None else one.lengths.tolist() for one in (told, drawn)]
        assert lengths[0] == lengths[1]
        if name != "counter":
            assert trained.untrained is None
            continue
        assert trained.untrained is not None
        for key, tensor in initialise(recipe, trained.seed).state_dict().items():
            torch.testing.assert_close(trained.untrained.state_dict()[key], tensor, rtol=0, atol=1e-6)
        with torch.no_grad():
            mistaken = answer(trained.untrained(whole.x)) != whole.last_labels
        assert float(mistaken.float().mean()) > 0.5
        assert trained.config["errors"] == errors(trained.model, recipe, *split(recipe, trained.seed))
        assert trained.config["errors"]["test"]["error"] < 0.05


IMPOSSIBLE: list[dict[str, Any]] = [{"batch_size": 300}, {"epochs": 0}, {"cell": "lstn"}, {"question": "zeros"}]
IMPOSSIBLE += [{"shorter": 5, "truncated": True}, {"question": "template", "length": 9, "train_size": 100}]
IMPOSSIBLE += [{"zero": 1.0}, {"p_one": 1.0}]
THIRD: dict[str, Any] = {"p_one": 0.2, "other": -1.0, "p_other": 0.5}
IMPOSSIBLE += [{"p_other": 0.5}, {"other": -1.0}, THIRD | {"p_one": None}, THIRD | {"p_other": 0.8}]
IMPOSSIBLE += [THIRD | {"other": 1.0}, THIRD | {"shorter": 5}, THIRD | {"every_step": True, "truncated": True}]


@pytest.mark.parametrize("change", IMPOSSIBLE)
def test_an_impossible_recipe_is_refused(change: dict[str, Any]) -> None:
    """The message says what was given and what is allowed."""
    with refused():
        dataclasses.replace(COUNTER, **change)
