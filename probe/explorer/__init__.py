"""`Explorer`, the part of a page that runs networks in the browser, with the programs and experiments it offers."""

from __future__ import annotations

from .bits import ExplorerBits
from .experiments import ExplorerEdit, ExplorerExperiment
from .explorer import Explorer
from .networks import ExplorerNetwork
from .rival_programs import ExplorerProgram

__all__ = ["Explorer", "ExplorerBits", "ExplorerEdit", "ExplorerExperiment", "ExplorerNetwork", "ExplorerProgram"]
