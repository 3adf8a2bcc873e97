"""Measures how far patched states lie from every state that the network visits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from .class_means import Classes, classes_at
from .pairs import Pairs, Put
from .task import Task

#: How many pairs the median is taken over.
DRAWN_PAIRS = 1024
#: Beyond this many spacings of the concept a patch is marked.
FAR = 0.5
# A unit whose sd is this small beside the largest number of a state is constant but for the rounding of float32.
_CONSTANT = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class Support:
    """The clean states at a step, each unit in units of its sd over the distinct prefixes; constant ones left out.

    Attributes:
        kept: which numbers of a state vary.
        scale: the sd of those.
        clean: the distinct states in these units, (prefix, kept).
        spacing: median distance between the means of neighbouring values of the concept; NaN of a single value.
    """

    kept: np.ndarray
    scale: np.ndarray
    clean: Float[np.ndarray, "prefix kept"]
    spacing: float

    @classmethod
    def of(cls, classes: Classes) -> Support:
        """Return the support of the states of classes."""
        sd = classes.states.std(0)
        kept = sd > _CONSTANT * np.abs(classes.states).max(initial=0.0)
        scale = sd[kept]
        steps = np.diff(classes.means[:, kept] / scale, axis=0)
        spacing = float(np.median(np.linalg.norm(steps, axis=1))) if len(steps) else float("nan")
        return cls(kept, scale, classes.states[:, kept] / scale, spacing)

    def distances(self, states: Float[np.ndarray, "row size"]) -> Float[np.ndarray, " row"]:
        """Return how far states lie from the nearest clean one, in spacings of the concept; NaN where none varies.

        Reference:
            docs/science.md, "Off-support distance".
        """
        if not self.kept.any():
            return np.full(len(states), np.nan)
        nearest, _ = self._tree.query(states[:, self.kept] / self.scale)
        return nearest / self.spacing

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import KDTree

        return KDTree(self.clean)


class OffSupport:
    """How far patched states lie from the clean ones, the pairs drawn once for all that is put in.

    Args:
        pairs: which rows, and after which step.
        task: whose concept.
        most: how many pairs that differ in the concept are drawn where there are more.
        seed: of the drawing.

    Reference:
        docs/science.md, "Off-support distance".
    """

    def __init__(self, pairs: Pairs, task: Task, *, most: int = DRAWN_PAIRS, seed: int = 0) -> None:
        so_far = task.concept[:, pairs.step]
        changed = (so_far[pairs.base] != so_far[pairs.source]).nonzero().flatten()
        if len(changed) > most:
            changed = changed[torch.as_tensor(np.random.default_rng(seed).integers(0, len(changed), most))]
        self._pairs = Pairs(pairs.machine, pairs.step, pairs.base[changed], pairs.source[changed], exhaustive=False)
        self._support = Support.of(classes_at(pairs.machine, task, pairs.step)) if len(changed) else None

    def distance(self, put: Put) -> float:
        """Return the median distance in spacings of the concept; NaN where no pair differs."""
        if self._support is None:
            return float("nan")
        return float(np.median(self._support.distances(put(self._pairs).detach().numpy())))
