"""One training step: the loss, TensorFlow 1's Adam, and the errors of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .counter import Counter, answer
from .data import Strings
from .recipes import Recipe


def clipped_log_loss(
    logits: Float[Tensor, "batch class"], counts: Int64[Tensor, " batch"], *, smallest: float
) -> Float[Tensor, ""]:
    """Return -log of the true class's probability, clipped from below to `smallest`, summed over the batch."""
    # Not log_softmax, although it is stabler: where the true class has p < 1e-10 the recipe's loss is
    # flat at 23.03 and its gradient exactly 0; log_softmax would go on pulling.
    p = torch.softmax(logits, dim=1).clamp(smallest, 1.0)
    return -p.gather(1, counts[:, None]).log().sum()


class Adam:
    """TensorFlow 1's Adam over the weights of a counter that are trained; `take_step` drives it.

    The bits are those of `torch.optim.Adam` in fewer calls: on weights so small a call costs more than its numbers.

    Args:
        model: its weights are changed in place.
        recipe: gives the numbers.

    Attributes:
        weights: those that are trained, in the model's order.
        first: first moment of each weight, in its shape; part of one tensor that holds all of them.
        second: second moment of each weight.
    """

    def __init__(self, model: Counter, recipe: Recipe) -> None:
        self.recipe = recipe
        self.weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        flat = torch.cat([weight.detach().flatten() for weight in self.weights])
        self._first, self._second = torch.zeros_like(flat), torch.zeros_like(flat)
        self._scale = torch.zeros_like(flat)
        self.first, self.second, self._scales = map(self._parts, (self._first, self._second, self._scale))

    def _parts(self, flat: Float[Tensor, " number"]) -> list[Tensor]:
        parts = flat.split([weight.numel() for weight in self.weights])
        return [part.view_as(weight) for part, weight in zip(parts, self.weights, strict=True)]

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor], t: int) -> None:
        """Change the weights by one step.

        Args:
            slopes: of the loss, one for each weight.
            t: the number of this step, from 1.
        """
        own, slope = self.recipe, torch.cat([slope.flatten() for slope in slopes])
        self._first.lerp_(slope, 1 - own.beta1)
        self._second.mul_(own.beta2).addcmul_(slope, slope, value=1 - own.beta2)
        # TensorFlow 1 computes w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + e): e is added to the
        # uncorrected sqrt(v). Torch adds it to sqrt(v / (1 - b2^t)). Multiplying TensorFlow's denominator by
        # 1 / sqrt(1 - b2^t) shows that torch with e / sqrt(1 - b2^t) is the same step; that is used here.
        # (Kingma & Ba 2015, section 2, last paragraph: TensorFlow's is their "epsilon hat" form.)
        correction = math.sqrt(1 - own.beta2**t)
        torch.sqrt(self._second, out=self._scale).div_(correction).add_(own.epsilon / correction)
        size = own.learning_rate / (1 - own.beta1**t)
        for weight, first, scale in zip(self.weights, self.first, self._scales, strict=True):
            weight.addcdiv_(first, scale, value=-size)


def last_scores(model: Counter, strings: Strings) -> Float[Tensor, "batch class"]:
    """Return the logits after each string's own last step.

    A recurrent layer has not yet read what stands behind a string's end, so padding changes nothing.
    """
    if strings.lengths is None:
        return model(strings.x)
    return model.scores(strings.x)[torch.arange(len(strings.x)), strings.lengths - 1]


def string_loss(model: Counter, strings: Strings, recipe: Recipe) -> Float[Tensor, ""]:
    """Return a recipe's loss, summed over strings: after their last steps, or over all of their steps."""
    smallest = recipe.smallest_probability
    if not recipe.every_step:
        return clipped_log_loss(last_scores(model, strings), strings.last_labels, smallest=smallest)
    scores, labels = model.scores(strings.x), strings.labels
    lengths = torch.tensor(labels.shape[1]) if strings.lengths is None else strings.lengths[:, None]
    read = (torch.arange(labels.shape[1]) < lengths).expand(labels.shape)
    return clipped_log_loss(scores[read], labels[read], smallest=smallest)


def take_step(model: Counter, adam: Adam, strings: Strings, *, recipe: Recipe, t: int) -> Float[Tensor, ""]:
    """Change the weights and the model's Adam by one step, number t from 1, and return the loss before it."""
    loss = string_loss(model, strings, recipe)
    adam.step(torch.autograd.grad(loss, adam.weights), t)
    return loss.detach()


@torch.no_grad()
def misread(model: Counter, strings: Strings) -> Int64[Tensor, " wrong"]:
    """Return the rows whose answer is not the label, in rising order."""
    return (answer(last_scores(model, strings)) != strings.last_labels).nonzero()[:, 0]
