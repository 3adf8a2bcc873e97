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

from torch import nn

from ..errors import ProbeError, unknown
from ..evidence.measurements import FITTED_HEADS, ROLES, Network
from ..loading.checkpoint import Checkpoint

_WANTED = (
    "give one network (a torch module, what probe.load returned, or the path of a file of weights), several "
    "probe.evidence.Network, or a table: role -> networks, paths or a pattern such as 'trained/*.safetensors'"
)
#: The roles that a table of networks may give; a study makes the other controls itself.
GIVEN = tuple(role for role in ROLES if role not in ("null", *FITTED_HEADS))


@dataclass(frozen=True, eq=False)
class Named:
    """A network as it was given.

    Attributes:
        given: the module, what `probe.load` returned, or a path.
        role: one of `GIVEN`.
        name: what tables call it; empty where that is the network's own name.
        pair: what it is paired by; empty where it stands alone.
    """

    given: Any
    role: str = "trained"
    name: str = ""
    pair: str = ""


def named(networks: Any) -> list[Named]:
    """Return the networks of a study, the trained ones first.

    Networks of a table are paired by the name of their file, or by their place where they are modules.

    Raises:
        ProbeError: nothing of this is a network, a pattern matches no file, no network is trained, two networks of
            one role have the same pair, or an initialisation is that of no trained network, or lacks for some.
    """
    if isinstance(networks, Mapping):
        found = [one for role, given in networks.items() for one in _of_role(role, given)]
    elif isinstance(networks, (nn.Module, Checkpoint, str, os.PathLike)):
        found = [Named(networks)] if not _is_pattern(networks) else _of_role("trained", networks)
    elif isinstance(networks, Iterable) and not isinstance(networks, (bytes, dict)):
        found = [_of_network(one) for one in networks]
    else:
        raise ProbeError(f"networks is a {type(networks).__name__}; {_WANTED}.")
    _check(found)
    paired = _paired(found)
    _check_initial(paired)
    return sorted(paired, key=lambda one: one.role != "trained")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin what an error says with the network that it is about, of many.

    Args:
        what: such as `The network 'seed-3'`; empty for the only one.
    """
    try:
        yield
    except ProbeError as error:
        raise type(error)(f"{what}: {error}" if what else str(error)) from error.__cause__ or error


def _paired(found: Sequence[Named]) -> list[Named]:
    """Give each trained network without a pair one of its own, which its controls share; a single one is pair 0."""
    single = sum(one.role == "trained" for one in found) == 1
    paired = ("trained", "own initialisation") if single else ("trained",)
    return [
        dataclasses.replace(one, pair="0" if single else one.name) if one.role in paired and not one.pair else one
        for one in found
    ]


def _is_pattern(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike)) and glob.has_magic(os.fspath(given)) and not Path(given).exists()


def _of_network(given: Any) -> Named:
    if not isinstance(given, Network):
        raise ProbeError(f"One of the networks is a {type(given).__name__}; {_WANTED}.")
    return Named(given.model, given.role, given.name, str(given.pair))


def _of_role(role: Any, given: Any) -> list[Named]:
    if role not in GIVEN:
        raise ProbeError(unknown("role of a network", role, GIVEN))
    if _is_pattern(given):
        paths = sorted(glob.glob(os.fspath(given)))
        if not paths:
            raise ProbeError(f"The pattern {str(given)!r} of the {role} networks matches no file.")
        given = paths
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    found = []
    for place, one in enumerate(several):
        path = _stem(one)
        pair = path or (str(place) if len(several) > 1 else "")
        name = pair if role == "trained" else f"{pair}/{role}" if pair else role
        found.append(Named(one, role, name, "" if role in ("planted", "other") else pair))
    return found


def _stem(given: Any) -> str:
    """Return the name of a network's file without its ending; empty where there is none."""
    path = given.source.path if isinstance(given, Checkpoint) else given
    return Path(path).stem if isinstance(path, (str, os.PathLike)) else ""


def _check(networks: list[Named]) -> None:
    if not any(one.role == "trained" for one in networks):
        roles = ", ".join(dict.fromkeys(one.role for one in networks)) or "none"
        raise ProbeError(f"No network of the study is trained (roles: {roles}); a study asks what training made.")
    pairs = [(one.role, one.pair) for one in networks if one.pair]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice is not None:
        raise ProbeError(f"Two {twice[0]} networks have the pair {twice[1]!r}; give each its own.")
    names = [one.name for one in networks]
    same = next((name for name in names if name and names.count(name) > 1), None)
    if same is not None:
        raise ProbeError(f"Two networks are called {same!r}; give each its own name.")
    if len(networks) > 1 and not all(names):
        raise ProbeError("Of several networks each needs a name: Network(name, role, module, pair).")


def _check_initial(networks: Sequence[Named]) -> None:
    roles = ("trained", "own initialisation")
    trained, initial = ([one.pair for one in networks if one.role == role] for role in roles)
    strange = [pair for pair in initial if pair not in trained]
    missing = [pair for pair in trained if initial and pair not in initial]
    if strange:
        raise ProbeError(
            f"The own initialisation of the pair {strange[0]!r} is that of no trained network; these have the pairs "
            f"{_listed(trained)}. Give both the same pair: in a table the same place, or files of the same name."
        )
    if missing:
        raise ProbeError(
            f"The trained network of the pair {missing[0]!r} has no own initialisation; those of the pairs "
            f"{_listed(initial)} have one. Give each trained network its own, or give none."
        )


def _listed(pairs: Sequence[str]) -> str:
    return ", ".join(map(repr, pairs[:8])) + (f" and {len(pairs) - 8} more" if len(pairs) > 8 else "")
