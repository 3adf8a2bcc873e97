"""The 3-bit flip-flop on its committed weights: its rules' bars, its task, its training, and its stored files."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused

from analyses.flipflop import rules, study
from analyses.flipflop.networks import CELLS, PROBABILITY, last_sign
from models.data import generator
from models.flipflop import __main__ as command
from models.flipflop import stored
from models.flipflop.fitted_head import fit_head
from models.flipflop.network import initialise
from models.flipflop.task import BITS, held, pulses
from models.flipflop.training import RECIPES, errors, train
from probe.command_line.shell import run
from probe.evidence import judge
from probe.evidence.measurements import only
from probe.studies import store


def measured(cell: str) -> pd.DataFrame:
    """Return the committed measurements of a cell."""
    groups = store.read(study.FOLDER / f"{cell}.csv.xz").values()
    return pd.concat([table for one in groups for table in one.tables.values()])


def of_role(table: pd.DataFrame, metric: str, role: str) -> np.ndarray:
    """Return the values of a metric of one value a network, in the order of the networks."""
    return only(table, metric=metric, role=role).sort_values("network")["value"].to_numpy(float)


@pytest.mark.parametrize("cell", CELLS)
def test_the_verdicts_are_those_of_the_committed_measurements(cell: str) -> None:
    """All are established, that which asked for more than its control leaves is superseded.

    The rules are those that stand in the file. The points of a cube; a bit follows its direction; a fitted head does
    not.
    """
    first = json.loads((Path(rules.__file__).parent / "rules_first_used.json").read_text())
    now = {key: digest for key, digest in first.items() if key not in rules.SUPERSEDED}
    assert {rule.key: rule.digest for rule in rules.RULES} == now
    table = measured(cell)
    claims = {claim.rule.key: claim for claim in judge(table, rules.RULES)}
    assert {key: claim.verdict for key, claim in claims.items()} == dict.fromkeys(now, "established")
    for old, new in rules.SUPERSEDED.items():
        (gap,) = claims[new].differences
        assert 0.94 < gap.control < 0.96, old
        assert gap.margin == pytest.approx((1 - gap.control) / 2)
    for role in ("trained", "other"):  # those judged now and first
        for metric, wanted in {"fixed_points": 27, "index_sum": 1, "points_missed": 0, "cube": 1}.items():
            assert (of_role(table, metric, role) == wanted).all()
    assert len(of_role(table, "stable_points", "trained")) == rules.NETWORKS
    assert (of_role(table, "stable_points", "trained") == 2**BITS).sum() >= rules.LEAST
    assert (of_role(table, "stable_points", "own initialisation") == 1).all()
    assert of_role(table, "worst_followed", "fitted head").max() < 0.7
    assert of_role(table, "worst_score", "fitted head").max() < rules.BOUND


def test_what_is_held_is_the_sign_of_the_last_pulse() -> None:
    """Against a loop over the steps; every channel pulses at step 0."""
    x = pulses(20, 15, 0.3, generator(1, "test"))
    assert set(x.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert bool((x[:, 0] != 0).all())
    assert 0.2 < float((x[:, 1:] != 0).double().mean()) < 0.4
    for row, channel in itertools.product(range(20), range(BITS)):
        wanted = list(itertools.accumulate(x[row, :, channel].tolist(), lambda last, pulse: pulse or last))
        assert held(x)[row, :, channel].tolist() == wanted
        assert last_sign(channel, x[row].double().numpy()).tolist() == wanted
    late = torch.zeros(1, 4, BITS)
    late[0, 2] = -1
    assert held(late)[0, :, 0].tolist() == [0, 0, -1, -1]
    assert np.array_equal(last_sign(0, late[0].numpy()), [np.nan, np.nan, -1, -1], equal_nan=True)
    with refused():
        _ = pulses(1, 0, 0.5, generator(1, "test"))


@pytest.mark.parametrize("cell", CELLS)
def test_a_trained_network_is_right_where_a_fitted_head_is_not(cell: str) -> None:
    """The head is fitted on the untouched recurrence, with the penalty that errs least on held-out sequences."""
    (network,) = stored.networks(cell, [stored.SEEDS[3]])
    assert network.errors == pytest.approx(errors(network.model), abs=1e-6)
    assert network.errors["wrong_sign"] < 1e-3
    control = fit_head(network.untrained, network.seed, PROBABILITY)
    for name, weight in initialise(cell, 16, network.seed).state_dict().items():
        assert torch.equal(weight, network.untrained.state_dict()[name])
        if name.startswith("layer."):
            assert torch.equal(weight, control.state_dict()[name])
    x = pulses(200, 24, PROBABILITY, generator(5, "test"))
    with torch.no_grad():
        compared = network.model, control, network.untrained
        wrong = [(model(x).sign() != held(x)).double().mean().item() for model in compared]
    assert wrong[0] < 0.001
    assert 0.05 < wrong[1] < 0.35
    assert wrong[2] > 0.4


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Recipes of two steps, and an empty zoo."""
    monkeypatch.setattr(stored, "ZOO", tmp_path / "zoo")
    for name in list(RECIPES):
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], steps=2, batch_size=4))
    stored._zoo.cache_clear()
    yield tmp_path / "out"
    stored._zoo.cache_clear()


def test_the_same_seed_trains_the_same_bits_and_a_network_that_is_there_is_kept(
    short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line; what comes out of the zoo is what went in; a changed number and wrong words are named."""
    for wrong in (["--cell", "elman"], ["--seeds", "3"], ["--jobs", "0"], ["--seeds", "a:b"]):
        assert run(command.app, ["--out", str(short), *wrong]) == 2
    for given in (("elman", 16, 0), ("lstm", 16, -1)):
        with refused():
            _ = initialise(*given)
    words = ["--out", str(short), "--cell", "rnn", "--seeds", "1:3"]
    assert run(command.app, words) == 0
    paths = sorted(short.glob("rnn/seed-*/*.*"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    assert {path.parent.name for path in paths} == {"seed-1", "seed-2"}
    assert run(command.app, words) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before
    assert stored.pack(short, "rnn", [1, 2]) == stored.ZOO / "rnn.safetensors"
    (again,) = stored.networks("rnn", [2])
    for one, other in zip(train(RECIPES["rnn"], 2), (again.model, again.untrained), strict=True):
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(again.model.head.weight, again.untrained.head.weight)
    with refused():
        _ = stored.networks("rnn", [7])
    table = json.loads((stored.ZOO / "rnn.json").read_text())
    table["networks"][1]["sha256"]["model"] = "0"
    _ = (stored.ZOO / "rnn.json").write_text(json.dumps(table))
    stored._zoo.cache_clear()
    with refused():
        _ = stored.networks("rnn", [2])
    shutil.rmtree(short / "rnn" / "seed-2")
    shutil.copytree(short / "rnn" / "seed-1", short / "rnn" / "seed-2")
    assert run(command.app, words) == 1
    assert "holds a network of another recipe or seed than 'rnn', 2" in capsys.readouterr().err
    weights = short / "rnn" / "seed-1" / "model.safetensors"
    _ = weights.write_bytes(weights.read_bytes()[:100])
    assert run(command.app, words) == 1
    assert "is no complete safetensors file" in capsys.readouterr().err
