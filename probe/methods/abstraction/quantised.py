"""Runs a network on a few states: after each step the state becomes the nearest of a given list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine
from ..probing.prefixes import check_aligned
from ..readouts import Answers


@dataclass(frozen=True, eq=False)
class Codebook:
    """The states that a run may use after each step, and how distances to them are measured.

    Attributes:
        values: for each step, the concept's value of each of its states, (state,).
        means: for each step, its states, (state, size).
        scales: for each step, by what each number is divided before distances are taken, (size,).
        by_step: whether each step has states of its own.
    """

    values: tuple[Float[Tensor, " _"], ...]
    means: tuple[Float[Tensor, "_ size"], ...]
    scales: tuple[Float[Tensor, " size"], ...]
    by_step: bool

    @property
    def size(self) -> int:
        """How many states there are: of all steps and the one before the first input, or those of every step."""
        return 1 + sum(map(len, self.values)) if self.by_step else len(self.values[0])

    def nearest(self, states: Float[Tensor, "row size"], step: int) -> Int64[Tensor, " row"]:
        """Return which of a step's states is nearest to each given one."""
        scale = self.scales[step]
        return torch.cdist(states / scale, self.means[step] / scale).argmin(1)


def class_means(machine: Machine, concept: Tensor, *, by_step: bool = True) -> Codebook:
    """Return the mean state of each value of the concept.

    Means are over the distinct prefixes, and distances in units of each number's standard deviation over them: those
    of a step, or of all steps together, each with the same total weight. A number that does not vary tells nothing
    apart.

    Args:
        machine: the model and its clean run.
        concept: its value after each step of each sequence, (batch, time).
        by_step: whether each step has means of its own, and distances too.

    Raises:
        ProbeError: the concept is not aligned to the machine's inputs.
    """
    check_aligned(machine.clean.inputs, concept)
    kept = [prefixes.rows for prefixes in machine.clean.prefixes]
    states = [machine.clean.states[rows, step] for step, rows in enumerate(kept)]
    values = [concept[rows, step].double() for step, rows in enumerate(kept)]
    weights = [torch.full((len(rows),), 1 / len(rows), dtype=torch.float64) for rows in kept]
    if by_step:
        found = [_means(*group) for group in zip(states, values, weights, strict=True)]
    else:
        found = [_means(torch.cat(states), torch.cat(values), torch.cat(weights))] * len(kept)
    levels, means, scales = zip(*found, strict=True)
    return Codebook(levels, means, scales, by_step)


def _means(states: Tensor, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    levels, group = torch.unique(values, return_inverse=True)
    member = (group == torch.arange(len(levels)).unsqueeze(1)).double() * weight
    means = member @ states / member.sum(1, keepdim=True)
    centre = weight @ states / weight.sum()
    deviation = (weight @ (states - centre) ** 2 / weight.sum()).sqrt()
    # Rounding makes a constant vary a little, and dividing by that would make it all that counts.
    constant = deviation <= 1e-9 * centre.abs().clamp(min=1e-3)
    return levels, means, torch.where(constant, torch.inf, deviation)


@dataclass(frozen=True, eq=False)
class QuantisedRun:
    """A run that is held on the states of a codebook.

    Attributes:
        values: the concept's value of the state that each sequence was put on after each step, (batch, time).
        answers: what the model answers at the end.
    """

    values: Float[Tensor, "batch time"]
    answers: Answers


@torch.no_grad()
def quantised_run(machine: Machine, codebook: Codebook) -> QuantisedRun:
    """Return what a model answers when its state is replaced after every step by the nearest one of a codebook.

    The next step starts from that state, so that the run is one of a finite automaton: nothing that the states do not
    say can reach the answer.

    Args:
        machine: the model and the sequences that are read.
        codebook: the states, for as many steps.

    Raises:
        ProbeError: the codebook is of another number of steps.

    Reference:
        Omlin & Giles 1996, Extraction of rules from discrete-time recurrent neural networks, section 3 (states are
        merged, and the merged ones must behave as the network does).
    """
    time = machine.clean.inputs.shape[1]
    if len(codebook.means) != time:
        raise ProbeError(
            f"The codebook has states for {len(codebook.means)} steps and the sequences have {time}; make it of a "
            "machine with sequences of the same length."
        )
    # The clean run says what one step makes of the state that stands before the first input.
    states, values = machine.clean.states[:, 0], []
    for step in range(time):
        if step:
            states = machine.dynamics.advance(states, machine.clean.inputs[:, step : step + 1])
        chosen = codebook.nearest(states, step)
        states = codebook.means[step][chosen]
        values.append(codebook.values[step][chosen])
    return QuantisedRun(torch.stack(values, 1), machine.answers(states))


def share_equal(found: Tensor, wanted: Tensor) -> float:
    """Return in which share of rows two vectors of numbers are equal."""
    return float((found.double() == wanted.double()).double().mean())
