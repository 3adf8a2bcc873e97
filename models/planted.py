"""Counters whose mechanism is known because it was written down: what every metric is tested on."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import ProbeError

from .counter import Counter, blank_counter

# sigmoid(40) == 1.0 exactly in float32 and float64: the gate is open, not nearly open.
B = 40.0


@torch.no_grad()
def ones_counter(*, distractors: int = 11, seed: int = 0, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter that adds 0.1 to one cell for each one it reads, and nothing for a zero.

    Unit 0 holds: its gates are open whatever comes, so c_0 = 0.1 n1 at every step. The other units are
    random, live among themselves, and are never read.

    Args:
        distractors: units beside the counting one, 0 or more.
        seed: of the distractors' weights, 0 or more; the answers do not depend on it.
        dtype: of the weights; they are computed in float64.

    Returns:
        A counter of 1 + distractors units, in evaluation mode, right on every string with at most 10 ones.

    Raises:
        ProbeError: the number of distractors or the seed is negative.

    Reference:
        docs/science.md, "Planted networks", row "ones".
    """
    if distractors < 0 or seed < 0:
        raise ProbeError(
            f"A ones-counter with {distractors} distractors and seed {seed} was asked for; both must be 0 or more."
        )
    hidden = 1 + distractors
    model = blank_counter(hidden).to(torch.float64)
    for parameter in model.parameters():
        parameter.zero_()
    _distract(model, distractors, torch.Generator().manual_seed(seed))
    # Unit 0: i = f = o = 1. Its g sees the bit alone: tanh(atanh(.1)) = .1 on a one, tanh(0) = 0 on a zero.
    gates = model.lstm.get_parameter("bias_ih_l0").view(4, hidden)  # torch's order: i f g o
    gates[:, 0] = torch.tensor([B, B, 0.0, B])
    model.lstm.get_parameter("weight_ih_l0").view(4, hidden)[2, 0] = math.atanh(0.1)
    levels = torch.tanh(0.1 * torch.arange(11, dtype=torch.float64))  # o = 1, so h_0 = tanh(c_0)
    read = torch.zeros(hidden, dtype=torch.float64)
    read[0] = 1.0
    _read_levels(model, levels, read)
    return model.to(dtype).eval()


def _distract(model: Counter, distractors: int, generator: torch.Generator) -> None:
    """Fill the units from 1 on with an untrained LSTM of their own; unit 0 neither hears nor reaches them."""
    if not distractors:
        return
    limit = (6 / (1 + distractors + 4 * distractors)) ** 0.5  # Glorot & Bengio 2010, equation 16
    kernel = torch.empty(4, distractors, 1 + distractors, dtype=torch.float64)
    kernel.uniform_(-limit, limit, generator=generator)
    hidden = 1 + distractors
    model.lstm.get_parameter("weight_ih_l0").view(4, hidden)[:, 1:] = kernel[:, :, 0]
    model.lstm.get_parameter("weight_hh_l0").view(4, hidden, hidden)[:, 1:, 1:] = kernel[:, :, 1:]
    model.lstm.get_parameter("bias_ih_l0").view(4, hidden)[1, 1:] = 1.0


def _read_levels(model: Counter, levels: Float[Tensor, " class"], read: Float[Tensor, " hidden"]) -> None:
    """Set a head that answers k where y = read . h is nearest to the k-th level.

    logit_k - logit_(k-1) = beta (y - m_k) with m_k midway between two neighbouring levels, so the answer
    changes there; beta makes the smallest probability of a right answer .9999.
    """
    gaps = levels.diff()
    midpoints = levels[:-1] + gaps / 2
    beta = 10 / (gaps.abs().min() / 2)
    k = torch.arange(len(levels), dtype=torch.float64)
    model.head.weight.copy_(beta * k[:, None] * read)
    model.head.bias[1:] = -beta * midpoints.cumsum(0)
    model.head.bias[0] = 0.0
