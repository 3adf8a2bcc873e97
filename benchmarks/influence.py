"""How near contributions come to the answer they split, and what an occlusion costs beside one by hand.

    python -m benchmarks.influence completeness [--networks 20]
    python -m benchmarks.influence cost [--pairs 9] [--only TEXT]

`completeness`: all 1,024 ten-bit strings on trained counters of the zoo, the expected answer. It is wanted that the
integrated gradients of every string miss the answer minus the baseline's by .01 at most, with 400 points in the
median. Beside them stand 50 fixed points, the default of captum's `IntegratedGradients` (Gauss-Legendre too).

`cost`: of occlusions, and of resets (`--only reset`). By hand is one batch with a row for each edit, run from the
first step. CPU seconds of one thread, interleaved pairs, the median of their ratios; .5 at most is wanted of
occlusions, .6 of resets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

import probe
from models import zoo
from models.counter import expected_answer
from models.tasks import bit_strings
from probe.command_line.shell import Whole, command, emit, run

from .speed import pairs, table

FIXED = 50
GRADIENTS = "integrated gradients"


def completeness(count: int) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each counter: errors, points, and the error of fixed points."""
    x = bit_strings(10)
    nodes, weights = (
        torch.from_numpy((one + shift) / 2)
        for one, shift in zip(np.polynomial.legendre.leggauss(FIXED), (1, 0), strict=True)
    )
    for trained in zoo.networks(seeds=range(count)):
        found = probe.contributions(trained.model, x, output=expected_answer, method=GRADIENTS)
        assert found.points is not None
        assert found.answers is not None
        assert found.baseline_answers is not None
        fixed = torch.zeros(len(x), dtype=torch.float64)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            point = (node * x).requires_grad_()
            (slope,) = torch.autograd.grad(expected_answer(trained.model(point)).sum(), point)
            fixed += weight * (slope * x).double().sum((1, 2))
        missed = (fixed - (found.answers - found.baseline_answers)).abs()
        points = found.points
        numbers = [float(found.error[GRADIENTS].max()), float(missed.max()), float((missed > 0.01).double().mean())]
        yield (
            str(trained.seed),
            f"{numbers[0]:.4f}",
            f"{int(points.median())}",
            f"{int(points.max())}",
            f"{numbers[1]:.2f}",
            f"{numbers[2]:.0%}",
        )


class Reader(nn.Module):
    """An LSTM with a number read off its last state."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(features, units, batch_first=True), nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers, (batch,)."""
        return self.head(self.lstm(x)[0][:, -1])[:, 0]


@dataclass(frozen=True)
class Case:
    """What is occluded.

    Attributes:
        name: its shape.
        model: the model.
        output: what is read off its output.
        x: the input.
        steps: which steps are occluded.
        together: whether all features of a step are.
    """

    name: str
    model: nn.Module
    output: Callable[[Tensor], Tensor]
    x: Tensor
    steps: Sequence[int]
    together: bool = False

    @torch.no_grad()
    def by_hand(self) -> Tensor:
        """Return the contributions by one batch with a row for each edit, (edit, row)."""
        features = [slice(None)] if self.together else range(self.x.shape[2])
        edits = [(step, feature) for step in self.steps for feature in features]
        many = self.x.repeat(len(edits), 1, 1).view(len(edits), *self.x.shape)
        for number, (step, feature) in enumerate(edits):
            many[number, :, step, feature] = 0
        answers = self.output(self.model(many.flatten(0, 1))).view(len(edits), -1)
        return self.output(self.model(self.x)) - answers

    def by_probe(self) -> Tensor:
        """Return the contributions by `probe.contributions`, (edit, row)."""
        found = probe.contributions(
            self.model, self.x, output=self.output, method="occlusion", steps=self.steps, together=self.together
        )
        return found["occlusion"][:, list(self.steps)].flatten(1).T


@dataclass(frozen=True)
class Resets:
    """What is set back: the whole state of an LSTM, after each of some steps.

    Attributes:
        name: its shape.
        lstm: the LSTM.
        x: the input.
        times: after which steps, ascending.
    """

    name: str
    lstm: nn.LSTM
    x: Tensor
    times: Sequence[int]

    @torch.no_grad()
    def by_hand(self) -> Tensor:
        """Return the first unit's differences by one batch with a row for each reset, (row, time, lag)."""
        count, rows, first = len(self.times), len(self.x), 0
        many, pieces = self.x.repeat(count, 1, 1), list[Tensor]()
        state = (many.new_zeros(1, len(many), self.lstm.hidden_size),) * 2
        for number, step in enumerate(self.times):
            h, state = self.lstm(many[:, first : step + 1], state)
            for part in (*state, h[:, -1:].transpose(0, 1)):
                part[:, number * rows : (number + 1) * rows] = 0
            pieces.append(h[:, :, :1])
            first = step + 1
        pieces.append(self.lstm(many[:, first:], state)[0][:, :, :1])
        apart = (torch.cat(pieces, 1).view(count, rows, -1) - self.lstm(self.x)[0][:, :, 0]).abs()
        found = torch.full_like(apart, torch.nan)
        for number, step in enumerate(self.times):
            found[number, :, : found.shape[2] - step] = apart[number, :, step:]
        return found.transpose(0, 1)

    def by_probe(self) -> Tensor:
        """Return the same by `probe.memory`."""
        found = probe.memory(self.lstm, self.x, put="zero", times=self.times, answer=lambda out: out[0][:, :, 0])
        return torch.as_tensor(found.groups["state"].differences)


def cases() -> Iterator[Case | Resets]:
    """Yield the cases."""
    torch.manual_seed(0)
    counter, answers = zoo.networks(seeds=[0])[0].model, lambda numbers: numbers
    yield Case("all 1,024 strings of 10 bits, 12 units", counter, expected_answer, bit_strings(10), range(10))
    drawn = torch.randn(1_024, 10, 1)
    yield Case("1,024 rows of 10 drawn numbers, 12 units", counter, expected_answer, drawn, range(10))
    yield Case(
        "4 rows x 200 steps x 8 features, 64 units", Reader(8, 64), answers, torch.randn(4, 200, 8), range(200)
    )
    long, x = Reader(64, 128), torch.randn(1, 1_500, 64)
    for where, steps in {"each 15th": range(0, 1_500, 15), "the last": range(1_400, 1_500)}.items():
        yield Case(f"1 row, 100 of 1,500 steps ({where}), 64 features, 128 units", long, answers, x, steps, True)
    for rows, units in ((1, 128), (8, 128), (4, 64), (32, 12)):
        lstm, x = nn.LSTM(units, units, batch_first=True), torch.randn(rows, 1_500, units)
        yield Resets(f"reset: {rows} rows x 1,500 steps, 100 times, {units} units", lstm, x, range(13, 1_499, 15))


def cost(count: int, only: str) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each case with this text in its name."""
    for case in cases():
        if only in case.name:
            apart = float((case.by_probe() - case.by_hand()).abs().nan_to_num().max())
            timed = pairs(case.by_probe, case.by_hand, count)
            ours, bare = (f"{median(timed[name]) * 1e3:,.1f} ms" for name in ("seconds", "bare"))
            yield case.name, ours, bare, f"{median(timed['ratio']):.2f}", f"{apart:.1g}"


app = command("python -m benchmarks.influence")


@app.default
def main(what: Literal["completeness", "cost"], /, *, networks: Whole = 20, pairs: Whole = 9, only: str = "") -> None:
    """Measure how near contributions come to the answer they split, or what edits cost, and print the table.

    Args:
        what: which of both.
        networks: of completeness, how many are measured.
        pairs: of the cost, how many of each number.
        only: of the cost, the cases with this in their name.
    """
    torch.set_num_threads(1)
    if what == "completeness":
        head = ("seed", "error", "points (median)", "points (most)", f"error of {FIXED} points", "strings they miss")
        rows = completeness(networks)
    else:
        head = ("edits", "probe", "by hand", "ratio", "largest difference")
        rows = cost(pairs, only)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    emit(f"{processor}, torch {torch.__version__}\n\n{table(head, rows)}")


if __name__ == "__main__":
    sys.exit(run(app))
