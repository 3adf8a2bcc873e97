"""The strings and labels that a recipe trains on, and those that it holds out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from probe.errors import ProbeError

from .recipes import Recipe
from .tasks import bit_strings, format_bits, parse_bits


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return the random numbers of one purpose.

    Raises:
        ProbeError: the seed is negative.
    """
    if seed < 0:
        raise ProbeError(f"The seed {seed} is negative; give an integer from 0 up.")
    # A hash, since neighbouring seeds and `seed + 1` for a second purpose would share streams.
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def split(recipe: Recipe, seed: int) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " test"]]:
    """Return rows of `bit_strings(recipe.length, recipe.symbols)`: those trained on, in their order, and the others.

    Raises:
        ProbeError: the seed is negative.
    """
    if recipe.p_one is None:
        order = torch.randperm(recipe.n_strings, generator=generator(seed, "split"))
        return order[: recipe.train_size], order[recipe.train_size :]
    chance = torch.rand(recipe.train_size, recipe.length, generator=generator(seed, "bits"))
    third = (chance >= recipe.p_one) & (chance < recipe.p_one + recipe.p_other)
    drawn = (chance < recipe.p_one).long() + 2 * third
    rows = (drawn * recipe.symbols ** torch.arange(recipe.length - 1, -1, -1)).sum(1)
    others = torch.ones(recipe.n_strings, dtype=torch.bool)
    others[rows] = False
    return rows, others.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Strings:
    """Labelled strings, maybe of several lengths.

    Attributes:
        bits: zeros and ones, or symbols from 0 to 2, (string, time, 1); what stands after a string's own end is 0 and
            is never answered.
        x: the same in the code that the network reads.
        labels: what should be answered after each step, (string, time).
        lengths: of each string, (string,); None where all are as long as the table.
    """

    bits: Float[Tensor, "string time 1"]
    x: Float[Tensor, "string time 1"]
    labels: Int64[Tensor, "string time"]
    lengths: Int64[Tensor, " string"] | None = None

    @property
    def last_labels(self) -> Int64[Tensor, " string"]:
        """The label after each string's own last step."""
        if self.lengths is None:
            return self.labels[:, -1]
        return self.labels.gather(1, self.lengths[:, None] - 1)[:, 0]

    def texts(self) -> list[str]:
        """Return the strings as they are written."""
        texts = format_bits(self.bits)
        if self.lengths is None:
            return texts
        return [text[:length] for text, length in zip(texts, self.lengths.tolist(), strict=True)]

    def batches(self, size: int) -> list[Strings]:
        """Return the strings in batches, in their order."""
        parts = torch.arange(len(self.bits)).split(size)
        lengths = self.lengths
        return [
            Strings(self.bits[rows], self.x[rows], self.labels[rows], None if lengths is None else lengths[rows])
            for rows in parts
        ]


def whole_strings(recipe: Recipe, rows: Int64[Tensor, " string"] | None = None) -> Strings:
    """Return strings of the recipe's length, as they are asked in a test: all of them, or some rows."""
    bits = bit_strings(recipe.length, recipe.symbols)
    bits = bits if rows is None else bits[rows]
    return Strings(bits, recipe.encode(bits), recipe.labels(bits))


def described_strings(config: dict[str, Any]) -> Strings:
    """Return what a network was trained on, from its description, see `models.describe`."""
    recipe, part = Recipe.from_dict(config["recipe"]), config["split"]
    whole = whole_strings(recipe, torch.tensor(part["train"]))
    if "strings" not in part:
        return whole
    bits = torch.zeros_like(whole.bits)
    for row, text in enumerate(part["strings"]):
        bits[row, : len(text)] = parse_bits(text)[0]
    lengths = torch.tensor([len(text) for text in part["strings"]])
    return Strings(bits, recipe.encode(bits), recipe.labels(bits), lengths)


def training_strings(recipe: Recipe, seed: int) -> Strings:
    """Return what a recipe trains on from a seed, in the order of the batches.

    Raises:
        ProbeError: the seed is negative.
    """
    whole = whole_strings(recipe, split(recipe, seed)[0])
    if not recipe.truncated and not recipe.shorter:
        return whole
    bits, count = whole.bits.clone(), recipe.train_size
    if recipe.truncated:
        lengths = torch.randint(1, recipe.length + 1, (count,), generator=generator(seed, "truncated"))
    else:
        draws = generator(seed, "shorter")
        places = torch.randperm(count, generator=draws)[: recipe.shorter]
        short = bit_strings(recipe.length - 1)
        chosen = torch.randperm(len(short), generator=draws)[: recipe.shorter]
        bits[places, :-1] = short[chosen]
        lengths = torch.full((count,), recipe.length)
        lengths[places] -= 1
    bits[torch.arange(recipe.length) >= lengths[:, None]] = 0.0
    return Strings(bits, recipe.encode(bits), recipe.labels(bits), lengths)
