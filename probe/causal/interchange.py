"""Interchange: one sequence's state, or a part of it, is put into another's run.

Reference: Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange intervention accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..statistics import share_interval
from .pairs import Pairs, Put
from .task import Task


@dataclass(frozen=True)
class Scores:
    """How answers follow what is put in.

    Attributes:
        accuracy: share of all pairs whose answer is the target.
        iia: the same of the pairs whose source and base differ in the concept.
        unpatched: the same of those pairs where nothing is put in.
        whole: the same of those pairs where the whole state is.
        shift: sum (y - y_base) (target - target_base) / sum (target - target_base)^2 over the pairs, y the expected
            answer: how far it goes of the way that it should.
        pairs: how many pairs.
        changed: how many of them differ in the concept.
        exhaustive: whether these are all pairs.
    """

    accuracy: float
    iia: float
    unpatched: float
    whole: float
    shift: float
    pairs: int
    changed: int
    exhaustive: bool

    @property
    def score(self) -> float:
        """(iia - unpatched) / (whole - unpatched): 0 as without a patch, 1 as with the whole state; NaN at 0 / 0."""
        way = self.whole - self.unpatched
        return (self.iia - self.unpatched) / way if way else float("nan")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The iia's interval at 95 % over drawn pairs (Clopper-Pearson); where all were run, the value itself."""
        if self.exhaustive:
            return self.iia, self.iia
        return share_interval(round(self.iia * self.changed), self.changed, 0.95)


def interchange(pairs: Pairs, task: Task, put: Put) -> Scores:
    """Return how the answers of bases follow what is put into their runs.

    Args:
        pairs: which rows, and after which step.
        task: what a state is thought to hold.
        put: what is put in.
    """
    machine, step = pairs.machine, pairs.step
    spliced = _Spliced(pairs)
    count = changed = 0
    hits, moved, way_squared = torch.zeros(4, dtype=torch.float64), 0.0, 0.0
    for part in pairs.chunks():
        answers = machine.answers(put(part), part.base, step)
        target = task.target(part.base, part.source, step)
        counted = task.so_far(part.base, step) != task.so_far(part.source, step)
        right = answers.chosen.double() == target
        before = machine.natural.chosen[part.base].double() == target
        whole = spliced.chosen(part).double() == target
        hits += torch.stack([right.sum(), (right & counted).sum(), (before & counted).sum(), (whole & counted).sum()])
        way = target - task.final(part.base)
        moved += float((answers.expected - machine.natural.expected[part.base]) @ way)
        way_squared += float(way @ way)
        count, changed = count + len(part), changed + int(counted.sum())
    iia, unpatched, after = (hits[1:] / changed).tolist() if changed else [float("nan")] * 3
    shift = moved / way_squared if way_squared else float("nan")
    accuracy = float(hits[0]) / count if count else float("nan")
    return Scores(accuracy, iia, unpatched, after, shift, count, changed, pairs.exhaustive)


class _Spliced:
    """Answers where the whole state is put in: they depend on the source's prefix and the base's suffix alone."""

    def __init__(self, pairs: Pairs) -> None:
        machine, step = pairs.machine, pairs.step
        prefixes = _groups(machine.inputs[:, : step + 1])
        suffixes = _groups(machine.inputs[:, step + 1 :])
        self._prefix, self._suffix = prefixes[1], suffixes[1]
        #: A row of the natural run for each, and which pair of them is whose.
        self._width = len(suffixes[0])
        needed = (self._prefix[pairs.source] * self._width + self._suffix[pairs.base]).unique()
        source, base = prefixes[0][needed // self._width], suffixes[0][needed % self._width]
        found = machine.answers(machine.states[source, step], base, step).chosen
        self._needed, self._found = needed, found

    def chosen(self, pairs: Pairs) -> Tensor:
        """Return the answers of some of the pairs."""
        key = self._prefix[pairs.source] * self._width + self._suffix[pairs.base]
        return self._found[torch.searchsorted(self._needed, key)]


def _groups(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a row for each distinct stretch of inputs, and each row's group."""
    flat = x.flatten(1).numpy()
    if not flat.shape[1]:
        return torch.zeros(1, dtype=torch.long), torch.zeros(len(x), dtype=torch.long)
    _, first, group = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    return torch.as_tensor(first), torch.as_tensor(group.ravel())
