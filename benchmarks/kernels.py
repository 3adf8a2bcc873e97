"""What each special kernel gains: its benchmark with it, and without.

    python -m benchmarks.kernels [--only stretch]

CPU seconds of one thread, `time.thread_time`, the median of a few interleaved pairs in one process; the ratio is the
median over the pairs. A kernel is switched off from outside. One that gains less than 1.3 goes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor, nn

import probe
from analyses.__main__ import limit_threads
from analyses.counter import QUESTIONS, common
from analyses.counter.study import questions
from benchmarks import speed
from models import zoo
from models.counter import answer, expected_answer
from models.tasks import bit_strings, running_count
from probe.command_line.shell import command, emit, run
from probe.methods.causal import alignment_loss
from probe.methods.causal.ablation import Resampling
from probe.methods.causal.alignment import Search, search
from probe.methods.causal.alignment_controls import halves
from probe.methods.causal.interchange import interchange as put_in
from probe.methods.causal.pairs import all_pairs, columns, whole
from probe.methods.causal.task import Task
from probe.methods.dynamics import CellDynamics, Dynamics, StackDynamics
from probe.methods.machines import Machine
from probe.recurrent import memory
from probe.recurrent.cells import lstm, narrow
from probe.recurrent.cells.lstm import LSTMCell
from probe.subjects.subject import Subject

PAIRS, SEED = 3, 2000
SEARCH = "alignment"
BATTERY = [question for question in QUESTIONS if question != SEARCH]
#: Of the search that is timed: steps of Adam, after which steps it searches, and of which ranks.
ITERATIONS, STEPS, RANKS = 100, (2, 5, 8), range(1, 7)


@dataclass(frozen=True)
class Kernel:
    """A special kernel.

    Attributes:
        name: where it stands.
        benchmark: what it is for.
        task: runs that once.
        off: puts the kernel aside while it lasts.
    """

    name: str
    benchmark: str
    task: Callable[[], object]
    off: Callable[[], AbstractContextManager[object]]


@cache
def machine() -> Machine:
    """Return a committed counter as a machine."""
    model = zoo.networks(seeds=[SEED])[0].model
    return Machine.of(model, bit_strings(10), answer=answer, expected=expected_answer)


@cache
def subjects() -> list[Subject]:
    """Return a committed counter without its controls."""
    return common.subjects(common.with_controls("counter", SEED)[:1])


def ask(*names: str) -> None:
    """Measure some of the battery's questions on that network."""
    for question in questions(names):
        question.ask(subjects())


def interchange() -> None:
    """Put one unit's state, and the whole state, of every prefix into every string's run, at every step."""
    task = Task(running_count(bit_strings(10)))
    for put in (columns(machine().dynamics.unit(3)), whole):
        for step in range(machine().clean.inputs.shape[1]):
            _ = put_in(all_pairs(machine(), step), task, put)


def searches() -> None:
    """Search for the directions that carry the count, a few steps of Adam."""
    task = Task(running_count(bit_strings(10)))
    for step in STEPS:
        wanted = [Search(rank, task, half.train) for rank in RANKS for half in halves(machine(), step)]
        _ = search(machine(), step, wanted, iterations=ITERATIONS)


def recordings(rows: int, steps: int, features: int, units: int) -> None:
    """Record an LSTM, the more often the smaller it is."""
    torch.manual_seed(0)
    lstm, x = nn.LSTM(features, units, batch_first=True), torch.randn(rows, steps, features)
    for _ in range(max(1, 2_000_000_000 // (rows * steps * units * (features + units + 100)))):
        _ = probe.record(lstm, x)


class TorchsModule(StackDynamics):
    """The steps of a layer by torch's own module, rows first.

    Args:
        machine: a machine whose cell is an LSTM with biases.
        _steps: as of `alignment_lstm.Stretch`, in whose place it stands in a search.
        _rows: the same.
    """

    def __init__(self, machine: Machine, _steps: int = 0, _rows: int = 0) -> None:
        dynamics, weights = machine.dynamics, machine.cell.weights
        lstm = nn.LSTM(dynamics.inputs, dynamics.units, batch_first=True, dtype=torch.float64).requires_grad_(False)
        given = weights.W, weights.U, weights.b_ih, weights.b_hh
        for parameter, value in zip(lstm.parameters(), given, strict=True):
            assert value is not None
            parameter.copy_(value)
        super().__init__(lstm)

    __call__ = StackDynamics.advance

    def forward(self, states: Tensor, inputs: Tensor) -> Tensor:
        """Return the states after reading inputs, all numbers first, and keep what the way back needs."""
        self._before = states.T.requires_grad_()
        with torch.enable_grad():
            self._after = self.advance(self._before, inputs.permute(2, 0, 1))
        return self._after.detach().T

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient at the states of the latest run."""
        return torch.autograd.grad(self._after, self._before, gradient.T)[0].T


@contextmanager
def by_torch() -> Iterator[None]:
    """Let torch's own module step the layers of all machines."""
    made: dict[int, TorchsModule] = {}

    def read(self: CellDynamics, states: Tensor, inputs: Tensor) -> Tensor:
        if id(self) not in made:
            made[id(self)] = TorchsModule(replace(machine(), dynamics=self))
        return made[id(self)].advance(states, inputs)

    # A property stands before what a machine that is there already has of it.
    rows_first = property(lambda _: None, lambda _, _cell: None)
    with (
        patch.object(CellDynamics, "_read", read),
        patch.object(Dynamics, "narrow_cell", rows_first, create=True),
    ):
        yield


def sweeps() -> None:
    """Patch each step and unit of all strings, as the speed of sweeps is measured."""
    _ = speed.swept(*speed.patched_network())


KERNELS = (
    Kernel(
        "recurrent/cells/narrow.py: last, float32",
        "sweep of 120 patches",
        sweeps,
        partial(patch.object, narrow, "fits", lambda *_: False),
    ),
    Kernel("recurrent/cells/narrow.py: last", "interchange", interchange, by_torch),
    Kernel("recurrent/cells/narrow.py: last", "battery without the search", partial(ask, *BATTERY), by_torch),
    Kernel(
        "methods/causal/ablation.py: Resampling._run_units",
        "unit ablation of the battery",
        partial(ask, "unit_ablation"),
        partial(patch.object, Resampling, "_computed_alone", lambda *_: None),
    ),
    Kernel(
        "methods/causal/alignment_lstm.py: Stretch",
        "alignment search",
        searches,
        partial(patch.object, alignment_loss, "Stretch", TorchsModule),
    ),
    Kernel(
        "methods/causal/alignment_loss.py: LinearOutput",
        "alignment search",
        searches,
        partial(patch.object, alignment_loss.LinearOutput, "of", lambda _: None),
    ),
    Kernel(
        "recurrent/cells/lstm.py: units first",
        "recording 1,024 x 10, 1 to 12",
        partial(recordings, 1024, 10, 1, 12),
        partial(patch.object, LSTMCell, "_units_first", lambda *_: False),
    ),
    *(
        Kernel(
            "recurrent/cells/lstm.py: oneDNN",
            f"recording {rows} x {steps}, {features} to {units}",
            partial(recordings, rows, steps, features, units),
            partial(patch.object, lstm, "suits_onednn", lambda *_: False),
        )
        for rows, steps, features, units in ((256, 100, 1, 128), (256, 200, 64, 256), (64, 100, 1024, 1024))
    ),
    Kernel(
        "recurrent/memory.py",
        "recording 64 x 1,000, 32 to 128",
        partial(recordings, 64, 1000, 32, 128),
        partial(patch.object, memory, "_LEAST", sys.maxsize),
    ),
)


def seconds(kernel: Kernel, *, on: bool) -> float:
    """Return the CPU seconds that a kernel's benchmark takes with it, or without."""
    with nullcontext() if on else kernel.off():
        start = time.thread_time()
        _ = kernel.task()
        return time.thread_time() - start


def lines(only: str) -> Iterator[str]:
    """Yield the lines of the table: the kernels with this in their name."""
    yield "| kernel | benchmark | with | without | ratio |"
    yield "|---|---|---:|---:|---:|"
    for kernel in KERNELS:
        if only in kernel.name:
            pairs = [(seconds(kernel, on=True), seconds(kernel, on=False)) for _ in range(1 + PAIRS)][1:]
            kept, put_aside = (median(side) for side in zip(*pairs, strict=True))
            ratio = median(without / with_it for with_it, without in pairs)
            yield f"| {kernel.name} | {kernel.benchmark} | {kept:.2f} | {put_aside:.2f} | {ratio:.2f} |"


app = command("python -m benchmarks.kernels")


@app.default
def main(*, only: str = "") -> None:
    """Measure what each special kernel gains, and print the table.

    Args:
        only: the kernels with this in their name.
    """
    limit_threads()
    for line in lines(only):
        emit(line)


if __name__ == "__main__":
    sys.exit(run(app))
