"""The zoo's files: networks packed and taken out again as they were, nothing damaged or mixed up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from refusing import refused

import probe
from models import zoo
from models.checkpoints import load_config, save, weights_digest
from models.flipflop import stored, task
from models.packing import app, pack, unpack
from models.recipes import RECIPES
from models.tasks import bit_strings, running_count
from models.training import train
from probe.command_line.shell import run

SHORT = replace(RECIPES["counter"], epochs=1)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of three trained counters, copied out of the project's, in place of that."""
    place = tmp_path / "zoo"
    place.mkdir()
    for seed in (0, 1, 1000):
        unpack("counter", seed, tmp_path / "counter" / f"seed-{seed}")
    monkeypatch.setattr(zoo, "ZOO", place)
    assert pack(tmp_path / "counter", "counter") == 3
    return place


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a table of the zoo."""
    table = json.loads(zoo.table_path(name).read_text())
    change(table[name])
    zoo.table_path(name).write_text(json.dumps(table))


def test_a_network_comes_out_as_it_went_in(small: Path, tmp_path: Path) -> None:
    """Weights, initialisation, split, errors and what follows from them, to the byte; packing again changes none."""
    assert sorted(path.name for path in small.iterdir()) == [".lock", "counter.json", "counter.safetensors"]
    assert zoo.committed_seeds("counter") == [0, 1, 1000]
    before = {path: path.read_bytes() for path in small.iterdir()}
    for seed in (0, 1, 1000):
        again = unpack("counter", seed, tmp_path / f"again-{seed}")
        for path in (tmp_path / "counter" / f"seed-{seed}").iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name
    assert pack(tmp_path / "counter", "counter") == 0
    assert {path: path.read_bytes() for path in small.iterdir()} == before


def test_the_examples_in_the_wheel_are_networks_of_the_zoo() -> None:
    """To the bit: weights, what is read, and what may be held."""
    bits, pulses = bit_strings(10), task.pulses(24, 40, 0.2, torch.Generator().manual_seed(0))
    for made, (trained,), inputs, held in (
        (probe.examples.counter(), zoo.networks(seeds=[0]), bits, running_count(bits)[:, :, None]),
        (probe.examples.flipflop(), stored.networks("gru", [3000]), pulses, task.held(pulses).long()),
    ):
        assert (weights_digest(made.model), torch.equal(made.inputs, inputs)) == (weights_digest(trained.model), True)
        assert torch.equal(torch.stack([*made.concepts.values()], dim=2), held)
    assert zoo.networks(seeds=[0])[0].config["errors"]["all"]["misread"] == 6  # as the docstring says


def test_another_network_of_a_seed_that_is_there_is_refused(small: Path, tmp_path: Path) -> None:
    """And so is one of another recipe or seed than it says; one that is still in training waits."""
    train(SHORT, 2, tmp_path / "short" / "seed-2")
    with refused():
        pack(tmp_path / "short", "counter")
    folder, other = (tmp_path / "counter" / f"seed-{seed}" for seed in (1, 7))
    shutil.copytree(tmp_path / "counter" / "seed-0", other)
    config = other / "config.json"
    for text in (config.read_text(), config.read_text().replace('"seed": 0', '"seed": 7')):
        config.write_text(text)
        with refused():
            pack(tmp_path / "counter", "counter")
    config.unlink()
    assert pack(tmp_path / "counter", "counter") == 0
    model, described = zoo.checkpoint(folder).model, load_config(folder)
    with torch.no_grad():
        model.head.bias.add_(1.0)
    shutil.rmtree(folder)
    save(folder, model=model, untrained=zoo.networks(seeds=[1])[0].untrained, config=described)
    with refused():
        pack(tmp_path / "counter", "counter")
    assert zoo.committed_seeds("counter") == [0, 1, 1000]


WRONG_TABLES: list[Callable[[dict[str, Any]], object]] = [
    lambda table: table.pop("recipe"),
    lambda table: table["networks"][1]["sha256"].update(model="0"),
    lambda table: table["networks"][1].update(split="0"),
    lambda table: table["networks"][1]["sha256"].pop("untrained"),
    lambda table: table["recipe"].update(every_step=True),
]


def test_no_changed_number_of_tables_and_weights_goes_unseen(small: Path) -> None:
    """Of every network its own weights are checked, also where only its seed moved to another row."""
    table = zoo.table_path("counter")
    before = table.read_text()
    for change in WRONG_TABLES:
        edited("counter", change)
        with refused():
            zoo.networks(seeds=[1])
        table.write_text(before)
    path = small / "counter.safetensors"
    good = safetensors.torch.load(path.read_bytes())
    bias, seed = good["counter/model.head.bias"], good["counter/seed"]
    wrong = (
        {"counter/model.head.bias": bias + 1e-6},
        {"counter/seed": seed.flip(0)},
        {"counter/seed": seed[:2].clone()},
    )
    written = [safetensors.torch.save(good | each) for each in wrong]
    for content in (*written, path.read_bytes()[:-9]):
        path.write_bytes(content)
        with refused():
            zoo.networks(seeds=[0])


def test_the_command_packs(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of recipes, one that holds none, wrong usage: exit codes 0, 1, 2; what is not there is named."""
    everything = tmp_path / "all"
    shutil.copytree(tmp_path / "counter", everything / "counter")
    assert run(app, [str(everything)]) == 0
    assert capsys.readouterr().out == f"{small / 'counter.safetensors'} 0 networks new\n"
    assert run(app, []) == 2
    assert run(app, [str(tmp_path / "gone")]) == 1
    assert "holds no RECIPE/seed-N" in capsys.readouterr().err
    for name, seed in (("counter", 777), ("conter", 0)):
        with refused():
            zoo.networks(name, [seed])
