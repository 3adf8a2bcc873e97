"""`python -m models.packing DIR`: puts trained networks into the zoo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from probe.command_line.shell import command, emit, leave, run
from probe.errors import ProbeError
from probe.storage.files import write_atomically
from probe.studies.workers import locked

from . import zoo
from .checkpoints import CONFIG, read, read_tensors, save, weights_digest
from .recipes import Recipe
from .recipes import recipe as find_recipe

app = command("python -m models.packing")


def pack(folder: str | Path, name: str) -> int:
    """Put the finished networks of a folder into the zoo's files of a recipe and return how many are new there.

    What the zoo holds stays.

    Args:
        folder: holds `seed-N` for each network, as `python -m models.train --seeds` writes them.
        name: of the recipe, or `tf1`.

    Raises:
        ProbeError: a network is damaged or of another recipe, another network of its seed is there, or a file cannot
            be written.
    """
    with locked(zoo.ZOO, "packing networks"):
        held = {seed: zoo.trained(name, seed) for seed in zoo.committed_seeds(name)}
        new = {}
        for path in sorted(Path(folder).glob(f"seed-*/{CONFIG}")):
            network = zoo.checkpoint(path.parent)
            _refuse(network, name, held)
            if network.seed not in held:
                new[network.seed] = network
        if new:
            _write(name, {**held, **new})
    return len(new)


def unpack(name: str, seed: int, folder: str | Path) -> Path:
    """Write a network of the zoo, of a recipe or `tf1`, as a folder, see `models.checkpoints`, and return that."""
    network = zoo.trained(name, seed)
    return save(folder, model=network.model, untrained=network.untrained, config=network.config)


def _refuse(network: zoo.Trained, name: str, held: dict[int, zoo.Trained]) -> None:
    """Raise where a network does not belong into a recipe's files."""
    recipe = Recipe.from_dict(network.config["recipe"])
    known = [each.config["recipe"] for each in held.values()] or [network.config["recipe"]]
    expected = Recipe.from_dict(known[0]) if name == "tf1" else find_recipe(name)
    if recipe != expected:
        own, other = recipe.to_dict(), expected.to_dict()
        said = ", ".join(f"{key}={own[key]!r} (there: {other[key]!r})" for key in own if own[key] != other[key])
        raise ProbeError(f"{str(network.path)!r} was trained by another recipe than {name!r} of the zoo: {said}.")
    if network.path.name != f"seed-{network.seed}":
        raise ProbeError(f"{str(network.path)!r} holds the network of seed {network.seed}. Give the folder its name.")
    if "origin" not in network.config and network.config["split"] != zoo.drawn_split(recipe, network.seed):
        raise ProbeError(
            f"{str(network.path)!r} has another split than seed {network.seed} gives: its seed or its split was "
            "changed, or it was trained with another version of torch. Train it again."
        )
    there = held.get(network.seed)
    if there is not None and weights_digest(network.model) != weights_digest(there.model):
        raise ProbeError(
            f"The zoo holds another network of seed {network.seed} of {name!r} than {str(network.path)!r}: what was "
            "measured of it would count for this one no more. Take the network out of the folder."
        )


def _write(name: str, networks: dict[int, zoo.Trained]) -> None:
    """Write a recipe's networks; the pack's other recipes stay as they are. A kill between the files is noticed."""
    ordered = [networks[seed] for seed in sorted(networks)]
    tensors = {"seed": torch.tensor([each.seed for each in ordered])}
    tensors |= stacked("model", [each.model for each in ordered])
    initial = [each.untrained for each in ordered if each.untrained is not None]
    if name in zoo.WITH_INITIALISATION:
        if len(initial) < len(ordered):
            raise ProbeError(
                f"A network of {name!r} lacks its initialisation, which is measured beside it. Train it again."
            )
        tensors |= stacked("untrained", initial)
    table, weights = zoo.table_path(name), zoo.weights_path(name)
    pack = zoo.read_pack(table) if table.exists() else {}
    stay = {} if set(pack) <= {name} else read_tensors(weights, read(weights))
    stay = {key: each for key, each in stay.items() if not key.startswith(f"{name}/")}
    tensors = stay | {f"{name}/{key}": each for key, each in tensors.items()}
    write_atomically(weights, safetensors.torch.save(tensors))
    lines = [_line(each, with_initialisation=name in zoo.WITH_INITIALISATION) for each in ordered]
    first = ordered[0].config
    shared = {key: first[key] for key in ("origin", "source") if key in first}
    pack[name] = {"recipe": Recipe.from_dict(first["recipe"]).to_dict(), **shared, "networks": lines}
    write_atomically(table, "{\n" + ",\n".join(_written(each, pack[each]) for each in sorted(pack)) + "\n}\n")


def _written(name: str, table: dict[str, Any]) -> str:
    """Return a recipe's table as it stands in its pack, a line a network."""
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in table.items() if key != "networks"]
    rows = ",\n".join(f"   {json.dumps(line, allow_nan=False)}" for line in table["networks"])
    return "\n".join([f" {json.dumps(name)}: {{", *head, '  "networks": [', rows, "  ]", " }"])


def stacked(which: str, models: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Return the weights of networks as a pack holds them, `which.WEIGHT`, along a first axis."""
    states = [model.state_dict() for model in models]
    return {f"{which}.{key}": torch.stack([state[key] for state in states]) for key in states[0]}


def _line(network: zoo.Trained, *, with_initialisation: bool) -> dict[str, Any]:
    """Return what the table says of a network."""
    config = network.config
    digests = {"model": weights_digest(network.model)}
    if with_initialisation and network.untrained is not None:
        digests["untrained"] = weights_digest(network.untrained)
    # The seed gives the split again, but for a network that TensorFlow trained.
    split = config["split"] if "origin" in config else zoo.digest_of_split(config["split"])
    kept = {key: config[key] for key in ("seed", "errors", "versions")}
    return {**kept, "split": split, "sha256": digests}


@app.default
def pack_all(folder: Path, /) -> None:
    """Put trained networks into models/zoo.

    Args:
        folder: holds RECIPE/seed-N, as `python -m models.train --population all --out DIR` writes them.
    """
    places = sorted({path.parent.parent for path in folder.glob(f"*/seed-*/{CONFIG}")})
    if not places:
        raise ProbeError(
            f"{str(folder)!r} holds no RECIPE/seed-N with a trained network. Give the folder that "
            "`python -m models.train --population all --out DIR` wrote."
        )
    for place in places:
        emit(f"{zoo.weights_path(place.name)} {pack(place, place.name)} networks new")


if __name__ == "__main__":
    leave(run(app))
