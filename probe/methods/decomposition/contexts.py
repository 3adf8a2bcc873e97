"""Runs what many pairs of sequences have in common once, in place of once for each pair.

A context is a pair of prefixes, a base and a source. After it stands a tree: every continuation that some base of the
pair has, shared as long as it is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine

#: How many subsets are run together, and how many rows at the end of the tree: few enough for a cache.
_SUBSETS, _ROWS = 1024, 8192
#: Rows of the clean run: bases, and the source of each.
RowPairs = tuple[np.ndarray, np.ndarray]
#: (contexts, subsets), a slice each -> their states, (size, context, subset).
Put = Callable[[slice, slice], Tensor]


def changed_at(
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    changed: int,
    step: int,
    *,
    starts: Int64[np.ndarray, " batch"] | None = None,
) -> RowPairs:
    """Return all pairs of sequences that differ at one step alone, and of which the source has more of the concept.

    Args:
        x: inputs.
        concept: (batch, time); a sequence whose value is NaN belongs to no pair.
        changed: the step at which they differ.
        step: the step after which the concept is compared.
        starts: a number for each sequence; those of other numbers start in other states. None where all start alike.

    Returns:
        The rows of the bases and of their sources.

    Raises:
        ProbeError: there is no such pair.
    """
    values, amount = x.detach().cpu().numpy(), concept.detach().cpu().numpy()[:, step]
    others = np.delete(values, changed, axis=1).reshape(len(values), -1)
    begin = np.zeros(len(values)) if starts is None else starts
    _, group = np.unique(np.column_stack([begin, others]), axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    base, source = [], []
    for members in np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1):
        less, more = np.nonzero(amount[members][None, :] > amount[members][:, None])
        base.append(members[less])
        source.append(members[more])
    found = np.concatenate(base), np.concatenate(source)
    if not len(found[0]):
        raise ProbeError(
            f"No two sequences of x differ at step {changed} alone and in the concept after step {step}. Give inputs "
            "that hold such pairs, such as all sequences of a length, or choose another step."
        )
    return found


class Contexts:
    """Pairs of prefixes, and the tree of what follows.

    Args:
        machine: the model.
        pairs: rows of the clean run, bases and their sources.
        source_step: up to which step the source's inputs matter.
        step: after which step states are put in; what the base reads up to it matters too.

    Attributes:
        base, source: rows of each context, (context,).
        weight: how many of the pairs each context stands for, (context,).
    """

    def __init__(self, machine: Machine, pairs: RowPairs, *, source_step: int, step: int) -> None:
        self.machine, self.step = machine, step
        base, source = (np.asarray(rows) for rows in pairs)
        inputs = machine.clean.inputs.numpy()
        starts = [machine.clean.starts.numpy()[rows] for rows in (base, source)]
        read = [inputs[base, : step + 1], inputs[source, : source_step + 1]]
        keys = np.column_stack([*starts, *(part.reshape(len(base), -1) for part in read)])
        _, first, group, counts = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
        self.base, self.source = torch.as_tensor(base[first]), torch.as_tensor(source[first])
        self.weight: Float[np.ndarray, " context"] = counts.astype(float)
        #: Each step of the tree: for each node its parent in the step before, and a row that reads what it reads.
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        for later in range(step + 1, inputs.shape[1]):
            keys = np.column_stack([group.ravel(), inputs[base, later]])
            _, first, group, counts = np.unique(
                keys, axis=0, return_index=True, return_inverse=True, return_counts=True
            )
            self._levels.append((keys[first, 0].astype(np.int64), base[first]))
        self._leaf_weight = torch.as_tensor(counts.astype(float))

    def __len__(self) -> int:
        return len(self.base)

    @torch.no_grad()
    def table(self, put: Put, subsets: int) -> Float[np.ndarray, "context subset"]:
        """Return the expected answer where states are put in, of so many subsets, the mean over what follows."""
        found = torch.zeros(len(self), subsets, dtype=torch.float64)
        wide = max(1, len(self._leaf_weight) // len(self))
        many = max(1, _ROWS // (wide * subsets))
        for start in range(0, len(self), many):
            contexts = slice(start, min(start + many, len(self)))
            for first in range(0, subsets, _SUBSETS):
                part = slice(first, min(first + _SUBSETS, subsets))
                found[contexts, part] = self._sums(put(contexts, part), contexts)
        return found.numpy() / self.weight[:, None]

    def _sums(self, states: Tensor, contexts: slice) -> Tensor:
        """Return the sum of the expected answers over the pairs of some contexts, (context, subset)."""
        size, count, width = states.shape
        start, stop, root = contexts.start, contexts.stop, torch.arange(count)
        for later, (parents, rows) in enumerate(self._levels, self.step + 1):
            low, high = np.searchsorted(parents, [start, stop])
            parent = torch.as_tensor(parents[low:high] - start)
            read = self.machine.clean.inputs[torch.as_tensor(rows[low:high]), later]
            x = read.unsqueeze(1).expand(-1, width, -1).reshape(-1, 1, read.shape[1])
            # The numbers of a state come first, as the narrow loop wants them.
            before = states.index_select(1, parent).flatten(1).T
            states = self.machine.dynamics.advance(before, x).T.reshape(size, -1, width)
            start, stop, root = int(low), int(high), root[parent]
        output = self.machine.readout.read(states.reshape(size, -1).T)
        y = self.machine.readout.expected(output).view(-1, width).double()
        sums = torch.zeros(count, width, dtype=torch.float64)
        return sums.index_add_(0, root, y * self._leaf_weight[start:stop, None])
