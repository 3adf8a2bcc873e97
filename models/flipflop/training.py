"""Trains a flip-flop from a seed: the recipe, the training itself, and the errors on sequences that it never saw."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from ..data import generator
from ..training import one_thread
from .network import FlipFlop, initialise
from .task import held, pulses


@dataclass(frozen=True)
class Recipe:
    """All choices of one training, except the seed.

    Task, loss, units, length, chances of a pulse, the optimiser's epsilon and the norm of a gradient are those of the
    example of FixedPointFinder. Batch, number of steps and rates are ours.

    Attributes:
        cell: `"lstm"`, `"gru"` or `"rnn"` (tanh).
        units: of the recurrent layer.
        length: steps a sequence.
        probability: of a pulse, for each channel and step after the first.
        batch_size: sequences a step of the training; all are drawn afresh.
        steps: of the training.
        learning_rate: Adam's step size at the beginning; it falls to `last_rate` of it along half a cosine.
        last_rate: what is left of the rate at the end, as a share.
        epsilon: Adam's epsilon.
        largest_norm: a gradient of a larger norm is made as long as this.

    Reference:
        Golub & Sussillo 2018, FixedPointFinder, examples of the flip-flop (Journal of Open Source Software 3, 1003).
    """

    cell: str = "lstm"
    units: int = 16
    length: int = 64
    probability: float = 0.5
    batch_size: int = 128
    steps: int = 2000
    learning_rate: float = 0.02
    last_rate: float = 0.01
    epsilon: float = 1e-3
    largest_norm: float = 1.0


#: The recipes of the study, by cell; nothing but the cell differs.
RECIPES = {cell: Recipe(cell) for cell in ("lstm", "gru", "rnn")}
#: Sequences that no training sees: how many, and of how many steps, four times as long as those of the training.
HELD_OUT, HELD_OUT_LENGTH = 256, 256


def train(recipe: Recipe, seed: int) -> tuple[FlipFlop, FlipFlop]:
    """Train a flip-flop on one thread and return it with its own initialisation; the same seed gives the same bits.

    The loss is the mean squared error over all outputs of all steps.

    Args:
        recipe: how to train.
        seed: of weights and sequences.

    Raises:
        ProbeError: the seed is negative, or there is no such cell.
    """
    untrained = initialise(recipe.cell, recipe.units, seed)
    model, draws = copy.deepcopy(untrained).train(), generator(seed, "flip-flop sequences")
    adam = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, eps=recipe.epsilon)
    low = recipe.learning_rate * recipe.last_rate
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, recipe.steps, eta_min=low)
    with one_thread():
        for _ in range(recipe.steps):
            x = pulses(recipe.batch_size, recipe.length, recipe.probability, draws)
            adam.zero_grad()
            nn.functional.mse_loss(model(x), held(x)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.largest_norm)
            adam.step()
            rate.step()
    return model.eval(), untrained


@torch.no_grad()
def errors(model: nn.Module) -> dict[str, float]:
    """Return the mean squared error on held-out sequences, and the share of outputs of the wrong sign.

    Args:
        model: gives three numbers a step.
    """
    x = pulses(HELD_OUT, HELD_OUT_LENGTH, 0.5, generator(0, "flip-flop held out"))
    given, wanted = model(x), held(x)
    return {
        "mean_squared_error": float(((given - wanted) ** 2).mean()),
        "wrong_sign": float((given.sign() != wanted).double().mean()),
    }
