"""The networks of a study in evaluation mode, and each of their modules afterwards in the mode that it was in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..evidence.measurements import Network
from ..loading.checkpoint import Checkpoint
from ..subjects.subject import Subject


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
