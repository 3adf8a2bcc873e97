"""The trained networks that come with the project, by seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import ProbeError

from .checkpoints import load, load_config
from .counter import Counter
from .recipes import recipe as find_recipe

ZOO = Path(__file__).parent / "zoo"


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained network.

    Attributes:
        seed: what it was trained from.
        model: the network, in evaluation mode.
        untrained: the same initialisation without a step.
        config: its description, see `models.describe`.
        folder: where it was read.
    """

    seed: int
    model: Counter
    untrained: Counter
    config: dict[str, Any]
    folder: Path


def networks(
    recipe: str = "counter", seeds: Iterable[int] = range(10), fresh: str | Path | None = None
) -> list[Trained]:
    """Return trained networks, one a seed, in the order of the seeds.

    Args:
        recipe: name of the recipe.
        seeds: which; 0 to 9 are committed.
        fresh: folder with networks trained here, in `seed-N`; where it has a seed, that one is taken. An
            unfinished training there is an error and not passed over: findings would silently be about
            the committed network.

    Raises:
        ProbeError: there is no such recipe, or a network is missing or damaged.
    """
    folder = ZOO / find_recipe(recipe).name
    return [_trained(seed, folder, None if fresh is None else Path(fresh)) for seed in seeds]


def _trained(seed: int, committed: Path, fresh: Path | None) -> Trained:
    folder = committed / f"seed-{seed}"
    if fresh is not None and (fresh / folder.name).exists():
        folder = fresh / folder.name
    config = load_config(folder)
    if config["seed"] != seed:
        raise ProbeError(
            f"{str(folder)!r} holds the network of seed {config['seed']}, and its name says seed {seed}. "
            "Rename the folder, or train that seed."
        )
    return Trained(seed, load(folder), load(folder, which="untrained"), config, folder)
