"""A unit that was written into a network is named on its page, in every kind of network; text shows what it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.planted_units import NAMED, Planted, answer, networks
from probe import Finding
from probe.studies.prepare import prepare
from probe.studies.study import Study
from probe.subjects.states import recorded_rows

NETWORKS = {one.name: one for one in networks()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_planted_unit_is_named_and_none_of_a_shuffled_concept(name: str, tmp_path: Path) -> None:
    """A truth, a category, a number in the upper of two layers, and one in a network whose step is a method."""
    planted = NETWORKS[name]
    named = NAMED.match(answer(planted, str(tmp_path)))
    assert named
    assert named.groups() == (str(planted.unit), planted.layer)
    assert NAMED.match(answer(planted, str(tmp_path), seed=0)) is None


def shown(planted: Planted, folder: Path) -> Finding:
    """Return what the page of a network shows of its units."""
    _ = answer(planted, str(folder))
    return Finding.read(folder / "findings" / "best-unit-it")


def test_ten_lines_of_text_have_the_colour_of_the_unit_and_the_concept_below(tmp_path: Path) -> None:
    """Each token with the unit's state after it; they are the sequences in which the concept changes most."""
    planted = NETWORKS["a letter"]
    text = shown(planted, tmp_path).figures[0]
    assert text.name == "best-unit-it-text"
    (subject,) = prepare(Study(planted.model, planted.inputs, {"it": planted.concept}, **planted.more))
    assert len(recorded_rows(subject)) == len(planted.inputs)
    held = {"x": -1.0, "y": 0.0, "z": 1.0}
    lines = text.data.groupby("line")
    assert lines.ngroups == 10
    read = {"".join("_xyz"[token] for token in row) for row in planted.inputs.tolist()}
    assert {"".join(tokens) for tokens in lines["token"].sum()} <= read
    known = text.data.dropna(subset=["concept"])
    np.testing.assert_allclose(known["state"], known["concept"].map(held), atol=1e-3)
    changes = (np.diff(subject.concepts["it"].values, axis=1) != 0).sum(1)
    assert lines["concept"].apply(lambda values: (values != values.shift()).sum()).min() > np.median(changes) / 2


def test_a_network_without_symbols_shows_no_text(tmp_path: Path) -> None:
    """Numbers have no letters."""
    assert [one.name for one in shown(NETWORKS["a rate"], tmp_path).figures] == [
        "best-unit-it-tuning",
        "best-unit-it-scores",
    ]
