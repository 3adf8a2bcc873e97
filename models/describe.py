"""Writes `config.json` of a trained network: how it was made, and which strings it misreads."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

import safetensors
import torch
from jaxtyping import Int64
from torch import Tensor

from .counter import Counter, answer
from .data import Strings, training_strings, whole_strings
from .learning import misread
from .recipes import Recipe
from .tasks import format_bits


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

    Returns:
        Errors are on whole strings, in the code and with the labels of the recipe. Where the recipe cuts or replaces
        training strings, `split` also holds those that were trained on, as `strings`.
    """
    strings = training_strings(recipe, seed)
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "steps": recipe.steps,
        "errors": errors(model, recipe, train, test),
        "misread": misread_strings(model, recipe, test),
        "floor": floor(recipe, train, shown=strings.shown(every_step=recipe.every_step)),
        "versions": {
            "python": platform.python_version(),
            "safetensors": safetensors.__version__,
            "torch": str(torch.__version__),
        },
        "split": described_split(train, test, strings),
    }


def described_split(train: Int64[Tensor, " train"], test: Int64[Tensor, " test"], strings: Strings) -> dict[str, Any]:
    """Return which strings were trained on and which were the test, as JSON values.

    Args:
        train: rows of `bit_strings(recipe.length)` that were trained on, in the order of the batches.
        test: the other rows.
        strings: what was trained on; named one by one where the recipe cuts or replaces them.
    """
    changed = {} if strings.lengths is None else {"strings": strings.texts()}
    return {"train": train.tolist(), "test": test.tolist(), **changed}


def errors(
    model: Counter, recipe: Recipe, train: Int64[Tensor, " train"], test: Int64[Tensor, " test"]
) -> dict[str, dict[str, int | float]]:
    """Return how many strings are misread of the test, of the training and of all strings."""
    wrong = set(misread(model, whole_strings(recipe)).tolist())
    parts = {"test": test.tolist(), "train": train.tolist(), "all": range(recipe.n_strings)}
    return {name: _share(len(wrong.intersection(rows)), len(rows)) for name, rows in parts.items()}


def misread_strings(model: Counter, recipe: Recipe, test: Int64[Tensor, " test"]) -> list[dict[str, Any]]:
    """Return each misread string by name, with its label as `count`, the answer, and the part that it belongs to."""
    everything = whole_strings(recipe)
    rows = misread(model, everything)
    wrong = whole_strings(recipe, rows)
    with torch.no_grad():
        answers = answer(model(wrong.x)).tolist() if len(rows) else []
    in_test = set(test.tolist())
    names, labels = wrong.texts(), everything.last_labels
    return [
        {"string": name, "count": int(labels[row]), "answer": a, "part": "test" if row in in_test else "train"}
        for name, row, a in zip(names, rows.tolist(), answers, strict=True)
    ]


def floor(recipe: Recipe, train: Int64[Tensor, " train"], *, shown: Iterable[int] | None = None) -> dict[str, Any]:
    """Return the errors that no training on this split could avoid: labels that it never shows.

    The labels 0 and `length` have one string each; where that string is in the test, its label was
    never trained on.

    Args:
        recipe: gives strings and labels.
        train: rows trained on.
        shown: labels that training shows, where they are not those of these rows.
    """
    everything = whole_strings(recipe)
    counts = everything.last_labels
    labels = sorted(set(range(recipe.n_classes)) - set(counts[train].tolist() if shown is None else shown))
    rows = [row for row, count in enumerate(counts.tolist()) if count in labels]
    return {
        "labels_never_trained": labels,
        "strings": format_bits(everything.bits[rows]),
        "test": _share(len(set(rows).difference(train.tolist())), recipe.n_strings - recipe.train_size),
        "all": _share(len(rows), recipe.n_strings),
    }


def _share(misread: int, strings: int) -> dict[str, int | float]:
    return {"misread": misread, "strings": strings, "error": float(f"{misread / strings:.6g}")}
