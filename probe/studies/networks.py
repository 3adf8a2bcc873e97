"""The networks of a study as they were given: roles, names and pairs, in evaluation mode while they are studied."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..evidence.measurements import FITTED_HEADS, ROLES, Network
from ..evidence.words import listed
from ..loading.checkpoint import Checkpoint
from ..subjects.subject import Subject

_WANTED = (
    "give one network (a torch module, what probe.load returned, or the path of a file of weights), a list of them, "
    "several probe.evidence.Network, or a table: role -> networks, paths or a pattern such as 'trained/*.safetensors'"
)
_NETWORK = (nn.Module, Checkpoint, str, os.PathLike)
#: The roles of which each network of one belongs to one of the other.
INITIAL = ("trained", "own initialisation")
#: The roles that a table of networks may give; a study makes the other controls itself.
GIVEN = tuple(role for role in ROLES if role not in ("null", *FITTED_HEADS))
#: The roles of networks that stand alone, whatever their pair is.
ALONE = ("planted", "other")


@dataclass(frozen=True, eq=False)
class Named:
    """A network as it was given, with its role; the name in tables and the pair are empty where it has none."""

    given: Any
    role: str = "trained"
    name: str = ""
    pair: str = ""


def named(networks: Any) -> list[Named]:
    """Return the networks of a study, the trained ones first.

    Networks of a table are paired by the name of their file, or by their place where they are modules.
    """
    if isinstance(networks, Mapping) and not _is_state_dict(networks):
        alone = len(networks) == 1
        found = [one for role, given in networks.items() for one in _of_role(role, given, alone=alone)]
    elif isinstance(networks, (list, tuple)) and any(isinstance(one, Network) for one in networks):
        found = _of_list(networks)
    elif isinstance(networks, _NETWORK) and not (isinstance(networks, nn.ModuleList) or _is_pattern(networks)):
        found = [Named(networks)]
    else:
        found = _of_role("trained", networks)
    paired = _paired(found)
    _check(paired)
    return sorted(paired, key=lambda one: one.role != "trained")


def alone(subjects: Sequence[Subject]) -> bool:
    """Return whether a study is about one network: all others that were given are its controls."""
    (first, *_), roles = subjects, [one.network.role for one in subjects]
    return len(subjects) == 1 or (
        roles.count("trained") == 1
        and not {*roles} & {*ALONE}
        and all(one.network.pair == first.network.pair for one in subjects)
    )


@contextmanager
def evaluating(networks: Any) -> Iterator[None]:
    """Put the networks of a study in evaluation mode inside the context; files are opened in it."""
    modules = list(_modules(networks))
    before = {part: part.training for module in modules for part in module.modules()}
    try:
        for module in modules:
            _ = module.eval()
        yield
    finally:
        for part, training in before.items():
            part.training = training


def _modules(networks: Any) -> Iterator[nn.Module]:
    """Yield the modules among what a study was given as its networks."""
    if isinstance(networks, nn.Module):
        yield networks
    elif isinstance(networks, (Network, Subject)):
        yield from _modules(networks.model)
    else:
        parts = networks.recurrent if isinstance(networks, Checkpoint) else networks
        if isinstance(parts, Mapping):
            parts = list(parts.values())
        for one in parts if isinstance(parts, (list, tuple)) else ():
            yield from _modules(one)


def _paired(found: Sequence[Named]) -> list[Named]:
    """Give each trained network without a pair one of its own, which its controls share; a single one is pair 0."""
    single = sum(one.role == "trained" for one in found) == 1
    paired = INITIAL if single else ("trained",)
    return [
        dataclasses.replace(one, pair="0" if single else one.name) if one.role in paired and not one.pair else one
        for one in found
    ]


def _is_pattern(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike)) and glob.has_magic(os.fspath(given)) and not Path(given).exists()


def _of_list(networks: Sequence[Any]) -> list[Named]:
    """Return networks of which each says its role."""
    for one in networks:
        if not isinstance(one, Network):
            raise ProbeError(
                f"One of the networks is a {type(one).__name__} beside probe.evidence.Network; {_wanted(one)}."
            )
    return [Named(one.model, one.role, one.name, str(one.pair)) for one in networks]


def _is_state_dict(given: Any) -> bool:
    return isinstance(given, Mapping) and any(isinstance(one, Tensor) for one in given.values())


def _wanted(given: Any) -> str:
    """Return what a network may be, and of a state_dict how it becomes one."""
    if not _is_state_dict(given):
        return _WANTED
    return (
        "a state_dict is no network yet. Load it into its module, model.load_state_dict(...), and give the module; "
        "or save it, torch.save(state_dict, 'weights.pt'), and give the path"
    )


def _of_role(role: Any, given: Any, *, alone: bool = True) -> list[Named]:
    """Return the networks of a role, each by its file or its place; a single one has no place where it is alone."""
    if role not in GIVEN:
        raise ProbeError(unknown("role of a network", role, GIVEN))
    if _is_pattern(given):
        paths = sorted(glob.glob(os.fspath(given)))
        if not paths:
            raise ProbeError(f"The pattern {str(given)!r} of the {role} networks matches no file.")
        given = paths
    several = list(given) if isinstance(given, (list, tuple, nn.ModuleList)) else [given]
    for one in several:
        if not isinstance(one, _NETWORK):
            raise ProbeError(f"One of the {role} networks is a {type(one).__name__}; {_wanted(one)}.")
    numbered = len(several) > 1 or not alone
    called = [_stem(one) or str(place) * numbered for place, one in enumerate(several)]
    return [Named(one, role, *name_and_pair(role, name)) for one, name in zip(several, called, strict=True)]


def name_and_pair(role: str, called: str) -> tuple[str, str]:
    """Return what tables call a network, and what it is paired by."""
    name = called if role == "trained" else f"{called}/{role}" if called else role
    return name, "" if role in ("planted", "other") else called


def _stem(given: Any) -> str:
    """Return the name of a network's file without its ending; empty where there is none."""
    path = given.source.path if isinstance(given, Checkpoint) else given
    return Path(path).stem if isinstance(path, (str, os.PathLike)) else ""


def _check(networks: Sequence[Named]) -> None:
    if not any(one.role == "trained" for one in networks):
        roles = ", ".join(dict.fromkeys(one.role for one in networks)) or "none"
        raise ProbeError(
            f"No network of the study is trained (roles: {roles}); a study asks what training made. It holds "
            f"{len(networks)}: {_WANTED}."
        )
    pairs, names = [(one.role, one.pair) for one in networks if one.pair], [one.name for one in networks]
    advice = "give each its own: files of different names, or probe.evidence.Network(name, role, module, pair)"
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise ProbeError(f"Two {pair[0]} networks have the pair {pair[1]!r}; {advice}.")
    for name in names if len(names) > 1 else ():
        if not name or names.count(name) > 1:
            raise ProbeError(f"Two networks are called {name!r}, or one has no name; {advice}.")
    trained, initial = ([pair for role, pair in pairs if role == wanted] for wanted in INITIAL)
    alone = sorted(set(trained) ^ set(initial)) if initial else []
    if alone:
        raise ProbeError(
            f"Of the pair {alone[0]!r} one of the trained network and its own initialisation is missing. Trained "
            f"networks have the pairs {listed(trained[:8])}, initialisations {listed(initial[:8])}. Give both the "
            "same pair (in a table the same place, or files of the same name), and each trained network one, or none."
        )
