"""The trained networks that come with the project, by seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import ProbeError

from .checkpoints import CONFIG, WEIGHTS, load, load_config
from .counter import Counter
from .data import described_strings
from .recipes import recipe as find_recipe
from .twins import Readout, readout_twin

ZOO = Path(__file__).parent / "zoo"


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained network.

    Attributes:
        seed: what it was trained from.
        model: the network, in evaluation mode.
        untrained: the same initialisation without a step; None where nobody kept it.
        config: its description, see `models.describe`.
        folder: where it was read.
    """

    seed: int
    model: Counter
    untrained: Counter | None
    config: dict[str, Any]
    folder: Path

    def readout(self) -> Readout | None:
        """Return the readout twin, see `models.twins`; None without the untrained network."""
        if self.untrained is None:
            return None
        return readout_twin(self.untrained, described_strings(self.config))


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


def checkpoint(folder: str | Path) -> Trained:
    """Return the network of any folder that `models.checkpoints.save` wrote.

    Raises:
        ProbeError: a file is missing or damaged; the untrained twin alone may be absent, with its hash.
    """
    folder = Path(folder)
    config = load_config(folder)
    has_twin = WEIGHTS["untrained"] in config["sha256"]
    untrained = load(folder, which="untrained") if has_twin else None
    return Trained(config["seed"], load(folder), untrained, config, folder)


def tensorflows_network() -> Trained:
    """Return the counter that TensorFlow 1.15 trained by the seed notebook's own code; it has no untrained twin."""
    return checkpoint(ZOO / "tf1" / "seed-0")


def committed_seeds(recipe: str) -> list[int]:
    """Return the seeds of a recipe's committed networks, rising; one whose training is under way is not among them.

    Raises:
        ProbeError: there is no such recipe.
    """
    descriptions = (ZOO / find_recipe(recipe).name).glob(f"seed-*/{CONFIG}")
    names = [path.parent.name.removeprefix("seed-") for path in descriptions]
    return sorted(int(name) for name in names if name.isdecimal())


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
    return checkpoint(folder)
