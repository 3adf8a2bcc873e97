"""The networks of a study: one, or many with a role and a pair each, as modules or as files of weights."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..evidence.measurements import FITTED_HEADS, ROLES, Network
from ..evidence.words import listed
from ..loading.checkpoint import Checkpoint

_WANTED = (
    "give one network (a torch module, what probe.load returned, or the path of a file of weights), a list of them, "
    "several probe.evidence.Network, or a table: role -> networks, paths or a pattern such as 'trained/*.safetensors'"
)
_NETWORK = (nn.Module, Checkpoint, str, os.PathLike)
#: The roles of which each network of one belongs to one of the other.
INITIAL = ("trained", "own initialisation")
#: The roles that a table of networks may give; a study makes the other controls itself.
GIVEN = tuple(role for role in ROLES if role not in ("null", *FITTED_HEADS))


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
    if isinstance(networks, Mapping) and any(isinstance(one, Tensor) for one in networks.values()):
        raise ProbeError(f"networks is a {type(networks).__name__} of tensors; {_wanted(networks)}.")
    if isinstance(networks, Mapping):
        alone = len(networks) == 1
        found = [one for role, given in networks.items() for one in _of_role(role, given, alone=alone)]
    elif isinstance(networks, nn.ModuleList):
        found = _of_role("trained", networks)
    elif isinstance(networks, _NETWORK):
        found = [Named(networks)] if not _is_pattern(networks) else _of_role("trained", networks)
    elif isinstance(networks, Iterable) and not isinstance(networks, (bytes, dict)):
        found = _of_list(list(networks))
    else:
        raise ProbeError(f"networks is a {type(networks).__name__}; {_WANTED}.")
    paired = _paired(found)
    _check(paired)
    return sorted(paired, key=lambda one: one.role != "trained")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin what an error says with the network that it is about, of many."""
    try:
        yield
    except ProbeError as error:
        raise type(error)(f"{what}: {error}" if what else str(error)) from error.__cause__ or error


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


def _of_list(networks: list[Any]) -> list[Named]:
    """Return networks of which each says its role, or networks that are all trained ones."""
    said = any(isinstance(one, Network) for one in networks)
    for one in networks:
        if not isinstance(one, Network if said else _NETWORK):
            beside = " beside probe.evidence.Network" * said
            raise ProbeError(f"One of the networks is a {type(one).__name__}{beside}; {_wanted(one)}.")
    if said:
        return [Named(one.model, one.role, one.name, str(one.pair)) for one in networks]
    return _of_role("trained", networks)


def _wanted(given: Any) -> str:
    """Return what a network may be, and of a state_dict how it becomes one."""
    if not isinstance(given, Mapping) or not any(isinstance(one, Tensor) for one in given.values()):
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
