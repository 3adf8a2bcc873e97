"""Writes and reads trained flip-flops: a file a network while they are trained, and one file a cell in the zoo.

DIR/CELL/seed-N.safetensors          one network, its own initialisation, and what it was made by
models/zoo/flipflop/CELL.safetensors the weights of all networks of a cell, stacked; `seed` says which is which
models/zoo/flipflop/CELL.json        the recipe, and of each network its errors and the digests of its weights
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from probe.errors import ProbeError
from probe.storage.files import write_atomically
from probe.studies.workers import locked

from ..checkpoints import fill, read, read_tensors, weights_digest
from ..describe import versions
from ..packing import stacked
from ..zoo import restored, rows
from .network import FlipFlop
from .training import RECIPES, Recipe, errors, train

ZOO = Path(__file__).parents[1] / "zoo" / "flipflop"
#: The seeds of the study, fixed before training; rules were written while looking at seeds below 100.
SEEDS = range(3000, 3010)
WHICH = ("model", "untrained")


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained flip-flop.

    Attributes:
        cell: its kind.
        seed: what it was trained from.
        model: the network, in evaluation mode.
        untrained: its own initialisation.
        errors: what `models.flipflop.training.errors` said of the trained network.
    """

    cell: str
    seed: int
    model: FlipFlop
    untrained: FlipFlop
    errors: dict[str, float]


def train_into(folder: str | Path, cell: str, seed: int) -> tuple[str, int, dict[str, float]]:
    """Train a network into a folder, unless it is there, and return its cell, seed and errors.

    Args:
        folder: gets CELL/seed-N.safetensors.
        cell: a key of `models.flipflop.training.RECIPES`.
        seed: 0 or more.

    Raises:
        ProbeError: the file is damaged or of another recipe, or cannot be written.
    """
    path = Path(folder) / cell / f"seed-{seed}.safetensors"
    with locked(path.parent):
        if not path.exists():
            recipe = RECIPES[cell]
            model, untrained = train(recipe, seed)
            about = {"recipe": asdict(recipe), "seed": seed, "errors": errors(model), "versions": versions()}
            data = safetensors.torch.save(
                {
                    f"{which}.{key}": value
                    for which, one in zip(WHICH, (model, untrained), strict=True)
                    for key, value in one.state_dict().items()
                },
                {"about": json.dumps(about)},
            )
            _ = write_atomically(path, data)
        return cell, seed, _about(path, cell, seed)["errors"]


def pack(folder: str | Path, cell: str, seeds: Iterable[int] = SEEDS) -> Path:
    """Put the trained networks of a cell into the zoo and return the path of their weights.

    Args:
        folder: what `train_into` wrote into.
        cell: which cell.
        seeds: which seeds; all of them must be there, as a part would be a choice.

    Raises:
        ProbeError: a network is missing or damaged.
    """
    lines, models = [], dict[str, list[FlipFlop]]((which, []) for which in WHICH)
    for seed in seeds:
        path = Path(folder) / cell / f"seed-{seed}.safetensors"
        about, tensors = _about(path, cell, seed), read_tensors(path, read(path))
        for which, each in models.items():
            each.append(blank := FlipFlop(cell, RECIPES[cell].units))
            own = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{which}.")}
            fill(blank, {key.removeprefix(f"{which}."): tensor for key, tensor in own.items()}, path)
        digests = {which: weights_digest(each[-1]) for which, each in models.items()}
        lines.append({key: about[key] for key in ("seed", "errors", "versions")} | {"sha256": digests})
    tensors = {"seed": torch.tensor([line["seed"] for line in lines])}
    for which, each in models.items():
        tensors |= stacked(which, each)
    ZOO.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(f"  {json.dumps(line, allow_nan=False)}" for line in lines)
    text = f'{{\n "recipe": {json.dumps(asdict(RECIPES[cell]))},\n "networks": [\n{rows}\n ]\n}}\n'
    _ = write_atomically(ZOO / f"{cell}.json", text)
    return write_atomically(ZOO / f"{cell}.safetensors", safetensors.torch.save(tensors))


def networks(cell: str, seeds: Iterable[int] = SEEDS) -> list[Trained]:
    """Return committed networks of a cell, one a seed, in the order of the seeds.

    Args:
        cell: a key of `models.flipflop.training.RECIPES`.
        seeds: which.

    Raises:
        ProbeError: there is no such network, or its weights are not those that the table describes.
    """
    table, tensors = _zoo(cell)
    path = ZOO / f"{cell}.safetensors"
    there, lines = rows(tensors, path), {line["seed"]: line for line in table["networks"]}
    found = list[Trained]()
    for seed in seeds:
        if seed not in there or seed not in lines:
            known = ", ".join(map(str, sorted(there)))
            raise ProbeError(f"The zoo has no flip-flop {cell!r} of seed {seed}; there are the seeds {known}.")
        both = restored(lines[seed], tensors, lambda: FlipFlop(cell, RECIPES[cell].units), path)
        found.append(Trained(cell, seed, both["model"], both["untrained"], lines[seed]["errors"]))
    return found


@lru_cache(maxsize=8)
def _zoo(cell: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = ZOO / f"{cell}.json"
    try:
        table = json.loads(read(path))
        recipe = Recipe(**table["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeError(f"{str(path)!r} is damaged ({error!r}). Restore it from the repository.") from error
    if recipe != RECIPES[cell]:
        raise ProbeError(f"{str(path)!r} has another recipe than models/flipflop/training.py. Restore both.")
    weights = ZOO / f"{cell}.safetensors"
    return table, read_tensors(weights, read(weights))


def _about(path: Path, cell: str, seed: int) -> dict[str, Any]:
    """Return what a network's file says of it."""
    _ = read_tensors(path, read(path))
    with safe_open(path, "pt") as opened:
        about = json.loads((opened.metadata() or {}).get("about", "{}"))
    if about.get("recipe") != asdict(RECIPES[cell]) or about.get("seed") != seed:
        raise ProbeError(
            f"{str(path)!r} holds a network of another recipe or seed than {cell!r}, {seed}. Give another folder, or "
            "remove the file to train it again."
        )
    return about
