"""What `config.json` says of a network: how it was made, and which strings it misreads."""

from __future__ import annotations

import platform
from typing import Any

import safetensors
import torch
from jaxtyping import Int64
from torch import Tensor

from .counter import Counter, answer
from .learning import misread
from .recipes import Recipe
from .tasks import bit_strings, format_bits, running_count


def describe(
    model: Counter,
    recipe: Recipe,
    seed: int,
    train: Int64[Tensor, " train"],
    test: Int64[Tensor, " test"],
) -> dict[str, Any]:
    """Return the description of a trained network as JSON values; no clock, no path, no machine.

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
        "misread": misread_strings(model, recipe, test),
        "floor": floor(recipe, train),
        "versions": {
            "python": platform.python_version(),
            "safetensors": safetensors.__version__,
            "torch": str(torch.__version__),
        },
        "split": {"train": train.tolist(), "test": test.tolist()},
    }


def errors(
    model: Counter, recipe: Recipe, train: Int64[Tensor, " train"], test: Int64[Tensor, " test"]
) -> dict[str, dict[str, int | float]]:
    """Return how many strings are misread of the test, of the training and of all strings."""
    x = bit_strings(recipe.length)
    wrong = set(misread(model, x, running_count(x)[:, -1]).tolist())
    parts = {"test": test.tolist(), "train": train.tolist(), "all": range(len(x))}
    return {name: _share(len(wrong.intersection(rows)), len(rows)) for name, rows in parts.items()}


def misread_strings(model: Counter, recipe: Recipe, test: Int64[Tensor, " test"]) -> list[dict[str, Any]]:
    """Return each misread string by name, with its count, the answer, and the part that it belongs to."""
    x = bit_strings(recipe.length)
    counts = running_count(x)[:, -1]
    rows = misread(model, x, counts)
    with torch.no_grad():
        answers = answer(model(x[rows])).tolist() if len(rows) else []
    in_test = set(test.tolist())
    names = format_bits(x[rows])
    return [
        {"string": name, "count": int(counts[row]), "answer": a, "part": "test" if row in in_test else "train"}
        for name, row, a in zip(names, rows.tolist(), answers, strict=True)
    ]


def floor(recipe: Recipe, train: Int64[Tensor, " train"]) -> dict[str, Any]:
    """Return the errors that no training on this split could avoid: labels that it never shows.

    The counts 0 and `length` have one string each; where that string is in the test, its label was
    never trained on.
    """
    x = bit_strings(recipe.length)
    counts = running_count(x)[:, -1]
    labels = sorted(set(range(recipe.n_classes)) - set(counts[train].tolist()))
    rows = [row for row, count in enumerate(counts.tolist()) if count in labels]
    return {
        "labels_never_trained": labels,
        "strings": format_bits(x[rows]),
        "test": _share(len(rows), recipe.n_strings - recipe.train_size),
        "all": _share(len(rows), recipe.n_strings),
    }


def _share(misread: int, strings: int) -> dict[str, int | float]:
    return {"misread": misread, "strings": strings, "error": float(f"{misread / strings:.6g}")}
