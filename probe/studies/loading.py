"""The network of a study: modules and tensors of a file, or a module that is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..loading.front import load
from ..network_files import held


@dataclass(frozen=True, eq=False)
class File:
    """What a file of weights holds.

    Attributes:
        recurrent: recurrent modules by name, batch first.
        tensors: every other array, by its name in the file.
        source: what the file is, such as `PyTorch state_dict`.
        assumed: what was decided or taken for granted of what the file does not say, a sentence each.
    """

    recurrent: Mapping[str, nn.Module]
    tensors: Mapping[str, Tensor]
    source: str
    assumed: tuple[str, ...] = ()


def open_file(path: Path, nonlinearity: str | None = None) -> File:
    """Return the recurrent networks and the other arrays of a file.

    Args:
        path: the file.
        nonlinearity: of the plain RNNs in it.

    Raises:
        ProbeError: it is missing, damaged or of another kind.
    """
    if not path.exists():
        raise ProbeError(f"There is no file {str(path)!r}. Give the path of the network's weights.")
    found = load(path, activation=nonlinearity)
    assumed = (*found.source.chosen, *found.source.assumed)
    return File(found.recurrent, found.tensors, str(found.source), assumed)


@dataclass(frozen=True, eq=False)
class Opened:
    """The network that is studied.

    Attributes:
        model: what is called with inputs, (batch, time, feature).
        name: of the network in its file, or of its class.
        tensors: the file's other arrays.
        card: what the page says of it, name -> value.
    """

    model: nn.Module
    name: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)


def open_network(network: Any, name: str | None, nonlinearity: str | None) -> Opened:
    """Return the network of a study.

    Args:
        network: a module, or the path of a file.
        name: which network of a file that holds several.
        nonlinearity: of a plain RNN in a file.

    Raises:
        ProbeError: it is neither, the file cannot be read, or there is no such network in it.
    """
    if isinstance(network, nn.Module):
        if name is not None or nonlinearity is not None:
            raise ProbeError(
                "name= and nonlinearity= speak of a file of weights; a module was given. Leave them out."
            )
        return Opened(network, type(network).__name__, {}, {"network": f"a {type(network).__name__} in Python"})
    path = Path(network)
    file = open_file(path, nonlinearity)
    listed = ", ".join(map(repr, file.recurrent))
    if name is None and len(file.recurrent) > 1:
        raise ProbeError(
            f"{path.name!r} holds {len(file.recurrent)} networks ({listed}); say which with name = under [network] "
            "(name= in Python)."
        )
    chosen = next(iter(file.recurrent)) if name is None else name
    if chosen not in file.recurrent:
        raise ProbeError(unknown("network", chosen, file.recurrent))
    module = file.recurrent[chosen]
    card = {
        "file": path.name,
        "kind of file": file.source,
        "what the file does not say": " ".join(file.assumed) or "nothing",
        "network in it": chosen or "the only one, saved alone",
        "SHA-256 of the file": _digest(path),
        "arrays of the file that belong to no recurrent layer": ", ".join(file.tensors) or "none",
    }
    return Opened(held(chosen, module), chosen or type(module).__name__, file.tensors, card)


def _digest(path: Path) -> str:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()
