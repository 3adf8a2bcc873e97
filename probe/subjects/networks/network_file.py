"""The network of a study: from a file, or a module in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...errors import ProbeError
from ...loading.checkpoint import Checkpoint
from ...loading.modules import Masked, without_mask
from ...recurrent.named_network import named_network


@dataclass(frozen=True, eq=False)
class Opened:
    """The network that is studied, with the other arrays of its file, and what the page says of it.

    `tokens` is how many token ids it embeds, or None where it reads numbers.
    """

    model: nn.Module
    name: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    framework: str = ""
    source: str = ""
    tokens: int | None = None


def open_network(network: Any, name: str | None, *, lengths_said: bool = False) -> Opened:
    """Return the network of a study: a module, what `probe.load` returned, or the path of a file.

    Its name says which of several in a file; `lengths_said` that a network which hides steps is told the lengths.
    """
    if isinstance(network, nn.Module):
        if name is not None:
            raise ProbeError("name= speaks of a file of weights; a module was given. Leave it out.")
        model = without_mask(network, lengths_said=lengths_said)
        return Opened(model, type(network).__name__, {}, {"network": f"{type(network).__name__}, given in Python"})
    if not isinstance(network, (Checkpoint, str, os.PathLike)):
        raise ProbeError(
            f"The network is a {type(network).__name__}; give a torch module, what probe.load returned, or the path "
            "of a file of weights."
        )
    checkpoint = network if isinstance(network, Checkpoint) else _loaded(network)
    path = checkpoint.source.path
    if name is None and len(checkpoint.recurrent) > 1:
        listed = ", ".join(map(repr, checkpoint.recurrent))
        raise ProbeError(
            f"{'What was loaded' if path is None else repr(path.name)} holds {len(checkpoint.recurrent)} networks "
            f"({listed}); say which with name = under [network] (name= in Python)."
        )
    chosen, module = checkpoint.choose(name)
    assumed = list(checkpoint.source.assumed)
    if isinstance(module, Masked):
        assumed.append(f"{chosen}: no step of a sequence is hidden by {module.by}, only what lies beyond its length")
    card = {
        "file": "" if path is None else path.name,
        "kind of file": checkpoint.source.format,
        "written as": checkpoint.source.layouts.get(chosen, ""),
        "decided by whoever wrote the study": _joined(checkpoint.source.chosen),
        "taken for granted": _joined(assumed),
        "network in it": chosen or "the only one, saved alone",
        "SHA-256 of the file": "" if path is None else _digest(path),
        "arrays of the file that belong to no recurrent layer": ", ".join(checkpoint.tensors) or "none",
    }
    card = {what: value for what, value in card.items() if value}
    called = chosen or type(module).__name__
    model = named_network(chosen, without_mask(module, lengths_said=lengths_said)).eval()
    return Opened(model, called, checkpoint.tensors, card, checkpoint.source.framework, checkpoint.source.format)


def _loaded(path: str | os.PathLike[str]) -> Checkpoint:
    """Return what a file holds. Only here are the readers of all formats needed, and so imported."""
    from ...loading.load import load

    return load(path)


def _joined(sentences: Sequence[str]) -> str:
    """Return what was decided or assumed as one text, an end to each part."""
    return "; ".join(one.strip().rstrip(".") for one in sentences) or "nothing"


def _digest(path: Path) -> str:
    # A checkpoint of TensorFlow is named without its endings, of which it has several.
    below = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}.*")
    files = [path] if path.is_file() else sorted(one for one in below if one.is_file())
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.read_bytes())
    return sha.hexdigest()
