"""How often a study's page names a unit: one that was written into a network, and one of a shuffled concept.

    python -m benchmarks.planted_units [--shuffled 50]

In each of four networks one unit was written by hand to hold a concept: whether a bracket is open, the latest of
three letters, a count in the second of two layers, and a count in a rate network whose step is a method. The page of
each must name that unit. Then the values of the concept go to other sequences, in so many orders for each network: no
unit holds them, and at most 5 % of the pages may name one.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from probe import Finding, Study
from probe.command_line.shell import Whole, command, emit, run

from .speed import table

SEQUENCES, STEPS, UNITS = 200, 24, 8
#: A gate that is open, and how far an input moves it from there.
OPEN, MOVES = 10.0, 20.0
#: The page names a unit so; otherwise it says that none is shown.
NAMED = re.compile(r"^Units? ([\d, and]+) of the [\w ]+ of (\S+) follows? ")


class Rate(nn.Module):
    """A rate network: its step is a method, and it has time first."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.hear = nn.Linear(1, UNITS), nn.Linear(UNITS, UNITS)

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return 0.8 * h + 0.2 * torch.relu(self.read(x) + self.hear(h))

    def forward(self, x: Tensor) -> Tensor:
        """Return the states at every step, (time, batch, unit)."""
        h, states = x.new_zeros(x.shape[1], UNITS), []
        for step in range(x.size(0)):
            h = self.recurrence(x[step], h)
            states.append(h)
        return torch.stack(states)


@dataclass(frozen=True)
class Planted:
    """A network with a unit that was written to hold a concept.

    Attributes:
        name: what it is.
        model: the network.
        inputs: what it reads.
        concept: what the unit holds, a function of a sequence's inputs.
        unit: which.
        layer: its layer.
        more: what its study is told beside that.
    """

    name: str
    model: nn.Module
    inputs: np.ndarray
    concept: Callable[[np.ndarray], Any]
    unit: int
    layer: str
    more: dict[str, Any]


def is_open(x: np.ndarray) -> np.ndarray:
    """Return whether a bracket is open: 1 opens, 2 closes."""
    return np.cumsum((x[:, 0] == 1).astype(int) - (x[:, 0] == 2)) > 0


def latest(x: np.ndarray) -> list[str | None]:
    """Return the latest letter, of those that 1, 2 and 3 stand for."""
    found, last = list[str | None](), None
    for token in x[:, 0].astype(int):
        last = "xyz"[token - 1] if token else last
        found.append(last)
    return found


def ones(x: np.ndarray) -> np.ndarray:
    """Return how many ones there were."""
    return x[:, 0].cumsum()


def networks() -> list[Planted]:
    """Return the four networks, each with what it reads."""
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        letters = rng.integers(1, 4, (SEQUENCES, STEPS)) * (rng.random((SEQUENCES, STEPS)) < 0.3)
        bits = rng.integers(0, 2, (SEQUENCES, STEPS, 1)).astype(np.float32)
        symbols = {"symbols": "_()"}, {"symbols": "_xyz"}
        return [
            Planted("a bracket", _holding([1.0, 0.0]), _brackets(rng), is_open, 3, "lstm[0]", symbols[0]),
            Planted("a letter", _holding([-1.0, 0.0, 1.0]), letters, latest, 3, "lstm[0]", symbols[1]),
            Planted("a count above", _counting_above(), bits, ones, 5, "[1]", {}),
            Planted("a rate", _rate(), bits, ones, 2, "[0]", {"call": _time_first}),
        ]


def _time_first(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    return model(x.transpose(0, 1)).transpose(0, 1)


def _brackets(rng: np.random.Generator) -> np.ndarray:
    """Return texts in which a bracket closes only where one is open, and one opens only where none is."""
    there = rng.random((SEQUENCES, STEPS)) < 0.25
    return np.where(there, 2 - there.cumsum(1) % 2, 0)


@torch.no_grad()
def _holding(values: list[float]) -> nn.Module:
    """Return a model of tokens whose unit 3 takes a value at each token from 1 on, and keeps it at the token 0."""
    tokens = len(values) + 1
    words = nn.Embedding.from_pretrained(torch.eye(tokens))
    lstm: Any = nn.LSTM(tokens, UNITS, batch_first=True)
    for gate, (bias, moves) in enumerate([(-OPEN, MOVES), (OPEN, -MOVES), (0.0, OPEN), (OPEN, 0.0)]):
        row = gate * UNITS + 3
        lstm.weight_hh_l0[row], lstm.bias_hh_l0[row], lstm.bias_ih_l0[row] = 0, 0, bias
        lstm.weight_ih_l0[row, 0] = 0
        lstm.weight_ih_l0[row, 1:] = moves * (torch.tensor(values) if gate == 2 else 1)
    return Reading(words, lstm)


class Reading(nn.Module):
    """Tokens, an embedding and an LSTM."""

    def __init__(self, words: nn.Embedding, lstm: nn.LSTM) -> None:
        super().__init__()
        self.words, self.lstm = words, lstm

    def forward(self, ids: Tensor) -> Tensor:
        """Return the states."""
        return self.lstm(self.words(ids))[0]


@torch.no_grad()
def _counting_above() -> nn.Module:
    """Return an LSTM of two layers: unit 0 of the lower tells the bit, and unit 5 of the upper counts."""
    lstm: Any = nn.LSTM(1, UNITS, 2, batch_first=True)
    for level, unit, reads in ((0, 0, [0]), (1, 5, [0])):
        weights, heard, bias, other = (
            getattr(lstm, f"{name}_l{level}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        rows = [gate * UNITS + unit for gate in range(4)]
        weights[rows], heard[rows], other[rows] = 0, 0, 0
        bias[rows] = torch.tensor([OPEN, -OPEN if level == 0 else OPEN, 0.0, OPEN])
        weights[rows[2], reads] = 3.0 if level == 0 else 0.05
    return lstm


@torch.no_grad()
def _rate() -> nn.Module:
    """Return a rate network whose unit 2 adds .1 at each one."""
    model = Rate()
    for part in (model.read.weight, model.hear.weight, model.read.bias, model.hear.bias):
        part.mul_(0.5)
        part[2] = 0
    model.read.weight[2], model.hear.weight[2, 2] = 0.5, 1.0
    return model


def answer(planted: Planted, folder: str, seed: int | None = None) -> str:
    """Return what the page says of a network's units, with the concept's values in another order for a seed."""
    concept: Any = planted.concept
    if seed is not None:
        inputs = planted.inputs[:, :, None] if planted.inputs.ndim == 2 else planted.inputs
        values = np.array([list(planted.concept(row)) for row in inputs], dtype=object)
        concept = values[np.random.default_rng(seed).permutation(len(values))]
    study = Study(planted.model, planted.inputs, {"it": concept}, questions=["best-unit-it"], **planted.more)
    _ = study.run(folder, overwrite=True, progress=None)
    return Finding.read(f"{folder}/findings/best-unit-it").notes["answer"]


app = command("python -m benchmarks.planted_units")


@app.default
def main(*, shuffled: Whole = 50) -> int:
    """Count the pages that name the planted unit, and those that name one of a shuffled concept.

    Args:
        shuffled: in how many orders each concept is shuffled.
    """
    torch.set_num_threads(1)
    rows, false = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for planted in networks():
            named = NAMED.match(answer(planted, folder))
            found = named is not None and named.groups() == (str(planted.unit), planted.layer)
            wrong = sum(NAMED.match(answer(planted, folder, seed)) is not None for seed in range(shuffled))
            where, said = f"unit {planted.unit} of {planted.layer}", "yes" if found else "no"
            rows.append((planted.name, where, said, f"{wrong} of {shuffled}"))
            false += wrong
    emit(table(("what is planted", "where", "named", "named of a shuffled concept"), rows))
    return 0 if all(row[2] == "yes" for row in rows) and false <= 0.05 * shuffled * len(rows) else 1


if __name__ == "__main__":
    sys.exit(run(app))
