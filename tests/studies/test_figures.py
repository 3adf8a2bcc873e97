"""No study that the rules accept fails on a picture: many values, layers, units, steps, and names of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_studies import brackets, depth
from matplotlib.figure import Figure
from studied import bits, report_of
from torch import nn

from probe import Concept, Readout, Study
from probe.plots.study_figures import drawing, drawn
from probe.report.svg import MAX_BYTES
from probe.subjects.concepts import MOST_CATEGORIES

HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
RNG = np.random.default_rng(0)


def named(count: int, *shape: int) -> np.ndarray:
    """Return values of so many categories with long and hostile names."""
    names = [f"{HOSTILE} {number:02}" for number in range(count)]
    return np.array(names, dtype=object)[RNG.integers(0, count, shape)]


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


def many_answers() -> Study:
    """Return a study of as many answers as are allowed, with long names, and thirty rival programs."""
    values = named(MOST_CATEGORIES, 80, 6)
    readout = Readout("c", weight=RNG.normal(size=(len(np.unique(values)), 8)))
    programs = {f"{HOSTILE} {number}": lambda sequence: values[0, len(sequence) - 1] for number in range(30)}
    lstm = nn.LSTM(1, 8, 2, batch_first=True)
    return Study(lstm, bits(80, 6), {"c": values}, readout=readout, programs=programs)


def of_lengths() -> Study:
    """Return a study of brackets, in the author's symbols, whose sequences end at different steps."""
    x, lengths = brackets(60)
    readout = Readout("depth", function=nn.Linear(6, 4))
    gru = nn.GRU(2, 6, batch_first=True)
    return Study(gru, x, {"depth": depth}, lengths=lengths, readout=readout, symbols="()")


def of_numbers() -> Study:
    """Return a study of a tanh network that reads numbers, with numbers of any size as its concept."""
    x = RNG.normal(size=(60, 7, 2)).astype(np.float32)
    return Study(nn.RNN(2, 8, batch_first=True), x, {"sum": lambda one: 1e-3 * one.sum(1).cumsum()})


def of_many_steps() -> Study:
    """Return a study of a number that differs at nearly every step, and of categories, over hundreds of steps."""
    concepts = {"number": RNG.normal(size=(20, 100)), HOSTILE[:60]: Concept(named(50, 20, 100), description=HOSTILE)}
    asked = ["one-sequence", "state-space"]
    return Study(nn.GRU(1, 16, batch_first=True), bits(20, 100), concepts, title=HOSTILE, questions=asked)


@pytest.mark.parametrize("made", [many_answers, of_lengths, of_numbers, of_many_steps], ids=lambda one: one.__name__)
def test_every_figure_of_a_study_shows_all_of_its_data(made: Any, tmp_path: Path) -> None:
    """Nothing of it is lost, which `nothing_is_lost` looks at after each test, and each picture fits."""
    torch.manual_seed(0)
    report = report_of(made(), tmp_path)
    assert report.page.render().count('<figure class="plot"') >= 2
    for figure in (one for finding in report.findings.values() for one in finding.figures):
        assert len(figure.svg.encode()) <= MAX_BYTES, figure.name
        assert any(letter.isdigit() for letter in figure.alt), figure.name
