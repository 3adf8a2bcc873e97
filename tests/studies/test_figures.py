"""A study's pictures, and its network in the page.

- No study that the rules accept fails on a picture: many values, layers, units, steps, and names of any kind.
- The explorer of a study has the classes of its readout.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_studies import (
    SYMBOLS,
    brackets,
    depth,
    head_of_unit_0,
    language_model,
    one_hot,
    quoted,
    texts,
)
from matplotlib.figure import Figure
from studied import answer, bits, planted, report_of, row, study_of
from torch import nn

from probe import Concept, Readout, Study
from probe.evidence.findings import DataFigure
from probe.evidence.measurements import tabulate
from probe.plots.study_figures import drawing, drawn, labels, shortened, spread
from probe.questions.question import Answered
from probe.questions.states import linear_readout, linear_readout_words
from probe.report.svg import MAX_BYTES
from probe.studies.pages import live_network
from probe.studies.prepare import prepare
from probe.subjects.concepts import MOST_CATEGORIES

HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
RNG = np.random.default_rng(0)


def fits(*figures: DataFigure) -> None:
    """Refuse a figure that is too large, or whose words a page would not take."""
    for figure in figures:
        assert len(figure.svg.encode()) <= MAX_BYTES, figure.name
        assert figure.png is not None
        assert any(letter.isdigit() for letter in figure.alt)


def page_texts(count: int) -> list[str]:
    """Return long and hostile category names."""
    return [f"{HOSTILE} {number:02}" for number in range(count)]


def study_with(values: Any, kind: str | None = None) -> Study:
    """Return a study of a random GRU with one concept."""
    torch.manual_seed(0)
    concepts = {HOSTILE[:60]: Concept(values, kind, description=HOSTILE)}
    x = bits(len(values), values.shape[1])
    return Study(nn.GRU(1, 16, batch_first=True), x, concepts, title=HOSTILE)


LONG = [pytest.param(count, marks=pytest.mark.exhaustive) for count in (13, 27, MOST_CATEGORIES)]


@pytest.mark.parametrize("count", [2, 7, *LONG])
def test_a_concept_of_many_values_is_drawn(count: int) -> None:
    """As many values as are allowed, each a long text with markup and a formula in it, are in pictures that fit."""
    values = np.array(page_texts(count), dtype=object)[RNG.integers(0, count, (120, 9))]
    study = study_with(values)
    (name,) = linear_readout.names(*prepare(study)).values()
    found = answer(study, name)
    fits(*found.figures)
    assert len(found.figures) == 1


@pytest.mark.parametrize("steps", [200, pytest.param(600, marks=pytest.mark.exhaustive)])
def test_a_concept_over_hundreds_of_steps_is_drawn(steps: int) -> None:
    """A number that differs at nearly every one of 600 steps, and categories that change at each."""
    numbers = RNG.normal(size=(20, steps))
    kinds = np.array(page_texts(50), dtype=object)[RNG.integers(0, 50, (20, steps))]
    for values in (numbers, kinds):
        study = study_with(values)
        one = answer(study, "one-sequence")
        assert len(one.figures) == 4
        assert "Its first 40 of" in one.figures[0].caption
        fits(*one.figures)


def many_places(count: int) -> pd.DataFrame:
    """Return scores at two signals of each of so many layers with long names, controls among them."""
    rows = []
    for layer in range(count):
        for signal in ("cell_state", "hidden_state"):
            at: dict[str, Any] = {"layer": f"{HOSTILE}[{layer}]", "signal": signal}
            value = 0.5 + 0.4 * RNG.random()
            rows.append(row("reading-x", "score", value, **at) | {"low": value - 0.1, "high": value + 0.1})
            rows += [
                row("reading-x", "score", 0.3, role="random weights", network=f"fresh weights {one}", **at)
                for one in range(8)
            ]
    last = rows[-1]
    rows += [last | {"role": "null", "network": f"relabelled {one}", "value": 0.0} for one in range(5)]
    rows += [row("reading-x", "score", 0.1, role="null", network=name) for name in ("the step alone", "inputs")]
    return tabulate(rows)


@pytest.mark.parametrize(("count", "shown"), [(1, 2), (3, 6), (4, 8), (24, 8)])
def test_of_many_places_the_best_are_drawn(count: int, shown: int) -> None:
    """Two signals of 24 layers are 48 places: eight are drawn, the best among them."""
    (subject,) = prepare(study_of(planted()))
    table = many_places(count).replace("this network", subject.network.name)
    (figure,) = linear_readout_words.figure(Answered("reading-x", table, (), (subject,)), "R² 0.5")
    fits(figure)
    assert figure.svg.count("cell_state") + figure.svg.count("hidden_state") == shown
    best = table[(table["metric"] == "score") & (table["role"] == "trained")]["value"].max()
    assert figure.data["value"].max() == best


def test_what_is_too_large_in_any_way_becomes_a_picture() -> None:
    """Text that no figure should have is drawn as pixels that fit; less of it stays as it is."""
    for count, pixels in ((5, False), (400, True)):
        figure = Figure(figsize=(5.6, 4))
        for across, up in RNG.random((count, 2)):
            _ = figure.text(across, up, "a text")
        with drawing():
            found = drawn(figure, name="f", title="t", alt="1", caption="c", data=pd.DataFrame({"a": [1]}))
        assert len(found.svg.encode()) <= MAX_BYTES
        assert ("<image" in found.svg) is pixels
        assert "<svg" in found.svg


def test_names_are_cut_in_the_middle_and_stay_apart() -> None:
    """Any name becomes one line of so many letters; places are spread with both ends."""
    assert shortened("a\nb", 5) == "a b"
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert len(shortened(HOSTILE, 24)) == 24
    assert "\x07" not in shortened(HOSTILE, 24)
    assert labels(["abc1xyz", "abc2xyz", "b"], 4) == ["a…yz (1)", "a…yz (2)", "b"]
    assert spread(3, 6) == [0, 1, 2]
    assert spread(24, 6)[::5] == [0, 23]
    assert spread(0, 3) == []


def test_a_readout_of_many_classes_and_programs_gives_a_page(tmp_path: Path) -> None:
    """As many answers as are allowed, with long names, and thirty rival programs; every picture of it fits."""
    names = page_texts(MOST_CATEGORIES)
    values = np.array(names, dtype=object)[RNG.integers(0, MOST_CATEGORIES, (150, 6))]
    torch.manual_seed(0)
    study = Study(
        nn.LSTM(1, 8, 2, batch_first=True),
        bits(150, 6),
        {"c": values},
        readout=Readout("c", weight=RNG.normal(size=(MOST_CATEGORIES, 8))),
        programs={f"{HOSTILE} {number}": lambda sequence: names[len(sequence)] for number in range(30)},
    )
    report = report_of(study, tmp_path)
    figures = [figure for finding in report.findings.values() for figure in finding.figures]
    assert report.page.render().count('<figure class="plot"') >= 5
    assert all(len(figure.svg.encode()) <= MAX_BYTES for figure in figures)


def shown(study: Study) -> dict[str, Any]:
    """Return what the explorer of a study's page is given."""
    explorer = live_network.explorer(prepare(study)[0])
    assert not isinstance(explorer, str), explorer
    assert explorer.data is not None
    return json.loads(explorer.data)


def test_random_weights_with_a_fitted_head_have_the_colour_of_their_role() -> None:
    """Not the blue of trained networks: the legend and the panel say what the figures say."""
    (subject,) = prepare(of_brackets(concepts={"depth": depth}))[:1]
    control = dataclasses.replace(subject, network=dataclasses.replace(subject.network, role="fitted head"))
    explorer = live_network.explorer(subject, [control])
    assert not isinstance(explorer, str), explorer
    assert explorer.data is not None
    looks = [(one["look"], one["legend"]) for one in json.loads(explorer.data)["networks"]]
    assert looks == [("trained", "trained"), ("fitted head", "untrained weights, head fitted")]


def of_brackets(**given: Any) -> Study:
    """Return a study of brackets with the author's symbols."""
    x, lengths = brackets(60)
    torch.manual_seed(0)
    gru, head = nn.GRU(2, 6, batch_first=True), nn.Linear(6, 4)
    return Study(gru, x, lengths=lengths, symbols="()", readout=Readout("depth", function=head), **given)


def sign(x: np.ndarray) -> np.ndarray:
    """Return twice the difference of the two features of each step."""
    return 2 * (x[:, 0] - x[:, 1])


def test_a_logit_is_an_answer_of_two_classes() -> None:
    """The scores that the page runs are those of 0 and of 1."""
    weight, bias = head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit")
    model = language_model()
    data = shown(Study(model, one_hot(texts(60)), {"quoted": quoted}, readout=readout, symbols=SYMBOLS))
    (network,) = data["networks"]
    assert data["classes"] == ["0", "1"]
    assert (network["scores"], network["softmax"]) == (2, True)


def test_values_are_classes_by_their_place() -> None:
    """Where the readout answers -2, 0 and 2, the class of 0 is the second one."""
    x = np.random.default_rng(0).integers(0, 2, (60, 7, 2)).astype(np.float32)
    torch.manual_seed(0)
    readout = Readout("sign", function=nn.Linear(6, 3), answers=[-2, 0, 2])
    study = Study(nn.GRU(2, 6, batch_first=True), x, {"sign": sign}, readout=readout)
    data = shown(study)
    assert data["classes"] == ["-2", "0", "2"]
