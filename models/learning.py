"""One step of the recipe: the loss, TensorFlow 1's Adam, and the errors that a network makes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .counter import Counter, answer
from .recipes import Recipe


def clipped_log_loss(
    logits: Float[Tensor, "batch class"], counts: Int64[Tensor, " batch"], *, smallest: float
) -> Float[Tensor, ""]:
    """Return -log of the true class's probability, clipped from below, summed over the batch.

    Args:
        logits: scores, (batch, class).
        counts: the true class of each row, (batch).
        smallest: probabilities are clipped to [smallest, 1].
    """
    # Not log_softmax, although it is stabler: where the true class has p < 1e-10 the recipe's loss is
    # flat at 23.03 and its gradient exactly 0; log_softmax would go on pulling.
    p = torch.softmax(logits, dim=1).clamp(smallest, 1.0)
    return -p.gather(1, counts[:, None]).log().sum()


def make_adam(model: Counter, recipe: Recipe) -> torch.optim.Adam:
    """Return the optimiser over the weights that are trained; `take_step` drives it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    betas = (recipe.beta1, recipe.beta2)
    return torch.optim.Adam(trained, lr=recipe.learning_rate, betas=betas, foreach=False)


def take_step(
    model: Counter,
    adam: torch.optim.Adam,
    x: Float[Tensor, "batch time 1"],
    counts: Int64[Tensor, " batch"],
    *,
    recipe: Recipe,
    t: int,
) -> Float[Tensor, ""]:
    """Change the weights by one step and return the loss before it.

    Args:
        model: changed in place.
        adam: made by `make_adam`; changed in place.
        x: the batch, (batch, time, 1).
        counts: its labels, (batch).
        recipe: which loss and which Adam.
        t: the number of this step, from 1.
    """
    # TensorFlow 1 computes w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + e): e is added to the
    # uncorrected sqrt(v). Torch adds it to sqrt(v / (1 - b2^t)). Multiplying TensorFlow's denominator by
    # 1 / sqrt(1 - b2^t) shows that torch with e / sqrt(1 - b2^t) is the same step; that is used here.
    # (Kingma & Ba 2015, section 2, last paragraph: TensorFlow's is their "epsilon hat" form.)
    adam.param_groups[0]["eps"] = recipe.epsilon / math.sqrt(1 - recipe.beta2**t)
    adam.zero_grad()
    loss = clipped_log_loss(model(x), counts, smallest=recipe.smallest_probability)
    loss.backward()
    adam.step()
    return loss.detach()


@torch.no_grad()
def misread(
    model: Counter, x: Float[Tensor, "batch time 1"], counts: Int64[Tensor, " batch"]
) -> Int64[Tensor, " wrong"]:
    """Return the rows whose answer is not the count, in rising order."""
    return (answer(model(x)) != counts).nonzero()[:, 0]
