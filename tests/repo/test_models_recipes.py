"""Recipes with one thing changed: what each trains on, which loss it takes, and that a kill costs nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused

from analyses.counter import study
from models import populations, training, zoo
from models.checkpoints import load, load_config, weights_digest
from models.counter import Coded, Counter, answer
from models.data import Strings, described_strings, training_strings, whole_strings
from models.learning import Adam, last_scores, string_loss, take_step
from models.packing import pack
from models.populations import FIRST, LATER, POPULATIONS, Population, population
from models.recipes import CODES, DOSES, EXPERIMENT, RECIPES, TRAJECTORY, Recipe, experiment_recipe
from models.tasks import TEMPLATE, bit_strings, parse_bits, running_matches
from models.train import main
from models.training import initialise, split, train

COUNTER = RECIPES["counter"]
VARIED = [name for name in RECIPES if name != "counter"]
COMMITTED = [name for name in VARIED if zoo.committed_seeds(name)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The programs train on one thread."""
    torch.set_num_threads(1)


def test_every_recipe_changes_one_thing_or_is_a_cell_of_the_experiment() -> None:
    """Beside its name it differs from the counter in one field, or two of a code; after 10,000 steps in none."""
    base, cells = COUNTER.to_dict(), {cell.name for cell in EXPERIMENT}
    for name in VARIED:
        changed = {key for key, value in RECIPES[name].to_dict().items() if value != base[key]} - {"name"}
        things = len(changed - {"zero", "one"}) + bool(changed & {"zero", "one"})
        if name == "after-10000-steps":
            assert not changed
            continue
        assert things == 1 or (things == 2 and name in cells and changed <= {"zero", "one", "shorter"}), name
        assert RECIPES[name].name == name


def test_the_codes_and_doses_are_those_of_the_experiment() -> None:
    """0/1, 1/0, -1/+1, -.5/+.5, 1/2 times 0, 5, 20 and 50 of 500 strings, which is 0, 1, 4 and 10 %; 20 cells."""
    codes = [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (-0.5, 0.5), (1.0, 2.0)]
    assert [(cell.zero, cell.one, cell.shorter) for cell in EXPERIMENT] == [
        (*code, shorter) for code in codes for shorter in (0, 5, 20, 50)
    ]
    assert all(RECIPES[cell.name] == cell for cell in EXPERIMENT)
    assert len({cell.name for cell in EXPERIMENT}) == 20
    assert EXPERIMENT[0] == COUNTER
    assert experiment_recipe("reversed", 1).name == "code-reversed-shorter-1-percent"
    read = RECIPES["code-reversed-shorter-1-percent"].encode(torch.tensor([[[0.0], [1.0]]]))
    assert read.flatten().tolist() == [1.0, 0.0]
    assert (len(CODES), len(DOSES)) == (5, 4)


def test_a_cell_that_is_not_in_the_experiment_is_refused() -> None:
    """The message says which codes and doses there are."""
    with refused():
        experiment_recipe("sighed")
    with refused():
        experiment_recipe("signed", 2)


def test_the_populations_are_those_that_the_rules_need() -> None:
    """Confirming seeds were never explored; no network is in two; 50 where a rule is judged, 20 elsewhere."""
    networks = [(each.recipe, seed) for each in POPULATIONS for seed in each.seeds]
    assert len(networks) == len(set(networks))
    assert {recipe for recipe, _ in networks} == set(RECIPES)
    assert [(each.name, each.recipe) for each in POPULATIONS if each.name != each.recipe] == [
        ("exploring", "counter"),
        ("confirming", "counter"),
        ("second", "counter"),
    ]
    seeds = {each.name: each.seeds for each in FIRST}
    assert (seeds.pop("exploring"), seeds.pop("confirming")) == (range(100), range(1000, 1100))
    judged = {name for name, each in seeds.items() if each == range(1000, 1050)}
    assert judged == {"template", "code-signed", "shorter-10-percent"}
    assert all(each == range(1000, 1020) for name, each in seeds.items() if name not in judged)
    later = {each.name: each.seeds for each in LATER}
    assert later.pop("second") == range(2000, 2100)
    assert later == {each.name: range(3000, 3012) for each in TRAJECTORY}
    with refused():
        population("confirm")
    assert population("confirming").seeds == range(1000, 1100)


def test_whatever_is_changed_the_split_and_the_first_weights_stay() -> None:
    """One thing at a time: the same 500 strings in the same order, and the same draws where sizes agree."""
    rows, weights = split(COUNTER, 3)[0], initialise(COUNTER, 3).state_dict()
    for name in VARIED:
        assert torch.equal(split(RECIPES[name], 3)[0], rows)
        found = initialise(RECIPES[name], 3).state_dict()
        if {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in weights.items()}:
            changed = {key for key, value in found.items() if not torch.equal(value, weights[key])}
            assert changed == ({"lstm.bias_ih_l0"} if "bias" in name else set()), name


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_the_forget_bias_is_what_the_recipe_says(bias: float) -> None:
    """Only the forget gate's bias starts there."""
    model = initialise(RECIPES[f"forget-bias-{bias:g}"], 0)
    assert model.lstm.get_parameter("bias_ih_l0").tolist() == [0.0] * 12 + [bias] * 12 + [0.0] * 24


@pytest.mark.parametrize("name", RECIPES)
def test_biases_start_at_nothing_but_the_forget_bias(name: str) -> None:
    """All others start at 0, to the bit."""
    recipe = RECIPES[name]
    biases = initialise(recipe, 0).layer.get_parameter("bias_ih_l0").view(-1, recipe.hidden_size)
    assert biases[1].unique().tolist() == [recipe.forget_bias]
    assert biases[[row for row in range(len(biases)) if row != 1]].unique().tolist() == [0.0]


def test_a_longer_training_passes_through_the_weights_of_a_shorter_one(tmp_path: Path) -> None:
    """Ten epochs hold after five the bytes of a training that ends there: batches, draws and Adam know no end."""
    steps = [recipe.steps for recipe in TRAJECTORY]
    assert steps == [100, 200, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000]
    short, long = (dataclasses.replace(COUNTER, epochs=epochs) for epochs in (5, 10))
    ended = train(short, 1, tmp_path / "short")
    model, strings = initialise(long, 1), training_strings(long, 1)
    adam, batches = Adam(model, long), strings.batches(long.batch_size)
    on_the_way = []
    for step in range(long.steps):
        if step == short.steps:
            on_the_way.append(weights_digest(model))
        take_step(model, adam, batches[step % len(batches)], recipe=long, t=step + 1)
    assert on_the_way == [weights_digest(load(ended))]
    assert weights_digest(model) == weights_digest(load(train(long, 1, tmp_path / "long")))


def test_a_stopped_counter_is_trained_packed_and_read_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its population; what is not there is no whole population."""
    name = "after-100-steps"
    small = Population(name, name, range(1, 2))
    monkeypatch.setattr(populations, "POPULATIONS", (small,))
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "zoo")
    zoo.ZOO.mkdir()
    command = ["--out", str(tmp_path / "out"), "--population"]
    assert main([*command, name]) == 0
    assert pack(tmp_path / "out" / name, name) == 1
    assert zoo.networks(name, [1])[0].config["steps"] == 100
    assert study.is_whole(small)


def test_a_gru_keeps_its_state_at_first_and_has_one_bias() -> None:
    """The update gate's bias is the forget bias; one kernel has Glorot's limit for three gates."""
    model = initialise(RECIPES["gru"], 0)
    assert model.gru.get_parameter("bias_ih_l0").tolist() == [0.0] * 12 + [1.0] * 12 + [0.0] * 12
    assert not model.gru.get_parameter("bias_hh_l0").requires_grad
    limit = (6 / (13 + 36)) ** 0.5
    weights = torch.cat([model.gru.get_parameter(f"weight_{part}_l0").flatten() for part in ("ih", "hh")])
    assert 0.98 * limit < float(weights.detach().abs().max()) <= limit


def test_the_template_is_balanced_and_its_labels_are_matches() -> None:
    """Five ones; the template matches itself ten times, its mirror never; labels are distributed as counts are."""
    assert TEMPLATE.count("1") == 5
    mirror = TEMPLATE.translate(str.maketrans("01", "10"))
    assert running_matches(parse_bits(TEMPLATE)).tolist() == [list(range(1, 11))]
    assert running_matches(parse_bits(mirror)).tolist() == [[0] * 10]
    strings = whole_strings(RECIPES["template"])
    assert strings.last_labels.bincount().tolist() == whole_strings(COUNTER).last_labels.bincount().tolist()
    assert running_matches(parse_bits("0111")).tolist() == [[1, 2, 3, 3]]
    with refused():
        running_matches(bit_strings(11))


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
    other = training_strings(RECIPES["truncated"], 1).lengths
    assert other is not None
    assert not torch.equal(other, strings.lengths)


def test_a_cut_strings_label_is_that_of_its_own_end() -> None:
    """Behind the end, zeros would go on matching the template."""
    strings = training_strings(dataclasses.replace(RECIPES["truncated"], question="template"), 0)
    matches = [sum(a == b for a, b in zip(text, TEMPLATE, strict=False)) for text in strings.texts()]
    assert strings.last_labels.tolist() == matches
    assert strings.labels[:, -1].tolist() != matches


@pytest.mark.parametrize("percent", [1, 4, 10])
def test_a_dose_replaces_that_many_strings(percent: int) -> None:
    """Distinct strings of nine bits stand in the place of some; all others are as they were."""
    strings, whole = training_strings(RECIPES[f"shorter-{percent}-percent"], 0), training_strings(COUNTER, 0)
    short = [text for text in strings.texts() if len(text) == 9]
    assert len(short) == len(set(short)) == 5 * percent
    kept = [pair for pair in zip(strings.texts(), whole.texts(), strict=True) if len(pair[0]) == 10]
    assert all(own == before for own, before in kept)
    assert strings.last_labels.tolist() == [text.count("1") for text in strings.texts()]


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


@pytest.mark.parametrize("name", ["every-step", "truncated", "gru", "template", "code-signed", "shorter-10-percent"])
def test_a_killed_training_of_any_recipe_resumes_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strings, lengths and labels follow from recipe and seed: every file is that of a run left alone."""
    short = dataclasses.replace(RECIPES[name], epochs=24)
    train(short, 1, tmp_path / "whole")

    def interrupted(*given: Any, t: int, **more: Any) -> object:
        if t == 100:
            raise KeyboardInterrupt
        return take_step(*given, t=t, **more)

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(short, 1, tmp_path / "cut")
    train(short, 1, tmp_path / "cut", resume=True)
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir()} == files
    assert load_config(tmp_path / "cut")["recipe"] == short.to_dict()


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_networks_are_what_their_table_says(name: str) -> None:
    """Recipe, split, strings and errors follow from weights and seed, and all seeds asked for are there."""
    # Cells with another code and another dose came with the experiment; of all others there were early ones.
    late = (name.startswith("code-") and "shorter" in name) or name.startswith("after-")
    early = 0 if late else 10 if name == "template" else 1
    assert set(zoo.committed_seeds(name)) == {*range(early), *population(name).seeds}
    for trained in zoo.networks(name, zoo.committed_seeds(name)):
        recipe = Recipe.from_dict(trained.config["recipe"])
        assert recipe == RECIPES[name]
        whole = whole_strings(recipe)
        with torch.no_grad():
            wrong = answer(trained.model(whole.x)) != whole.last_labels
        assert int(wrong.sum()) == trained.config["errors"]["all"]["misread"]
        assert trained.config["split"]["train"] == split(recipe, trained.seed)[0].tolist()
        assert described_strings(trained.config).texts() == training_strings(recipe, trained.seed).texts()
        assert trained.untrained is None


def test_a_coded_network_is_fed_bits() -> None:
    """Wrapped, it answers bits as the bare one answers their code."""
    recipe = RECIPES["code-signed"]
    model, x = zoo.networks("code-signed", [0])[0].model, bit_strings(10)
    with torch.no_grad():
        assert torch.equal(Coded(model, zero=-1.0, one=1.0)(x), model(recipe.encode(x)))
        assert not torch.equal(model(x), model(recipe.encode(x)))


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "lstn"},
        {"question": "zeros"},
        {"shorter": 501},
        {"shorter": -1},
        {"shorter": 5, "truncated": True},
        {"question": "template", "length": 9, "train_size": 100},
        {"zero": 1.0},
    ],
)
def test_an_impossible_variation_is_refused(change: dict[str, Any]) -> None:
    """The message says what was given and what is allowed."""
    with refused():
        dataclasses.replace(COUNTER, **change)


def test_a_counter_of_an_unknown_cell_is_refused() -> None:
    """The nearest name is given."""
    with refused():
        Counter(cell="grv")
