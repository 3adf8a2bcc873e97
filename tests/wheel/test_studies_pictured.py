"""Every figure of five small studies, of different kinds, shows all of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pictured
import pytest
import torch
from known_studies import brackets, depth, language_model, one_hot, quoted, texts
from studied import bits, ones, planted, report_of, study_of
from torch import nn

from probe import Concept, Readout, Study


def counter() -> Study:
    """Return a study whose scores are 0 and 1, with two programs."""
    return study_of(planted(), inputs=bits(96), programs={"count": sum, "length": len})


def of_texts() -> Study:
    """Return a study of a language model, whose symbols are drawn as text."""
    x = one_hot(texts(48))
    return Study(language_model(), x, {"quoted": Concept(quoted)})


def of_lengths() -> Study:
    """Return a study of an untrained GRU on brackets, whose sequences end at different steps."""
    x, lengths = brackets(80)
    torch.manual_seed(0)
    head = nn.Linear(6, 4)
    gru = nn.GRU(2, 6, batch_first=True)
    return Study(gru, x, {"depth": depth}, lengths=lengths, readout=Readout("depth", function=head), symbols="()")


def of_numbers() -> Study:
    """Return a study of a tanh network that reads numbers, with numbers of any size as its concept."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 7, 2)).astype(np.float32)
    return Study(nn.RNN(2, 8, batch_first=True), x, {"sum": lambda one: 1e-3 * one.sum(1).cumsum()})


def of_three() -> Study:
    """Return a study of three networks."""
    torch.manual_seed(0)
    many = [nn.LSTM(1, 6, batch_first=True) for _ in range(3)]
    return study_of(many, inputs=bits(64, 6), readout=None, concepts={"ones": ones})


STUDIES: list[Callable[[], Study]] = [counter, of_texts, of_lengths, of_numbers, of_three]


@pytest.mark.parametrize("made", STUDIES, ids=lambda one: one.__name__)
def test_every_figure_of_a_study_shows_all_of_its_data(made: Callable[[], Study], tmp_path: Path) -> None:
    """No number is none, no axes are empty, nothing is cut off, and every dot is in the pixels."""
    report = report_of(made(), tmp_path)
    assert sum(len(one.figures) for one in report.findings.values()) >= 3
    assert pictured.lost() == []
