"""The fitted head: an untrained flip-flop whose head alone is fitted to the task, a control."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from ..data import generator
from .network import FlipFlop
from .task import held, pulses
from .training import RECIPES

#: How many sequences a head is fitted on, of the length of the training; in how many parts they are held out in turn.
SEQUENCES, PARTS = 512, 5
#: The penalties that are tried, in units of the mean diagonal of the states' covariance.
PENALTIES = tuple(10.0**power for power in range(-8, 3))


@torch.no_grad()
def fit_head(untrained: FlipFlop, seed: int, probability: float) -> FlipFlop:
    """Return a network before training with a fitted head: ridge regression on its hidden states at every step.

    The recurrent weights stay. Of `PENALTIES` the one is taken whose squared error is smallest on sequences that the
    weights were not fitted on.

    Args:
        untrained: the network before training; its own random head is not used.
        seed: of the sequences.
        probability: of a pulse in them. That of the sequences on which the head is asked makes it strongest.

    Reference:
        Hoerl & Kennard 1970, Ridge regression, equation 2.1.
    """
    recipe = RECIPES[untrained.cell]
    x = pulses(SEQUENCES, recipe.length, probability, generator(seed, "flip-flop fitted head"))
    control = copy.deepcopy(untrained).double().eval()
    states, wanted = control.layer(x.double())[0].flatten(0, 1).numpy(), held(x).double().flatten(0, 1).numpy()
    part, errors = np.repeat(np.arange(SEQUENCES) % PARTS, recipe.length), np.zeros(len(PENALTIES))
    for number in range(PARTS):
        kept, others, right = part != number, states[part == number], wanted[part == number]
        lines = _ridge(states[kept], wanted[kept], PENALTIES)
        errors += [((others @ weight + bias - right) ** 2).mean() for weight, bias in lines]
    ((weight, bias),) = _ridge(states, wanted, [PENALTIES[int(errors.argmin())]])
    control.head.weight.copy_(torch.as_tensor(weight.T))
    control.head.bias.copy_(torch.as_tensor(bias))
    return control.to(untrained.head.weight.dtype)


def _ridge(
    states: Float[np.ndarray, "state unit"], wanted: Float[np.ndarray, "state bit"], penalties: Sequence[float]
) -> list[tuple[Float[np.ndarray, "unit bit"], Float[np.ndarray, " bit"]]]:
    """Return for each penalty weights and biases that minimise mean (n - w s - b)^2 + lambda |w|^2."""
    middle, mean = states.mean(0), wanted.mean(0)
    centred = states - middle
    covariance, shared = centred.T @ centred / len(states), centred.T @ (wanted - mean) / len(states)
    size, weights = len(covariance), []
    for penalty in penalties:
        weights.append(np.linalg.solve(covariance + penalty * np.trace(covariance) / size * np.eye(size), shared))
    return [(weight, mean - middle @ weight) for weight in weights]
