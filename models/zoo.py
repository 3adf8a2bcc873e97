"""Reads the trained networks that come with the project: one file of weights an experiment, with tables beside it.

PACK.safetensors  RECIPE/WEIGHT of all networks of a recipe, stacked along a first axis; RECIPE/seed says whose
PACK.json         each recipe, and a line a network: its errors, and the digests of its weights and of its split

`python -m models.packing` writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.errors import ProbeError

from .checkpoints import Network, blank_of, fill, load, load_config, read, read_tensors, refuse_changed
from .counter import Counter
from .data import split, training_strings
from .describe import described_split
from .recipes import CROSSED_CELLS, EXPERIMENT, RATED, RECIPES, TRAJECTORY, Recipe
from .recipes import recipe as find_recipe

ZOO = Path(__file__).parent / "zoo"
#: The pack of each recipe; that of all others is `others`.
PACKS = {
    **dict.fromkeys((each.name for each in EXPERIMENT), "codes"),
    **dict.fromkeys((each.name for each in TRAJECTORY), "over-training"),
    **dict.fromkeys((each.name for each in RATED), "base-rates"),
    **dict.fromkeys((each.name for each in CROSSED_CELLS), "crossed"),
    "counter": "counter",
}
#: The recipe whose own initialisations are kept: they are measured beside the trained networks. Any other network's
#: follows from recipe and seed, see `models.training.initialise`.
WITH_INITIALISATION = ("counter",)
#: What the table of a recipe says of each network.
LINE = ("seed", "errors", "versions", "split", "sha256")


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained network.

    Attributes:
        seed: what it was trained from.
        model: the network, in evaluation mode.
        untrained: its own initialisation, the network before the first step; None where nobody kept it.
        config: its description, see `models.describe`.
        path: the file or folder that it was read from.
    """

    seed: int
    model: Counter
    untrained: Counter | None
    config: dict[str, Any]
    path: Path


def networks(recipe: str = "counter", seeds: Iterable[int] = range(10)) -> list[Trained]:
    """Return trained networks of a recipe, one a seed, in the order of the seeds.

    Raises:
        ProbeError: there is no such recipe, or a network is missing or damaged.
    """
    return [trained(find_recipe(recipe).name, seed) for seed in seeds]


def committed_seeds(name: str) -> list[int]:
    """Return the seeds of the committed networks of a recipe or of `tf1`, rising; nothing where none is committed.

    Raises:
        ProbeError: there is no such recipe, or its table is damaged.
    """
    path = table_path(name if name == "tf1" else find_recipe(name).name)
    return sorted(read_table(name)["networks"]) if path.exists() and name in read_pack(path) else []


def checkpoint(folder: str | Path) -> Trained:
    """Return the network of any folder that `models.checkpoints.save` wrote.

    Raises:
        ProbeError: a file is missing or damaged; the untrained network alone may be absent, with its hash.
    """
    folder = Path(folder)
    config = load_config(folder)
    untrained = load(folder, which="untrained") if "untrained" in config["sha256"] else None
    return Trained(config["seed"], load(folder), untrained, config, folder)


def table_path(name: str) -> Path:
    """Return where the table of a recipe lies."""
    return ZOO / f"{PACKS.get(name, 'others')}.json"


def weights_path(name: str) -> Path:
    """Return where the weights of a recipe's networks lie."""
    return table_path(name).with_suffix(".safetensors")


def read_pack(path: Path) -> dict[str, Any]:
    """Return the tables of a pack by recipe, as they are written.

    Raises:
        ProbeError: the file is missing or damaged.
    """
    return dict(_pack(path, _stamp(path)))


def read_table(name: str) -> dict[str, Any]:
    """Return the table of a recipe: `recipe`, what else holds for all networks, and `networks`, a line by seed.

    Raises:
        ProbeError: it is missing or damaged.
    """
    path = table_path(name)
    pack = read_pack(path)
    if name not in pack:
        raise ProbeError(f"The zoo has no network {name!r}. Train one with `python -m models.train`.")
    try:
        table = pack[name]
        Recipe.from_dict(table["recipe"])
        lines = {line["seed"]: line for line in table["networks"]}
        lacking = {key for line in lines.values() for key in LINE if key not in line}
        if lacking:
            raise ValueError(f"a network lacks {', '.join(sorted(lacking))}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeError(_no_table(path, error)) from error
    return {**table, "networks": lines}


def _no_table(path: Path, error: Exception) -> str:
    return (
        f"{str(path)!r} is not the table of trained networks that `python -m models.packing` writes ({error!r}). "
        "Restore it from the repository."
    )


def drawn_split(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the split of a recipe and seed, as `models.training` draws it."""
    return described_split(*split(recipe, seed), training_strings(recipe, seed))


def digest_of_split(described: dict[str, Any]) -> str:
    """Return the SHA-256 of a split, see `models.describe.described_split`."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def trained(name: str, seed: int) -> Trained:
    """Return a network of the zoo. Everything is checked: a damaged one that loads would give wrong findings."""
    table = read_table(name)
    recipe, path = Recipe.from_dict(table["recipe"]), weights_path(name)
    if name in RECIPES and recipe != RECIPES[name]:
        raise ProbeError(f"{str(table_path(name))!r} has another recipe than models/recipes.py. Restore both.")
    tensors = _weights(path, _stamp(path)).get(name, {})
    there = rows(tensors, path)
    if seed not in there or seed not in table["networks"]:
        known = sorted(there.keys() & table["networks"].keys())
        some = f"of seeds from {known[0]} to {known[-1]}" if known else "of no seed"
        raise ProbeError(
            f"The zoo has no network {name!r} of seed {seed}; there are {len(known)}, {some}. Give one of "
            "these, or train it with `python -m models.train`."
        )
    line = table["networks"][seed]
    found = restored(line, tensors, lambda: blank_of(table), path)
    shared = {key: value for key, value in table.items() if key != "networks"} | {"recipe": recipe.to_dict()}
    config = {**shared, "steps": recipe.steps, **line, "split": _split(recipe, seed, line["split"])}
    return Trained(seed, found["model"], found.get("untrained"), config, path)


def restored(
    line: dict[str, Any], tensors: dict[str, Tensor], blank: Callable[[], Network], path: Path
) -> dict[str, Network]:
    """Return the networks of a seed that a recipe's weights hold, in evaluation mode: `model` and maybe `untrained`.

    Args:
        line: what the table says of the seed.
        tensors: the weights of all seeds.
        blank: makes a network whose weights are set here.
        path: where the weights were read; the table lies beside it.

    Raises:
        ProbeError: the weights are not those that the table describes.
    """
    seed, found = line["seed"], dict[str, Network]()
    row = rows(tensors, path)[seed]
    digests = line["sha256"] if isinstance(line["sha256"], dict) else {}
    if set(digests) != {key.partition(".")[0] for key in tensors} - {"seed"}:
        raise ProbeError(f"{str(path)!r} holds other networks of seed {seed} than its table says. Restore both.")
    for which, expected in digests.items():
        model, prefix = blank(), f"{which}."
        own = {key.removeprefix(prefix): each[row] for key, each in tensors.items() if key.startswith(prefix)}
        fill(model, own, path)
        said = f"The weights {which!r} of seed {seed} in {str(path)!r}"
        refuse_changed(model, expected, said, path.with_suffix(".json").name)
        found[which] = model.eval()
    return found


def rows(tensors: dict[str, Tensor], path: Path) -> dict[int, int]:
    """Return in which row of a recipe's weights each seed stands.

    Raises:
        ProbeError: the weights are no such rows.
    """
    seeds = tensors.get("seed")
    if (
        seeds is None
        or seeds.dim() != 1
        or seeds.dtype != torch.int64
        or {len(each) if each.dim() else 0 for each in tensors.values()} != {len(seeds)}
    ):
        raise ProbeError(f"{str(path)!r} does not hold a row of each weight for each seed. Restore it.")
    return {seed: row for row, seed in enumerate(seeds.tolist())}


def _split(recipe: Recipe, seed: int, stored: str | dict[str, Any]) -> dict[str, Any]:
    """Return a network's split, drawn again from its seed; TensorFlow's network has its own, which no seed gives."""
    if isinstance(stored, dict):
        return stored
    drawn = drawn_split(recipe, seed)
    if digest_of_split(drawn) != stored:
        raise ProbeError(
            f"The seed {seed} of {recipe.name!r} gives another split here than where the network was trained: this "
            "version of torch draws other permutations. Install the version that its table names."
        )
    return drawn


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file, so that what was read of it is kept until then."""
    try:
        status = path.stat()
    except OSError as error:
        raise ProbeError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Restore it from the repository; "
            "`python -m models.packing DIR` puts trained networks in."
        ) from error
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _pack(path: Path, stamp: tuple[int, int]) -> dict[str, Any]:
    del stamp
    try:
        return dict(json.loads(read(path)))
    except (ValueError, TypeError) as error:
        raise ProbeError(_no_table(path, error)) from error


@lru_cache(maxsize=64)
def _weights(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, Tensor]]:
    """Return the weights of a pack, by recipe."""
    del stamp
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_tensors(path, read(path)).items():
        name, _, weight = key.partition("/")
        found.setdefault(name, {})[weight] = tensor
    return found
