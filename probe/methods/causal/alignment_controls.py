"""Controls of an alignment search (DAS): wrong variables, other prefixes, random directions, a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..machines import Machine
from ..probing.groups import LEAST_STATES, folds
from ..readouts import per_row
from .pairs import Pairs, all_pairs
from .task import Task


@dataclass(frozen=True, eq=False, kw_only=True)
class WrongVariable(Task):
    """A part of the concept, such as the first of the things that are counted: what a search must not find.

    Attributes:
        values: the part at each row of the clean run, (batch,); rows that share a prefix share it.
    """

    values: Float[Tensor, " batch"]

    def so_far(self, rows: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the part."""
        return self.values[rows].double()

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return what the answers should be if the state held the part and the source's were put in."""
        now, own, given = self.concept[base, step], self.so_far(base, step), self.so_far(source, step)
        return self.combine(now + given - own, now, self.final(base)).double()


@dataclass(frozen=True, eq=False, kw_only=True)
class Relabelled(Task):
    """A concept whose values belong to other rows: the same histogram, and nothing to find.

    Attributes:
        inner: the concept.
        order: the row from which each row takes its value, (batch,).
    """

    inner: Task
    order: Int64[Tensor, " batch"] = field(repr=False)

    def so_far(self, rows: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the concept of the other rows after a step."""
        return self.inner.so_far(self.order[rows], step)

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if the source's state held the value of the other row."""
        return self.inner.target(base, self.order[source], step)


def relabelled(machine: Machine, task: Task, step: int, *, seed: int = 0) -> Relabelled:
    """Return the concept of the prefixes in another order: the same histogram, and nothing to find."""
    prefixes = machine.clean.prefixes[step]
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(prefixes.rows)))
    rows = prefixes.rows[order][prefixes.group]
    return Relabelled(task.concept, task.combine, inner=task, order=rows)


@dataclass(frozen=True, eq=False)
class Half:
    """Rows to fit on and rows to score on.

    Attributes:
        train: rows of the clean run whose prefix was drawn for fitting.
        test: the other rows; the same where nothing is held out.
    """

    train: Int64[Tensor, " train"]
    test: Int64[Tensor, " test"]


def halves(
    machine: Machine, step: int, *, least: int = LEAST_STATES, seed: int = 0, groups: np.ndarray | None = None
) -> list[Half]:
    """Return both ways to fit on half of the prefixes and score on the others.

    With fewer prefixes, or of a single group, nothing is held out: there is one way, in-sample, and it carries no
    verdict.

    Args:
        machine: the model.
        step: after which step the states stand.
        least: with fewer prefixes nothing is held out.
        seed: of the halves.
        groups: the group of each row, (row,): a prefix goes with the group of its first row, and whole groups are in
            one half. None where each row stands for itself.
    """
    prefixes = machine.clean.prefixes[step]
    rows = torch.arange(len(machine.clean.inputs))
    if len(prefixes.rows) < least:
        return [Half(rows, rows)]
    of_prefix = None if groups is None else groups[prefixes.rows.numpy()]
    cut = folds(len(prefixes.rows), 2, seed=seed, groups=of_prefix)
    if len(cut) < 2:
        return [Half(rows, rows)]
    first = torch.isin(prefixes.group, torch.as_tensor(cut[0]))
    parts = rows[first], rows[~first]
    return [Half(*parts), Half(*reversed(parts))]


def pairs_among(
    machine: Machine, step: int, rows: Int64[Tensor, " chosen"], *, most: int = 2**15, seed: int = 0
) -> Pairs:
    """Return the pairs of `all_pairs` whose base and source are both among rows, or as many drawn as are allowed.

    Args:
        machine: the model.
        step: after which step the states stand.
        rows: rows of the clean run, such as those of held-out prefixes.
        most: the most pairs; of more, some are drawn without replacement.
        seed: of the drawing.
    """
    every = all_pairs(machine, step)
    among = torch.zeros(len(machine.clean.inputs), dtype=torch.bool)
    among[rows] = True
    kept = (among[every.base] & among[every.source]).nonzero().flatten()
    exhaustive = every.exhaustive and len(kept) <= most
    if len(kept) > most:
        drawn = np.random.default_rng(seed).choice(len(kept), most, replace=False)
        kept = kept[torch.as_tensor(np.sort(drawn))]
    return Pairs(machine, step, every.base[kept], every.source[kept], exhaustive)


def differing(
    pairs: Pairs, task: Task, source: Int64[Tensor, " pair"] | None = None
) -> tuple[Int64[Tensor, " some"], Int64[Tensor, " some"]]:
    """Return the bases and sources of the pairs that differ in a concept."""
    base, source = pairs.base, pairs.source if source is None else source
    differ = task.so_far(base, pairs.step) != task.so_far(source, pairs.step)
    return base[differ], source[differ]


def mean_gradient(machine: Machine, step: int) -> Float[np.ndarray, " size"]:
    """Return the mean over sequences of the gradient of the expected answer at the states after a step.

    Where a readout is fitted to states that nothing was trained to make, this is its direction in closed form.

    Raises:
        ProbeError: the expected answers are not one number a row.

    Reference:
        docs/science.md, "Controls": the fitted head's rank-1 direction.
    """
    with torch.enable_grad():
        states = machine.clean.states[:, step].detach().requires_grad_()
        output = machine.readout.read(machine.dynamics.advance(states, machine.clean.inputs[:, step + 1 :]))
        numbers = per_row("expected(...)", machine.readout.expected(output), len(states))
        (gradient,) = torch.autograd.grad(numbers.sum(), states)
    return gradient.mean(0).numpy()


def random_bases(size: int, rank: int, count: int, *, seed: int = 0) -> Iterator[Float[np.ndarray, "size rank"]]:
    """Yield orthonormal bases of random subspaces, uniform over all of them."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield np.linalg.qr(generator.normal(size=(size, rank)))[0]
