"""How much noise in its state a model's answers survive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError
from ..machines import Machine


@torch.no_grad()
def noisy_accuracy(
    machine: Machine, correct: Tensor, doses: Iterable[float], *, draws: int = 32, seed: int = 0
) -> Mapping[float, float]:
    """Return the share of right answers where every number of the state is disturbed after every step.

    The noise is Gaussian, independent for every number, step, row and draw; its sd is the dose times the number's own
    sd over the rows at that step, so that a number which never varies stays as it is. All doses share one noise.

    Args:
        machine: the model.
        correct: the right answers, (batch,).
        doses: in units of the sd.
        draws: how often every row runs.
        seed: of the noise.

    Raises:
        ProbeError: a dose is negative, or there is no draw.

    Reference:
        docs/science.md, claim 5b; Sussillo & Barak 2013, Opening the black box, for the stability it asks about.
    """
    wanted = tuple(dict.fromkeys(float(dose) for dose in doses))
    if draws < 1 or not wanted or not all(0 <= dose < float("inf") for dose in wanted):
        raise ProbeError(
            f"doses={wanted} and draws={draws} were given; doses must be 0 or more and draws at least 1."
        )
    rows, length = len(machine.inputs), machine.inputs.shape[1]
    spread = machine.states.std(0, correction=0)
    hits = dict.fromkeys(wanted, 0)
    right = correct.double()
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        noise = (
            torch.as_tensor(generator.standard_normal((length, machine.size, rows))).transpose(1, 2) * spread[:, None]
        )
        for dose in wanted:
            states = machine.states[:, 0] + dose * noise[0]
            for step in range(1, length):
                states = machine.advance(states, machine.inputs[:, step : step + 1]) + dose * noise[step]
            hits[dose] += int((machine.answers(states).chosen.double() == right).sum())
    return {dose: count / (draws * rows) for dose, count in hits.items()}
