"""The networks of the page's explorer: which they are, and that what the page runs is what was studied."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import torch

from analyses.counter import common, explored, programs
from models.counter import answer
from models.tasks import bit_strings, parse_bits
from probe import ProbeError
from probe.evidence.measurements import Network
from reports import explored as read

SEED = 2000


def written(folder: Path) -> tuple[list[dict[str, Any]], list[Network]]:
    """Write the explorer of one counter and return what is said of each network, with the networks by that order."""
    networks = [*common.group("counter", SEED), *common.planted_networks(("ones", "zeros", "decoy"))]
    detail = dataclasses.replace(cast("Any", networks[0]), detail=True)
    rows = [(detail.name, 0.75), (f"{detail.name}/own initialisation", 0.5)]
    rows += [
        (f"{recipe}/seed-{seed}", (seed - 1000) / 10) for recipe in explored.RECIPES for seed in (1002, 1000, 1001)
    ]
    drifts = pd.Series(dict(rows))
    explored.write(folder, [detail, *networks[1:]], drifts)
    described = json.loads((folder / "explorer" / "explorer.json").read_text())["networks"]
    others = {f"{recipe}/seed-1001": common.group(recipe, 1001)[0] for recipe in explored.RECIPES}
    known = {network.name: network for network in networks} | others
    return described, [known[one["source"]] for one in described]


def test_the_page_runs_the_networks_that_were_studied(tmp_path: Path) -> None:
    """Each file gives the scores of its network, bit for bit, in the numbers that it reads for a bit."""
    described, networks = written(tmp_path)
    explorer, _ = read.read(tmp_path / "explorer")
    assert [one.name for one in explorer.networks] == [one["name"] for one in described]
    assert explorer.refused == ()
    for length in (4, 10, 13):
        bits = bit_strings(length)[::7]
        for shown, network in zip(explorer.networks, networks, strict=True):
            code = shown.alphabet or {"0": 0.0, "1": 1.0}
            x = torch.where(bits == 1, torch.tensor(code["1"]), torch.tensor(code["0"]))
            with torch.no_grad():
                scores, own = shown.module(x), network.model(bits)
            if network.role == "fitted head":
                assert torch.equal(scores.argmax(1), answer(own).clamp(0, 10))
            else:
                assert torch.equal(scores, own), shown.name


def test_the_programs_of_the_page_are_those_of_the_analysis() -> None:
    """Step by step they answer as the functions do that the question asks, at every length up to twelve."""
    asked = {"count ones": programs.ones, "zeros backwards": programs.zeros_backwards, "balance": programs.balance}
    assert [one["name"] for one in explored.PROGRAMS] == list(asked)
    drift = 0.7412
    drifting: Any = explored._drifting(drift)
    by_formula = {drifting["name"]: lambda bits: sum(bits) + drift * (programs.REFERENCE - len(bits))}
    for stepped in (*explored.PROGRAMS, drifting):
        one: Any = stepped
        for length in range(13):
            for bits in list(itertools.product((0, 1), repeat=length))[::5]:
                answered = one["start"] + sum(one["steps"][str(bit)] for bit in bits)
                assert answered == pytest.approx((asked | by_formula)[one["name"]](bits), abs=1e-9)


def test_the_networks_are_those_of_median_drift(tmp_path: Path) -> None:
    """The counter in detail first, its controls, planted ones, and of each other recipe the middle one."""
    described, _ = written(tmp_path)
    assert [one["source"] for one in described] == [
        f"counter/seed-{SEED}",
        f"counter/seed-{SEED}/own initialisation",
        f"counter/seed-{SEED}/fitted head",
        "planted/ones",
        "planted/zeros",
        *(f"{recipe}/seed-1001" for recipe in explored.RECIPES),
    ]
    assert "shifts its answer by 0.75" in described[0]["role"]
    assert (
        "Among 3 such networks it has the median drift: a missing bit shifts its answer by 0.10 on average"
        in described[-1]["role"]
    )
    lengths = {
        one["source"].partition("/")[0]: one["trained_lengths"] for one in described if "trained_lengths" in one
    }
    every = list(range(1, 11))
    assert lengths == {"counter": [], "planted": [], "every-step": every, "truncated": every}


def test_what_is_told_of_the_experiments_is_what_the_networks_answer(tmp_path: Path) -> None:
    """Three ones in six bits, and a state patched in after seven of ten bits: the numbers are those of runs."""
    _, networks = written(tmp_path)
    explorer, (six, patched) = read.read(tmp_path / "explorer")
    assert [one.label for one in explorer.experiments] == [one["label"] for one in explored.EXPERIMENTS]
    bits = parse_bits(explored.SIX)
    counted, planted, every = (int(answer(networks[place].model(bits))) for place in (0, 3, 5))
    assert six.endswith(f"answers {counted}, the planted one 3, the one that was asked after every step {every}.")
    assert planted == 3
    # From the state of seven zeros on it reads what a string of seven zeros and the same end would have it read.
    spliced = int(answer(networks[0].model(parse_bits("0" * 7 + explored.EXAMPLE[7:]))))
    assert f"it answers {spliced}, and the remaining" in patched


def test_trained_untrained_and_planted_are_drawn_beside_each_other(tmp_path: Path) -> None:
    """In the colours that the figures give their roles, against the count of ones."""
    _ = written(tmp_path)
    explorer, _ = read.read(tmp_path / "explorer")
    assert explorer.data is not None
    data = json.loads(explorer.data)
    assert [data["networks"][place]["look"] for place in data["beside"]] == ["trained", "fitted head", "planted"]
    assert [data["networks"][place]["legend"] for place in data["beside"]] == [
        "trained",
        "untrained weights, head fitted",
        "written by hand",
    ]
    assert [data["networks"][place]["name"] for place in data["beside"]] == list(explored.BESIDE)
    assert data["truth"] == "count ones"
    assert data["networks"][-1]["look"] == "trained"


def test_a_drifting_program_is_ones_plus_so_much_for_each_missing_bit() -> None:
    """Its steps give ones + d (10 - L) on every string."""
    program = cast("Any", explored._drifting(0.25))
    for bits in ("1", "0110", "0" * 10, "1" * 14):
        answer = program["start"] + sum(program["steps"][bit] for bit in bits)
        assert answer == pytest.approx(bits.count("1") + 0.25 * (10 - len(bits)))


def test_a_folder_without_networks_is_refused(tmp_path: Path) -> None:
    """The error says which command writes them."""
    with pytest.raises(ProbeError, match="python -m analyses counter"):
        read.read(tmp_path)
