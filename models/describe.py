"""Describes a trained network: how it was made, and how many strings it misreads."""

from __future__ import annotations

import platform
from typing import Any

import safetensors
import torch
from jaxtyping import Int64
from torch import Tensor

from .counter import Counter
from .data import Strings, training_strings, whole_strings
from .learning import misread
from .recipes import Recipe


def describe(
    model: Counter, recipe: Recipe, seed: int, train: Int64[Tensor, " train"], test: Int64[Tensor, " test"]
) -> dict[str, Any]:
    """Return the description of a trained network as JSON values; no clock, no path, no machine.

    Errors are on whole strings, in the code and with the labels of the recipe.

    Args:
        model: the trained network.
        recipe: how it was trained.
        seed: from which seed.
        train: rows of `bit_strings(recipe.length)` that were trained on, in the order of the batches.
        test: the other rows.
    """
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "steps": recipe.steps,
        "errors": errors(model, recipe, train, test),
        "versions": versions(),
        "split": described_split(train, test, training_strings(recipe, seed)),
    }


def versions() -> dict[str, str]:
    """Return what trains here."""
    return {
        "python": platform.python_version(),
        "safetensors": safetensors.__version__,
        "torch": str(torch.__version__),
    }


def described_split(train: Int64[Tensor, " train"], test: Int64[Tensor, " test"], strings: Strings) -> dict[str, Any]:
    """Return the rows that were trained on and those of the test, and the strings where they were cut or replaced."""
    changed = {} if strings.lengths is None else {"strings": strings.texts()}
    return {"train": train.tolist(), "test": test.tolist(), **changed}


def errors(
    model: Counter, recipe: Recipe, train: Int64[Tensor, " train"], test: Int64[Tensor, " test"]
) -> dict[str, dict[str, int | float]]:
    """Return how many strings are misread of the test, of the training and of all strings."""
    wrong = set(misread(model, whole_strings(recipe)).tolist())
    parts = {"test": test.tolist(), "train": set(train.tolist()), "all": range(recipe.n_strings)}
    counts = {name: (len(wrong.intersection(rows)), len(rows)) for name, rows in parts.items()}
    return {
        name: {"misread": lost, "strings": whole, "error": float(f"{lost / whole:.6g}")}
        for name, (lost, whole) in counts.items()
    }
