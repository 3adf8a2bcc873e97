"""Networks, inputs and study files that the tests of studies share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tables_read
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file
from torch import nn

from probe import Finding, Readout, Study
from probe.evidence import DataFigure
from probe.evidence.measurements import Network, measurement
from probe.report import Page, Section
from probe.report.blocks import walk
from probe.subjects.subject import Subject

UNITS = 6
FUNCTIONS = """
import numpy as np

def ones(x):
    return np.cumsum(x[:, 0])

def letter(x):
    return ["one" if step[0] else "nought" for step in x]

def count(sequence):
    return sum(sequence)

def length(sequence):
    return len(sequence)

def broken(x):
    raise ValueError("no such thing")

def short(x):
    return [1.0]

def nonsense(sequence):
    return None
"""
STUDY = """
title = "What does it keep of ones?"
[network]
file = "weights.safetensors"
[inputs]
file = "inputs.npy"
[concepts.ones]
function = "functions.py:ones"
[readout]
concept = "ones"
weight = "head.weight"
bias = "head.bias"
[programs]
count = "functions.py:count"
length = "functions.py:length"
"""


def row(
    question: str, metric: str, value: float, *, role: str = "trained", network: str = "this network", **more: Any
) -> dict[str, Any]:
    """Return a row of a network that no test runs."""
    return measurement(question, metric, Network(network, role, nn.Identity()), value, **more)


def bits(count: int = 160, length: int = 8, seed: int = 0) -> np.ndarray:
    """Return random bits, (sequence, step, 1)."""
    return np.random.default_rng(seed).integers(0, 2, (count, length, 1)).astype(np.float32)


def planted() -> nn.LSTM:
    """Return an LSTM whose unit 0 adds .1 to its cell at every one, and reads nothing else; the others are random."""
    lstm: Any = nn.LSTM(1, UNITS, batch_first=True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.uniform_(-0.4, 0.4, generator=generator)
        for gate in range(4):
            for parameter in lstm.parameters():
                parameter[gate * UNITS] = 0
            if gate != 2:
                lstm.bias_ih_l0[gate * UNITS] = 40.0
        lstm.weight_hh_l0[:, 0] = 0
        lstm.weight_ih_l0[2 * UNITS, 0] = float(np.arctanh(0.1))
    return lstm


def head(length: int = 8, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a head that reads the count off unit 0 of `planted`, or off so many tanh of it."""
    levels = 0.1 * np.arange(length + 1)
    for _ in range(times):
        levels = np.tanh(levels)
    middles = np.concatenate([[0.0], np.cumsum((levels[1:] + levels[:-1]) / 2)])
    weight = np.zeros((length + 1, UNITS))
    weight[:, 0] = 400 * np.arange(length + 1)
    return weight, -400 * middles


def ones(x: np.ndarray) -> np.ndarray:
    """Return how many ones a sequence has so far."""
    return np.cumsum(x[:, 0])


def study_of(lstm: Any, **more: Any) -> Study:
    """Return a study of ones with the planted network's head."""
    weight, bias = head()
    readout = Readout("ones", weight=weight, bias=bias)
    given: dict[str, Any] = {"inputs": bits(), "concepts": {"ones": ones}, "readout": readout}
    return Study(lstm, **(given | more))


@dataclass(frozen=True)
class Report:
    """What a study wrote.

    Attributes:
        folder: where its report lies.
        page: its page.
        findings: its findings by question.
    """

    folder: Path
    page: Page
    findings: dict[str, Finding]


def report_of(study: Study, folder: Path) -> Report:
    """Run a study in a folder, and return what it wrote."""
    page = study.run(folder)
    return Report(folder, page, {path.name: Finding.read(path) for path in sorted((folder / "findings").iterdir())})


def keys_of(page: Page) -> list[str]:
    """Return the names of a page's sections, those that are folded as well."""
    return [one.key for one in walk(page.sections) if isinstance(one, Section)]


@contextmanager
def without_pictures() -> Iterator[None]:
    """Leave every figure empty, for tests of words and numbers: drawing is most of what a study takes."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>\n'

    def made(_: Figure, **words: Any) -> DataFigure:
        return DataFigure(**words, svg=empty)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataFigure, "from_figure", made)
        yield


def answer(study: Study, question: str) -> Finding:
    """Return what a study answers to one of its questions; the others are not asked."""
    from answering import answer as found

    from probe.studies.asked import every_question
    from probe.studies.prepare import prepare

    (subject,) = prepare(study)
    (asked,) = [one for one in every_question(subject) if one.name == question]
    return found(asked, beside(subject))


def value(finding: Finding, metric: str, **columns: Any) -> float:
    """Return the value of a metric's only row with these cells, of the trained network where no role is named."""
    return tables_read.value(finding.measurements, metric, **({"role": "trained"} | columns))


def parts(subject: Subject) -> dict[str, str]:
    """Return the digest of each part of a study of one network."""
    from probe.studies.identity import own, shared

    return shared(subject) | own(subject)


def beside(subject: Subject) -> tuple[Subject, ...]:
    """Return a network with the controls that a study puts beside it."""
    from probe.number_of_controls import RANDOM_NETWORKS
    from probe.studies.measure import groups_of

    return next(iter(groups_of([subject], RANDOM_NETWORKS).values()))


def written(folder: Path, text: str = STUDY) -> Path:
    """Write a study of the planted network with all its files, and return the study's path."""
    weight, bias = (torch.tensor(one, dtype=torch.float32) for one in head())
    save_file({**planted().state_dict(), "head.weight": weight, "head.bias": bias}, folder / "weights.safetensors")
    np.save(folder / "inputs.npy", bits())
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"
