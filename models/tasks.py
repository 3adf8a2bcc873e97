"""The counting task: strings of bits as tensors, and the count of their ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from probe.errors import ProbeError


def bit_strings(length: int, symbols: int = 2) -> Float[Tensor, "batch time 1"]:
    """Return all strings of so many bits, float32 (2^length, length, 1): row r spells r in binary.

    Args:
        length: bits a string, 1 to 20 (a longer table would not fit a small machine's memory).
        symbols: of another alphabet than bits how many symbols it has; row r spells r to this base.

    Raises:
        ProbeError: the length is out of range.
    """
    if not 1 <= length <= 20:
        raise ProbeError(
            f"All strings of {length} bits were asked for; a length from 1 to 20 is allowed. "
            "Use parse_bits for single longer strings."
        )
    rows = torch.arange(symbols**length)
    worth = symbols ** torch.arange(length - 1, -1, -1)
    return (rows[:, None] // worth % symbols).float()[:, :, None]


def parse_bits(text: str) -> Float[Tensor, "1 time 1"]:
    """Return the tensor of one written string, such as `"0110"`, float32 (1, time, 1).

    Args:
        text: one or more characters, each `0` or `1`.

    Raises:
        ProbeError: the text is empty or holds another character.
    """
    if not text or set(text) - {*"01"}:
        raise ProbeError(f"The string of bits is {text!r}; give one or more of the characters '0' and '1'.")
    return torch.tensor([[[float(character)] for character in text]])


def format_bits(x: Float[Tensor, "batch time 1"]) -> list[str]:
    """Return each row as text, the inverse of `parse_bits`.

    Args:
        x: zeros and ones, (batch, time, 1).

    Raises:
        ProbeError: a value is neither 0 nor 1; rounding it would name a string that was never read.
    """
    if not bool(((x == 0) | (x == 1)).all()):
        raise ProbeError("The tensor holds values other than 0 and 1 and cannot be written as bits.")
    return ["".join("1" if bit else "0" for bit in row) for row in x[:, :, 0].tolist()]


def running_count(x: Float[Tensor, "batch time 1"]) -> Int64[Tensor, "batch time"]:
    """Return how many ones each string of symbols had after each step; the last is the task's label."""
    return (x[:, :, 0] == 1).long().cumsum(dim=1)


#: The fixed string of the template question: the first ten characters of the Thue-Morse sequence, which is balanced
#: (five ones) and has no period. Matches with it are distributed as the ones are: C(10, k) strings have k of them.
TEMPLATE = "0110100110"


def running_matches(x: Float[Tensor, "batch time 1"]) -> Int64[Tensor, "batch time"]:
    """Return at how many steps each string of zeros and ones has agreed with `TEMPLATE`, this step included.

    Raises:
        ProbeError: the strings are longer than the template.
    """
    if x.shape[1] > len(TEMPLATE):
        raise ProbeError(f"The template has {len(TEMPLATE)} bits; strings of {x.shape[1]} cannot be matched with it.")
    return (x == parse_bits(TEMPLATE)[:, : x.shape[1]].to(x))[:, :, 0].long().cumsum(dim=1)


#: What a network can be asked, by name: what it should answer after each step.
QUESTIONS = {"ones": running_count, "template": running_matches}


def encode(
    x: Float[Tensor, "batch time 1"], *, zero: float, one: float, other: float | None = None
) -> Float[Tensor, "batch time 1"]:
    """Return strings of zeros and ones in another code: what each is written as, a third symbol 2 among them."""
    coded = zero + (one - zero) * x
    return coded if other is None else torch.where(x == 2, other, coded)
