"""The end of each sequence as a machine: the layers up to the one that the readout reads, run from any state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several
from ..methods.clean_run import CleanRun
from ..methods.dynamics import Dynamics
from ..methods.machines import Machine
from ..methods.probing.targets import LEAST_SEQUENCES
from ..methods.readouts import StateReadout
from ..recurrent.layers import Layer, OpenLayer
from ..recurrent.runs import Lazy
from ..recurrent.signals import Signal, within
from .readouts import copied
from .stacks import beginnings, cost, dynamics_of, not_from_states, of_last, stack_of
from .states import drawn_rows, rows_within_budget, studied_layer
from .subject import Subject, per_subject

#: Of so many units at most each is ablated, its state replaced by that of so many other sequences.
UNITS, DRAWS = 24, 4
#: The budget decides how many sequences and steps are run, but at least so many.
FEWEST_SEQUENCES, FEWEST_STEPS = 64, 4
#: Numbers that differ by no more, relative to their size, are the same but for rounding.
SAME = 1e-13


@dataclass(frozen=True, eq=False)
class Ends:
    """The last steps of some sequences.

    Attributes:
        machine: runs them from any state.
        stack: the layers that it runs, the lowest first.
        rows: which sequences, (sequence,).
        steps: how many steps of each.
        values: the concept that the readout answers, (sequence, step); NaN where undefined.
        whole: whether these are whole sequences.
        among: of how many sequences of the study these are a part, in words; empty where they are all.
    """

    machine: Machine
    stack: tuple[Layer, ...]
    rows: np.ndarray
    steps: int
    values: np.ndarray
    whole: bool
    among: str = ""

    @property
    def said(self) -> str:
        """Return which part of the inputs this is, in words."""
        part = "their whole length" if self.whole else f"the last {several(self.steps, 'step')} of each"
        return f"{len(self.rows):,} sequences{self.among}, {part}"

    def drawn(self, most: int) -> str:
        """Return the same where at most so many of the sequences are taken."""
        return self.said + (f", {most} of them" if len(self.rows) > most else "")

    def after(self, step: int) -> str:
        """Return after which of these steps something stands, counted from 0, in words."""
        if self.steps > 1 and step in (0, self.steps - 1):
            return f"after the {'last' if step else 'first'} of these {several(self.steps, 'step')}"
        return f"after {step + 1} of these {several(self.steps, 'step')}"

    def name(self, unit: int) -> str:
        """Return a unit's name: its number, and of a stack its layer's too."""
        width, first = self.stack[0].units, self.stack[0]
        if isinstance(first, OpenLayer):
            return first.unit_name(unit)
        return str(unit) if len(self.stack) == 1 else f"{self.stack[unit // width].name}:{unit % width}"

    def layer_columns(self, number: int) -> list[int]:
        """Return where all numbers of a layer stand in a state; the lowest layer is 0."""
        units = range(self.stack[0].units * number, self.stack[0].units * (number + 1))
        return [column for unit in units for column in self.machine.dynamics.unit(unit)]


def top_of(dynamics: Dynamics, read: Layer) -> slice:
    """Return where in a state the numbers stand that a readout reads: the output of the highest layer."""
    columns = dynamics.columns(read.output)
    return slice(columns.stop - read.size(read.output), columns.stop)


def cost_of_head(subject: Subject) -> float:
    """Return about how many operations the readout takes for one sequence: those of a module's matrices."""
    parameters = [] if subject.head is None else subject.head.parameters()
    return 2.0 * sum(parameter.numel() for parameter in parameters if parameter.dim() > 1)


def why_not(subject: Subject) -> str | None:
    """Return the sentence why the layer that the readout reads cannot be run from its states, or None."""
    if subject.read is None:
        return "There is no readout."
    reason = not_from_states(subject, subject.read)
    if reason is not None:
        return reason
    last = np.isfinite(subject.last_values).sum()
    if last < LEAST_SEQUENCES:
        return (
            f"“{subject.answered.name}” is defined at the last step of {last} sequences; at least "
            f"{LEAST_SEQUENCES} are needed to put one's state into another's run."
        )
    return None


@per_subject
def ends_of(subject: Subject) -> Ends:
    """Return the last steps as a machine; how many, and of how many sequences, follows from what a step costs.

    Of a network whose answer stands in its output, these are all steps of all sequences.

    Raises:
        ProbeError: `why_not` says why not.
    """
    if subject.readout is not None and subject.readout.functions is not None:
        return _whole_model(subject)
    reason, read = why_not(subject), subject.read
    if reason is not None or read is None:
        raise ProbeError(reason or "There is no readout.")
    stack, lengths, budget = stack_of(read), subject.lengths, subject.budget
    defined = np.flatnonzero(np.isfinite(subject.last_values))
    # Three quarters of the sequences are this long or longer.
    usual = int(np.quantile(lengths[defined], 0.25, method="lower"))
    left = -(subject.asked.interchange_step or 0)
    affordable = budget.ends / (cost(stack) * DRAWS * min(read.units * len(stack), UNITS))
    steps = max(left, int(np.clip(affordable / FEWEST_SEQUENCES, min(FEWEST_STEPS, usual), usual)))
    most = np.clip(affordable / steps, FEWEST_SEQUENCES, min(budget.whole_runs, budget.points // steps))
    rows = drawn_rows(subject, defined[lengths[defined] >= steps], int(most), 5)
    machine = _machine(subject, stack, *beginnings(subject, stack, rows, steps))
    values = of_last(subject.answered.values[rows][:, :, None], lengths[rows], steps)[:, :, 0]
    among = f" (of the study's {len(lengths):,})" if len(rows) < len(lengths) else ""
    whole = bool((lengths[rows] == steps).all())
    return Ends(machine, tuple(stack), rows, steps, values, whole, among)


def step_of(subject: Subject, step: int | None) -> int:
    """Return a step that was asked for, from 0, counted in the ends of the sequences; -1 is the last.

    None takes the readout's `interchange_step`, or else the middle, see `CleanRun.headline_step`.
    """
    clean, chosen = machine_of(subject).clean, step if step is not None else subject.asked.interchange_step
    chosen = clean.headline_step if chosen is None else chosen
    return within("step", (chosen,), clean.inputs.shape[1], "the input's time axis")[0]


@per_subject
def runs_of(subject: Subject) -> Machine:
    """Return the network as a machine over all sequences from their first step on, for answers at any step.

    Rows are counted from their own beginning, while `ends_of` counts from the end. Padding is NaN.
    """
    read, _ = subject.reading
    reason = not_from_states(subject, read)
    if reason is not None:
        raise ProbeError(reason)
    stack = stack_of(read)
    lengths = torch.as_tensor(subject.lengths) if subject.ragged else None
    return _machine(subject, stack, *beginnings(subject, stack, np.arange(len(subject.x)), None), lengths)


def machine_of(subject: Subject) -> Machine:
    """Return the network as a machine, see `ends_of`."""
    return ends_of(subject).machine


def affordable_runs(subject: Subject, times: int = 1) -> int:
    """Return how many sequences the budget allows to run whole, each so many times; 0 without a head."""
    if subject.read is None:
        return 0
    stack = stack_of(subject.read)
    held = rows_within_budget(subject, sum(layer.units * len(layer.states) for layer in stack))
    one = (cost(stack) + cost_of_head(subject)) * subject.x.shape[1] * times
    return int(min(subject.budget.whole_runs, len(held), subject.budget.ends / one))


def part_of(subject: Subject, sequences: int | None) -> Subject:
    """Return the network with so many of its sequences, drawn by its seed (so also its controls'); None for all."""
    count = len(subject.x)
    if sequences is None or sequences >= count:
        return subject
    rows = drawn_rows(subject, np.arange(count), sequences, 8)
    concepts = {
        name: dataclasses.replace(known, values=known.values[rows]) for name, known in subject.concepts.items()
    }
    part = {"x": subject.x[rows], "lengths": subject.lengths[rows], "groups": subject.groups_of(rows)}
    return dataclasses.replace(subject, **part, concepts=concepts)


def said_of(subject: Subject, sequences: int | None) -> str:
    """Return in words which sequences `part_of` takes."""
    every = several(len(subject.x), "sequence")
    if sequences is None or sequences >= len(subject.x):
        return f"all {every}"
    return f"{sequences:,} of the {every}, drawn by the seed"


def _whole_model(subject: Subject) -> Ends:
    answer, expected = subject.asked.functions or (None, None)
    if answer is None or expected is None:
        raise ProbeError("The readout has no output.")
    only = subject.layer or studied_layer(subject).name
    machine = Machine.of(subject.model, subject.x, answer=answer, expected=expected, layer=only)
    rows, steps = np.arange(len(subject.x)), subject.x.shape[1]
    return Ends(machine, subject.layers, rows, steps, subject.answered.values, whole=True)


@torch.no_grad()
def _machine(
    subject: Subject, stack: list[Layer], inputs: Tensor, begin: Tensor, lengths: Tensor | None = None
) -> Machine:
    """Return layers as a machine with its clean run from some states; `lengths` where sequences differ in them."""
    dynamics, (read, head) = dynamics_of(subject, stack), subject.reading
    head, states = copied(head), [begin]
    if lengths is not None:
        inputs = inputs.masked_fill((torch.arange(inputs.shape[1]) >= lengths[:, None])[:, :, None], torch.nan)
    for step in range(inputs.shape[1]):
        reads = slice(None) if lengths is None else lengths > step
        after = torch.full_like(begin, torch.nan)
        after[reads] = dynamics.advance(states[-1][reads], inputs[reads, step : step + 1])
        states.append(after)
    columns, every, top = dynamics.columns(read.output), torch.stack(states[1:], 1), top_of(dynamics, read)
    readout = StateReadout(lambda last: head(last[:, top].contiguous()), head.answer, head.expected)
    # Rows that go on alike from different states are different.
    starts = torch.arange(len(inputs)) * bool((begin != begin[:1]).any())
    signals: Mapping[Signal, Tensor] = {}
    if (cell := dynamics.cell) is not None:
        x, h, initial = inputs.transpose(0, 1), every[:, :, columns].transpose(0, 1), dynamics.parts(begin)
        signals = Lazy(cell.signals, lambda signal: cell.open(x, h, initial, (signal,))[0][signal])
    last = states[-1] if lengths is None else every[torch.arange(len(every)), lengths - 1]
    return Machine(dynamics, readout, CleanRun(inputs, begin, every, readout.answers(last), starts, signals, lengths))


def alike(end: Ends, place: int) -> bool:
    """Return whether all sequences have the same state after a step, but for rounding."""
    states = end.machine.clean.states[:, place]
    apart = states.amax(0) - states.amin(0)
    return bool((apart <= SAME * states.abs().amax(0).clamp(min=1)).all())
