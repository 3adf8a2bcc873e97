"""Runs a network on a few states: after each step the state becomes the nearest of a given list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError, unknown
from ..machines import Machine
from ..probing.prefixes import check_aligned
from ..readouts import Answers

#: How a distance between states is taken: in units of each number's standard deviation, all of them alike; or
#: whitened within the classes, as Mahalanobis does.
METRICS = ("standardised", "whitened")
#: What is added to the variance within classes in any direction, as a share of a number's whole variance: of few
#: states some directions have none, and what is left of them would be all that counts.
RIDGE = 0.01


@dataclass(frozen=True, eq=False)
class Codebook:
    """The states that a run may use after each of some steps, and how distances to them are measured.

    Attributes:
        values: for each of its steps, the concept's value of each of its states, (state,).
        means: for each of its steps, its states, (state, size).
        scales: for each of its steps, by what each number is divided before distances are taken, (size,).
        whiteners: for each of its steps, what the divided numbers are multiplied by then, (size, size); None where
            they are taken as they are.
        by_step: whether each step has states of its own.
        steps: its steps; after all others a run's state stays as it is.
        length: how many steps there are.
    """

    values: tuple[Float[Tensor, " _"], ...]
    means: tuple[Float[Tensor, "_ size"], ...]
    scales: tuple[Float[Tensor, " size"], ...]
    by_step: bool
    steps: tuple[int, ...]
    length: int
    whiteners: tuple[Float[Tensor, "size size"], ...] | None = None

    @property
    def size(self) -> int:
        """How many states there are: of all steps and the one before the first input, or those of every step."""
        return 1 + sum(map(len, self.values)) if self.by_step else len(self.values[0])

    def nearest(
        self, states: Float[Tensor, "row size"], step: int
    ) -> tuple[Float[Tensor, "row size"], Float[Tensor, " row"]]:
        """Return the nearest of a step's states to each given one, and its value of the concept."""
        place = self.steps.index(step)
        scale, means = self.scales[place], self.means[place]
        given, known = states / scale, means / scale
        if self.whiteners is not None:
            given, known = given @ self.whiteners[place], known @ self.whiteners[place]
        chosen = torch.cdist(given, known).argmin(1)
        return means[chosen], self.values[place][chosen]


def class_means(machine: Machine, concept: Tensor, *, by_step: bool = True, metric: str = "standardised") -> Codebook:
    """Return the mean state of each value of the concept, (batch, time), at each step or over all steps.

    Means are over the distinct prefixes: those of a step, or of all steps together, each with the same total weight.
    `standardised` distances are in units of each number's standard deviation over them. `whitened` ones are those of
    Mahalanobis, sqrt(d (C + RIDGE)^-1 d) of the same numbers d, with C their covariance within the classes, pooled:
    a direction counts by how little it varies where the concept does not. A number that does not vary tells nothing
    apart. Steps at which the concept is undefined (NaN) in some sequence have no means.

    Raises:
        ProbeError: the concept is not aligned to the machine's inputs, or is undefined somewhere at every step; or
            there is no such metric.
    """
    if metric not in METRICS:
        raise ProbeError(unknown("metric", metric, METRICS))
    check_aligned(machine.clean.inputs, concept.nan_to_num())
    steps = tuple(torch.isfinite(concept).all(0).nonzero().flatten().tolist())
    if not steps:
        raise ProbeError("The concept is undefined in some sequence after every step; leave such sequences out.")
    kept = [machine.clean.prefixes[step].rows for step in steps]
    states = [machine.clean.states[rows, step] for step, rows in zip(steps, kept, strict=True)]
    values = [concept[rows, step].double() for step, rows in zip(steps, kept, strict=True)]
    weights = [torch.full((len(rows),), 1 / len(rows), dtype=torch.float64) for rows in kept]
    if by_step:
        found = [_means(*group) for group in zip(states, values, weights, strict=True)]
    else:
        found = [_means(torch.cat(states), torch.cat(values), torch.cat(weights))] * len(kept)
    levels, means, scales, whiteners = zip(*found, strict=True)
    whitened = whiteners if metric == "whitened" else None
    return Codebook(levels, means, scales, by_step, steps, concept.shape[1], whitened)


def _means(states: Tensor, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    levels, group = torch.unique(values, return_inverse=True)
    member = (group == torch.arange(len(levels)).unsqueeze(1)).double() * weight
    means = member @ states / member.sum(1, keepdim=True)
    centre = weight @ states / weight.sum()
    deviation = (weight @ (states - centre) ** 2 / weight.sum()).sqrt()
    # Rounding makes a constant vary a little, and dividing by that would make it all that counts.
    constant = deviation <= 1e-9 * centre.abs().clamp(min=1e-3)
    scale = torch.where(constant, torch.inf, deviation)
    within = (states - means[group]) / scale
    pooled = within.T @ (weight[:, None] * within) / weight.sum() + RIDGE * torch.eye(len(scale)).to(states)
    # W of W W^T = (C + ridge)^-1: the distance of s W from m W is that of Mahalanobis.
    return levels, means, scale, torch.linalg.inv(torch.linalg.cholesky(pooled)).T


@dataclass(frozen=True, eq=False)
class QuantisedRun:
    """A run that is held on the states of a codebook: their values of the concept, NaN where a step has none, and the
    answers at the end.
    """

    values: Float[Tensor, "batch time"]
    answers: Answers


@torch.no_grad()
def quantised_run(machine: Machine, codebook: Codebook) -> QuantisedRun:
    """Return what a model answers when its state is replaced after every step by the nearest one of a codebook.

    The next step starts from that state: the run is one of a finite automaton.

    Raises:
        ProbeError: the codebook is of another number of steps.

    Reference:
        Omlin & Giles 1996, Extraction of rules from discrete-time recurrent neural networks, section 3.
    """
    time = machine.clean.inputs.shape[1]
    if codebook.length != time:
        raise ProbeError(
            f"The codebook has states for {codebook.length} steps and the sequences have {time}; make it of a "
            "machine with sequences of the same length."
        )
    # The clean run says what one step makes of the state that stands before the first input.
    states, values = machine.clean.states[:, 0], torch.full(machine.clean.inputs.shape[:2], torch.nan).double()
    for step in range(time):
        if step:
            states = machine.dynamics.advance(states, machine.clean.inputs[:, step : step + 1])
        if step in codebook.steps:
            states, values[:, step] = codebook.nearest(states, step)
    return QuantisedRun(values, machine.answers(states))


def share_equal(found: Tensor, wanted: Tensor) -> float:
    """Return in which share of rows two vectors of numbers are equal."""
    return float((found.double() == wanted.double()).double().mean())
