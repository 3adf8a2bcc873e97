"""Chooses `models.fitted_head.SCALE`: by how much the weights of the scaled head's recurrence are multiplied.

`python -m models.scale` prints, over the networks of seeds 0 to 99, how the head with scores answers under noise at
each scale, and how much larger training made the weights. The scale at which it answers best makes the strongest
control: at that of trained weights untrained ones are chaotic, and noise drowns the count.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch

from probe.command_line.shell import command, emit, leave, run
from probe.errors import ProbeError

from . import zoo
from .counter import Counter, answer
from .data import described_strings
from .fitted_head import RUNS, SCALE, fit_head, noisy_states
from .populations import EXPLORING
from .tasks import bit_strings, running_count

SCALES = (1.0, 2.0, 3.0, 4.0, 5.0)
#: Added to a seed for the noise that a head is tried under, so that it is not the noise that it was fitted under.
TRIED = 100_000


@torch.no_grad()
def accuracy(network: zoo.Trained, scale: float) -> float:
    """Return the share of right answers under noise, of all strings, with a head of scores on scaled weights.

    Args:
        network: a trained network with its own initialisation.
        scale: by what the weights of the recurrence are multiplied.

    Raises:
        ProbeError: its own initialisation was not kept.
    """
    if network.untrained is None:
        raise ProbeError(f"The network of seed {network.seed} lacks its own initialisation; give one of `counter`.")
    control = fit_head(network.untrained, described_strings(network.config), "scaled", seed=network.seed, scale=scale)
    x = bit_strings(10)
    ends = torch.full((len(x),), x.shape[1])
    states = noisy_states(copy.deepcopy(control.layer).double(), x.double(), ends, network.seed + TRIED)
    found = answer(control.head.double()(torch.as_tensor(states)))
    return float((found == running_count(x)[:, -1].repeat(RUNS)).double().mean())


def medians(seeds: Iterable[int], scales: Iterable[float] = SCALES) -> dict[float, float]:
    """Return by scale the median over seeds of `accuracy`.

    Args:
        seeds: of networks of the recipe `counter`.
        scales: those that are tried.
    """
    networks = zoo.networks("counter", seeds)
    return {scale: float(np.median([accuracy(each, scale) for each in networks])) for scale in scales}


def grown(seeds: Iterable[int]) -> float:
    """Return by what training multiplied the norm of the recurrent weights, W and U: the median over seeds."""
    return float(
        np.median(
            [_norm(each.model) / _norm(each.untrained) for each in zoo.networks("counter", seeds) if each.untrained]
        )
    )


def _norm(model: Counter) -> float:
    weights = [weight for name, weight in model.layer.state_dict().items() if name.startswith("weight")]
    return float(torch.cat([weight.double().flatten() for weight in weights]).norm())


app = command("python -m models.scale")


@app.default
def choose() -> None:
    """Print how the scaled head answers at each scale, and how much larger training made the weights (minutes)."""
    found = medians(EXPLORING.seeds)
    for scale, median in found.items():
        emit(f"{scale:g}: {median:.4f}")
    best = max(found, key=lambda scale: found[scale])
    emit(f"best {best:g}, in use {SCALE:g}; training: {grown(EXPLORING.seeds):.3g}")


if __name__ == "__main__":
    leave(run(app))
