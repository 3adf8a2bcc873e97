"""A block of a page that runs networks: the script, the networks it carries, and what a reader is invited to try."""

from __future__ import annotations

from .experiments import ExplorerEdit, ExplorerExperiment
from .explorer import Explorer
from .networks import ExplorerNetwork
from .rival_programs import ExplorerProgram

__all__ = ["Explorer", "ExplorerEdit", "ExplorerExperiment", "ExplorerNetwork", "ExplorerProgram"]
