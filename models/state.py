"""Saves the state of a training in one file, so that a killed run resumes to the same bits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open

from probe.errors import ProbeError
from probe.storage.files import write_atomically

from .checkpoints import fill, read, read_tensors
from .counter import Counter
from .learning import Adam
from .recipes import Recipe

STATE = "training_state.safetensors"
#: What a state calls a weight's first and second moment.
MOMENTS = ("exp_avg", "exp_avg_sq")
AFRESH = "Remove it; --resume then trains that network afresh."


@dataclass(frozen=True)
class Measurement:
    """One line of `metrics.jsonl`.

    Attributes:
        step: steps taken.
        loss: clipped log loss after that step, summed over a batch, mean over the training batches, nats.
        train_error: share of the training strings that are misread, 0 to 1.
        test_error: share of the test strings that are misread, 0 to 1.
    """

    step: int
    loss: float
    train_error: float
    test_error: float


@dataclass
class Run:
    """A training under way; changed in place by every step.

    Attributes:
        recipe: how it trains.
        seed: from which seed.
        model: the weights after `step` steps.
        adam: their optimiser, with its moments.
        step: steps taken.
        metrics: measured so far. Kept here and not only in `metrics.jsonl`: two files cannot be replaced
            at one moment, and a kill between them would double or lose lines.
    """

    recipe: Recipe
    seed: int
    model: Counter
    adam: Adam
    step: int = 0
    metrics: list[Measurement] = field(default_factory=list)


def save_state(run: Run, folder: Path) -> Path:
    """Write everything that the rest of the training depends on, atomically.

    Raises:
        ProbeError: the file cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    for index, moments in enumerate(zip(run.adam.first, run.adam.second, strict=True)):
        # clone: the file's format refuses tensors that are parts of one, as these are.
        tensors |= {f"adam.{index}.{name}": each.clone() for name, each in zip(MOMENTS, moments, strict=True)}
    metadata = {
        "recipe": json.dumps(run.recipe.to_dict()),
        "seed": str(run.seed),
        "step": str(run.step),
        "metrics": json.dumps([asdict(line) for line in run.metrics]),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    return write_atomically(folder / STATE, safetensors.torch.save(tensors, metadata))


def _digest(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all that a state holds; the file's own format would not notice a changed byte."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def restore_state(run: Run, folder: Path) -> None:
    """Set a fresh run to what `save_state` wrote.

    Args:
        run: of the same recipe and seed; changed in place.
        folder: where the state lies.

    Raises:
        ProbeError: the file is damaged, or belongs to another recipe or seed.
    """
    path = folder / STATE
    tensors = read_tensors(path, read(path))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        recipe, seed = Recipe.from_dict(json.loads(metadata["recipe"])), int(metadata["seed"])
        step = int(metadata["step"])
        metrics = [Measurement(**line) for line in json.loads(metadata["metrics"])]
        expected = metadata.pop("sha256")
    except (KeyError, ValueError, TypeError) as error:
        raise ProbeError(f"{str(path)!r} does not hold the state of a training ({error!r}). {AFRESH}") from error
    if _digest(tensors, metadata) != expected:
        raise ProbeError(f"{str(path)!r} is damaged: its SHA-256 is not the {expected} written into it. {AFRESH}")
    refuse_other(run.recipe, run.seed, recipe, seed, folder)
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    fill(run.model, weights, path)
    _restore_moments(run.adam, tensors, step, path)
    run.step, run.metrics = step, metrics


def refuse_other(recipe: Recipe, seed: int, found_recipe: Recipe, found_seed: int, folder: Path) -> None:
    """Refuse to go on with a training under another recipe or seed than it was begun with.

    Raises:
        ProbeError: they differ; the message names the fields.
    """
    asked, found = {**recipe.to_dict(), "seed": seed}, {**found_recipe.to_dict(), "seed": found_seed}
    differing = [f"{key} = {found[key]!r}, not {asked[key]!r}" for key in asked if asked[key] != found[key]]
    if differing:
        raise ProbeError(
            f"The training in {str(folder)!r} has {'; '.join(differing)}. "
            "Resume it as it was begun, give another folder, or start again with --overwrite."
        )


def _restore_moments(adam: Adam, tensors: dict[str, torch.Tensor], step: int, path: Path) -> None:
    if step == 0:
        return
    for index, own in enumerate(zip(adam.first, adam.second, strict=True)):
        for name, moment in zip(MOMENTS, own, strict=True):
            found = tensors.get(f"adam.{index}.{name}")
            if found is None or found.shape != moment.shape:
                raise ProbeError(f"{str(path)!r} lacks Adam's moments of weight {index}. {AFRESH}")
            moment.copy_(found)
