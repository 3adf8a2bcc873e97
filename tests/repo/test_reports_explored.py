"""The networks of the page's explorer: which they are, and that what the page runs is what was studied."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from analyses.counter import common, explored, programs
from models.counter import answer
from models.populations import SECOND_JUDGED
from models.tasks import bit_strings

#: The counter of median drift.
SEED = SECOND_JUDGED.seeds[(len(SECOND_JUDGED.seeds) - 1) // 2]


def test_the_page_runs_the_networks_that_were_studied() -> None:
    """Those of median drift, bit for bit (of a fitted head the answers), in the colours of their roles."""
    rows = [(f"counter/seed-{seed}", (seed - 2000) / 66) for seed in SECOND_JUDGED.seeds]
    rows += [(f"{explored.RECIPE}/seed-{seed}", (seed - 1000) / 10) for seed in (1002, 1000, 1001)]
    explorer = explored.explorer(pd.Series(dict(rows)))
    trained, _, fitted = common.with_controls("counter", SEED)[:3]
    ends = explored.both_ends(pd.Series(dict(rows))[[f"counter/seed-{seed}" for seed in SECOND_JUDGED.seeds]])
    networks = [trained, fitted, *common.planted_networks(["ones"]), *common.of_recipe(explored.RECIPE, [1001]), ends]
    assert explorer.refused == ()
    for length in (4, 10, 13):
        bits = bit_strings(length)[::7]
        for shown, network in zip(explorer.networks, networks, strict=True):
            with torch.no_grad():
                scores, own = shown.module(bits), network.model(bits)
            if network.role == "fitted head":
                assert torch.equal(scores.argmax(1), answer(own).clamp(0, 10))
            else:
                assert torch.equal(scores, own), shown.name
    first, *_, last, _ = explorer.networks
    assert f"shifts its answer by {(SEED - 2000) / 66:.2f}" in first.role
    assert "Of 3 such networks it has the median drift: a missing bit shifts its answer by 0.10 on av" in last.role
    lengths = {one.name: one.trained_lengths for one in explorer.networks if one.trained_lengths}
    assert lengths == {explored.EVERY_STEP: list(range(1, 11))}
    data = json.loads(explorer.data or "")
    beside = [data["networks"][place] for place in data["beside"]]
    assert [one["look"] for one in beside] == ["trained", "fitted head", "planted"]
    assert [one["name"] for one in beside] == list(explored.BESIDE)
    assert (data["truth"], data["networks"][-1]["look"]) == ("count ones", "trained")


def test_the_programs_of_the_page_are_those_of_the_analysis() -> None:
    """They answer as the functions do that the question asks, at every length up to twelve."""
    asked = {"count ones": programs.ones, "zeros backwards": programs.zeros_backwards, "balance": programs.balance}
    assert [one.name for one in explored.PROGRAMS] == list(asked)
    drifting = explored._drifting(0.7412)
    asked[drifting.name] = lambda bits: sum(bits) + 0.7412 * (programs.REFERENCE - len(bits))
    for one in (*explored.PROGRAMS, drifting):
        for bits in ((1, 0, 1)[:length] * repeats for length in (1, 2, 3) for repeats in range(5)):
            assert one("".join(map(str, bits))) == pytest.approx(asked[one.name](bits), abs=1e-9)
