"""The 3-bit flip-flop: pulses on three channels, and for each channel the sign of its last pulse."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import ProbeError

#: Channels, each with an output of its own.
BITS = 3


def pulses(
    count: int, length: int, probability: float, generator: torch.Generator
) -> Float[Tensor, "sequence step bit"]:
    """Return random pulses: +1 or -1 with equal chances where a channel pulses, and 0 elsewhere.

    Every channel pulses at step 0, so that each output is defined from the first step on.

    Args:
        count: how many sequences.
        length: steps of each, 1 or more.
        probability: of a pulse, for each channel and each later step, 0 to 1.
        generator: of the random numbers.

    Raises:
        ProbeError: there is no step, or the probability is none.

    Reference:
        Sussillo & Barak 2013, Opening the black box, section 3.1 (3-bit flip-flop); Golub & Sussillo 2018,
        FixedPointFinder, its example (every bit pulses at step 0).
    """
    if length < 1 or not 0 <= probability <= 1:
        raise ProbeError(
            f"length={length} and probability={probability} were given; give 1 step or more, and a probability from "
            "0 to 1."
        )
    shape = count, length, BITS
    there = torch.rand(shape, generator=generator) < probability
    there[:, 0] = True
    signs = 2.0 * torch.randint(0, 2, shape, generator=generator) - 1
    return there * signs


def held(x: Float[Tensor, "sequence step bit"]) -> Float[Tensor, "sequence step bit"]:
    """Return for each channel the sign of its last pulse after every step: +1 or -1, and 0 before its first pulse.

    Args:
        x: pulses, as `pulses` returns them.
    """
    steps = torch.arange(x.shape[1])[None, :, None].expand(x.shape)
    last = torch.where(x != 0, steps, 0).cummax(1).values
    return x.gather(1, last).sign()
