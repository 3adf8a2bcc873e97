"""Measures how much noise in its state a model's answers survive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine

#: The noise that is judged, and that heads are fitted under, in units of each number's standard deviation.
DOSE = 0.1


@torch.no_grad()
def noisy_accuracy(
    machine: Machine, correct: Tensor, doses: Mapping[float, int], *, seed: int = 0
) -> Mapping[float, float]:
    """Return the share of right answers, (batch,), where every number of the state is disturbed after every step.

    The noise is Gaussian, independent for every number, step, row and draw; its sd is the dose times the number's
    own sd over the rows at that step, so that a number which never varies stays as it is. `doses` says how often
    every row runs at each dose, and all doses share one noise.

    Raises:
        ProbeError: a dose is negative, there is none, or one has no draw.

    Reference:
        docs/science.md, claim 5b; Sussillo & Barak 2013, Opening the black box, for the stability it asks about.
    """
    if not doses or not all(0 <= dose < float("inf") and draws >= 1 for dose, draws in doses.items()):
        raise ProbeError(f"doses={dict(doses)} was given; doses must be 0 or more and draws at least 1.")
    rows, length = machine.clean.inputs.shape[:2]
    hits = dict.fromkeys(doses, 0)
    for wanted, step, states in noisy_runs(machine, doses, seed=seed):
        if step == length - 1:
            right = machine.answers(states).chosen.double().view(len(wanted), -1) == correct.double()
            for dose, count in zip(wanted, right.sum(1).tolist(), strict=True):
                hits[dose] += count
    return {dose: count / (doses[dose] * rows) for dose, count in hits.items()}


@torch.no_grad()
def noisy_runs(
    machine: Machine, doses: Mapping[float, int], *, seed: int = 0
) -> Iterator[tuple[list[float], int, Tensor]]:
    """Yield, of each draw, the doses that are run, one after the other, and each step with the states after it.

    States are (dose * row, number); for the noise and the arguments see `noisy_accuracy`.
    """
    dynamics, inputs, (rows, length) = machine.dynamics, machine.clean.inputs, machine.clean.inputs.shape[:2]
    spread = machine.clean.states.std(0, correction=0)
    generator = np.random.default_rng(seed)
    for draw in range(max(doses.values())):
        noise = torch.as_tensor(generator.standard_normal((length, dynamics.size, rows))) * spread[:, :, None]
        wanted = [dose for dose, draws in doses.items() if draw < draws]
        amounts = torch.tensor(wanted, dtype=torch.float64)[:, None]
        # The doses of a draw run together.
        states = dynamics.repeated(machine.clean.states[:, 0], torch.arange(rows), times=len(wanted))
        for step in range(length):
            if step:
                states = dynamics.advance(states, inputs[:, step : step + 1].repeat(len(wanted), 1, 1))
            states = states + (noise[step, :, None] * amounts).flatten(1).T
            yield wanted, step, states
