"""Writes and reads trained flip-flops: a folder a network while they are trained, and one file a cell in the zoo.

DIR/CELL/seed-N                      one network, see `models.checkpoints`
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
from torch import Tensor

from probe.errors import ProbeError
from probe.storage.files import write_atomically
from probe.studies.workers import locked

from ..checkpoints import CONFIG, CONFIG_KINDS, WEIGHTS, load, load_config, read, read_tensors, save
from ..describe import versions
from ..packing import stacked
from ..zoo import restored, rows
from .network import FlipFlop
from .training import RECIPES, Recipe, errors, train

ZOO = Path(__file__).parents[1] / "zoo" / "flipflop"
#: The seeds that were judged first, by rules of the same commit; and those whose rules were committed before their
#: training. All were fixed before training.
FIRST, SEEDS = range(3000, 3010), range(4000, 4010)
ALL = (*FIRST, *SEEDS)


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


def train_into(folder: Path, cell: str, seed: int) -> tuple[str, int, dict[str, float]]:
    """Train a network into a folder, unless it is there, and return its cell, seed and errors.

    Args:
        folder: gets CELL/seed-N.
        cell: a key of `models.flipflop.training.RECIPES`.
        seed: 0 or more.

    Raises:
        ProbeError: the network that is there is damaged or of another recipe, or a file cannot be written.
    """
    place, recipe = folder / cell / f"seed-{seed}", RECIPES[cell]
    with locked(place):
        if not (place / CONFIG).exists():
            model, untrained = train(recipe, seed)
            config = {"recipe": asdict(recipe), "seed": seed, "errors": errors(model), "versions": versions()}
            save(place, model=model, untrained=untrained, config=config)
        return cell, seed, _read(place, cell, seed)[0]["errors"]


def _read(place: Path, cell: str, seed: int) -> tuple[dict[str, Any], dict[str, FlipFlop]]:
    """Return the description of a network that was trained into a folder, and it and its initialisation."""
    config = load_config(place, CONFIG_KINDS)
    if config["recipe"] != asdict(RECIPES[cell]) or config["seed"] != seed:
        raise ProbeError(
            f"{str(place)!r} holds a network of another recipe or seed than {cell!r}, {seed}. Give another one, or "
            "remove this folder to train it again."
        )
    return config, {which: load(place, which=which, blank=lambda _: _blank(cell)) for which in WEIGHTS}


def _blank(cell: str) -> FlipFlop:
    return FlipFlop(cell, RECIPES[cell].units)


def pack(folder: Path, cell: str, seeds: Iterable[int] = ALL) -> Path:
    """Put the trained networks of a cell into the zoo and return the path of their weights.

    Args:
        folder: what `train_into` wrote into.
        cell: which cell.
        seeds: which seeds; all of them must be there, as a part would be a choice.

    Raises:
        ProbeError: a network is missing or damaged.
    """
    read_back = [_read(folder / cell / f"seed-{seed}", cell, seed) for seed in seeds]
    lines = [{key: config[key] for key in ("seed", "errors", "versions", "sha256")} for config, _ in read_back]
    tensors = {"seed": torch.tensor([line["seed"] for line in lines])}
    for which in WEIGHTS:
        tensors |= stacked(which, [models[which] for _, models in read_back])
    table = ",\n".join(f"  {json.dumps(line, allow_nan=False)}" for line in lines)
    text = f'{{\n "recipe": {json.dumps(asdict(RECIPES[cell]))},\n "networks": [\n{table}\n ]\n}}\n'
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
        both = restored(lines[seed], tensors, lambda: _blank(cell), path)
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
