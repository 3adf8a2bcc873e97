"""What every analysis of the counter shares: the networks, the strings, provenance, and the judging."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from torch import nn

import probe
from models import planted, zoo
from models.tasks import bit_strings, running_count
from probe.measurements import Network

from . import QUESTIONS

SEEDS = range(10)
#: All strings of ten bits (1024, 10, 1), and how many ones each had after each step (1024, 10).
STRINGS = bit_strings(10)
COUNTS = running_count(STRINGS)
REPOSITORY = Path(__file__).parent.parent
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")
_SUFFIXES = {".py", ".js", ".mjs", ".ts", ".css", ".html", ".j2"}


@dataclass(frozen=True)
class Studied(Network):
    """A counter under study.

    Attributes:
        train: rows of `STRINGS` that it, or its trained twin, was trained on; empty for a planted one.
        test: the other rows.
        fresh: whether it was trained here and is not one of the committed networks.
    """

    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    fresh: bool = False


def networks(fresh: str | Path | None = None, *, seeds: Sequence[int] = SEEDS) -> list[Network]:
    """Return the trained counters, their untrained twins, and the planted ones-counter,
    with eleven idle units beside its one and without.

    Args:
        fresh: folder of networks trained here (`seed-N`), which then take the place of the committed ones.
        seeds: which.

    Raises:
        probe.ProbeError: a network is missing or damaged, or the folder holds none of these seeds.
    """
    if fresh is not None and not any((Path(fresh) / f"seed-{seed}").is_dir() for seed in seeds):
        raise probe.ProbeError(
            f"No network was trained in {str(fresh)!r}: it holds no folder seed-N with N from {min(seeds)} to "
            f"{max(seeds)}. Train one with `python -m models.train --out {fresh}/seed-0`, or leave --fresh out."
        )
    found: list[Network] = []
    for trained in zoo.networks("counter", seeds, fresh):
        train, test = (tuple(trained.config["split"][part]) for part in ("train", "test"))
        new = fresh is not None and trained.folder.is_relative_to(fresh)
        name = f"counter/seed-{trained.seed}"
        found.append(Studied(name, "trained", trained.model, trained.seed, train, test, new))
        twin = f"{name}/untrained"
        found.append(Studied(twin, "untrained", trained.untrained, trained.seed, train, test, new))
    alone = Studied("planted/ones-alone", "planted", planted.ones_counter(distractors=0))
    return [*found, Studied("planted/ones", "planted", planted.ones_counter()), alone]


def pick(among: Sequence[Network], subject: str) -> list[Network]:
    """Return the networks of one subject."""
    return [network for network in among if network.subject == subject]


def medians(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the medians over networks, which is what a line of a figure shows, and over how many networks."""
    return table.groupby(keys)["value"].agg(median="median", networks="size").reset_index()


@cache
def family() -> int:
    """Return how many verdicts are decided together: every rule of every analysis that is no check."""
    modules = [import_module(f"analyses.{name}") for name in QUESTIONS]
    return sum(not rule.check for module in modules for rule in module.RULES)


def finding(
    question: str,
    title: str,
    measurements: pd.DataFrame,
    *,
    studied: Sequence[Network],
    rules: Sequence[probe.Rule] = (),
    figures: Sequence[probe.DataFigure] = (),
    notes: Mapping[str, str] | None = None,
) -> probe.Finding:
    """Judge the rules at the level of the whole family and return the finding with its provenance."""
    return probe.Finding(
        question,
        title,
        measurements,
        probe.judge(measurements, rules, family=family()),
        tuple(figures),
        provenance(question, studied),
        notes or {},
    )


def provenance(question: str, studied: Sequence[Network]) -> dict[str, object]:
    """Return what a finding was made from: no clock, no path, so that reruns give the same bytes."""
    own_weights = any(isinstance(network, Studied) and network.fresh for network in studied)
    return {
        "command": f"python -m analyses.{question}" + (" --fresh build/models/counter" if own_weights else ""),
        "code": code_digest(),
        "weights": {network.name: weights_digest(network.model) for network in studied},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


@cache
def code_digest(root: Path = REPOSITORY) -> str:
    """Return the SHA-256 over the sorted sources of probe/, models/, analyses/, js/ and reports/*.py."""
    paths = [*root.glob("reports/*.py")]
    for folder in ("probe", "models", "analyses", "js"):
        paths += [path for path in root.glob(f"{folder}/**/*") if path.suffix in _SUFFIXES]
    digest = hashlib.sha256()
    for path in sorted(path.relative_to(root).as_posix() for path in paths):
        if not {"node_modules", "__pycache__"}.intersection(Path(path).parts):
            digest.update(path.encode() + b"\0" + (root / path).read_bytes() + b"\0")
    return digest.hexdigest()


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights as safetensors, which is that of its file on disk."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def limit_threads() -> None:
    """Use one thread: a small recurrent network runs slower on two, and sums come out in another order."""
    torch.set_num_threads(1)
