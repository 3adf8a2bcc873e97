"""Splits an answer among the inputs: one replaced after the other, or gradients along a path."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError, several
from ..recurrent.rows.batches import DependentRowsError, close
from .asking import Question

#: Points of the Gauss-Legendre rule in each stretch of the path, and their weights, from 0 to 1.
_POINTS, _WEIGHTS = (
    torch.from_numpy((one + shift) / 2) for one, shift in zip(np.polynomial.legendre.leggauss(8), (1, 0), strict=True)
)
#: From so many edits of a row on it pays to run layers again from where rows differ, and not in full.
_MANY = 16


def occluded(
    question: Question,
    values: Tensor,
    instead: Tensor,
    answers: Tensor,
    where: Tensor,
    *,
    at: nn.Module | None,
    together: bool,
    memory: int,
) -> Tensor:
    """Return the answer minus the answer with a feature of a step replaced, (row, time, feature).

    Args:
        question: the model and its batch.
        values: its input, (row, time, ...).
        instead: what replaces it.
        answers: the answers to the input, (row,).
        where: which steps of which rows are asked about, (row, time); NaN stands at others.
        at: the module whose output it is, or None.
        together: whether all features of a step are replaced together.
        memory: about how many bytes one run may hold.
    """
    flat, other = (one.reshape(*where.shape, -1) for one in (values, instead))
    differs = (flat != other) & where.unsqueeze(-1)
    differs = differs.any(-1, keepdim=True) if together else differs
    wide = answers if answers.is_floating_point() else answers.double()
    found = torch.full(differs.shape, float("nan"), dtype=wide.dtype, device=values.device)
    found[where] = 0
    step, row, feature = differs.transpose(0, 1).nonzero().T

    def edited(part: Any) -> tuple[Tensor, Tensor]:
        changed, places = flat[row[part]], (step[part],) if together else (step[part], feature[part])
        changed[(torch.arange(len(changed), device=flat.device), *places)] = other[(row[part], *places)]
        return row[part], changed

    # Rows of many different numbers are seldom alike.
    repeats = len(values) > 1 and 2 * len(flat[0].unique()) <= flat[0].numel()
    size, alike = question.turn(memory, values), repeats and at is None and question.is_alone
    many = len(step) > _MANY * len(values)
    if many:
        question.prepare(answers)
    for part in (slice(start, start + size) for start in range(0, len(step), size)):
        rows, changed = edited(part)
        known, own = _known(flat, changed) if alike else (None, torch.arange(len(rows), device=flat.device))
        alike = alike and len(own) < len(rows)
        new = wide[:0]
        if len(own):
            new = question.ask(rows[own], changed[own].view(-1, *values.shape[1:]), at=at, again=many).to(wide)
        new = new if known is None else torch.cat([wide, new])[known]
        found[row[part], step[part], feature[part]] = wide[rows] - new
    ends = torch.tensor([0, len(step) - 1][: len(step)], dtype=torch.long, device=values.device)
    rows, changed = edited(ends)
    alone = question.ask(rows, changed.view(-1, *values.shape[1:]), at=at) if len(step) else wide[:0]
    if len(step) and not close(wide[rows] - alone.to(wide), found[rows, step[ends], feature[ends]]):
        raise DependentRowsError(
            "An input moves the answer otherwise in a run of its own than beside others: the model mixes the rows of "
            "the batch, or its runs differ. Name the batch's axis with batch_axis=."
        )
    return found


def _known(clean: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of the clean rows and then the `own` ones each changed row equals, and which rows are such.

    Args:
        clean: rows, (row, time, feature), whose answers are known.
        changed: other rows.
    """
    every, count = torch.cat([clean, changed]).flatten(1), len(clean)
    weights = torch.rand(every.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, group = (every.double() @ weights.to(every.device)).unique(return_inverse=True)
    numbers = torch.arange(len(every), device=every.device)
    first = torch.full_like(numbers, len(every)).scatter_reduce_(0, group, numbers, "amin")[group][count:]
    first = torch.where((every[first] == every[count:]).all(1), first, numbers[count:])  # a key is no proof
    own, place = first[first >= count].unique(return_inverse=True)
    known = first.clone()
    known[first >= count] = count + place
    return known, own - count


class Path:
    """The straight path from a baseline to the input.

    Args:
        question: the model and its batch.
        at: the module whose output is the input, or None.
        values: the input, (row, time, ...).
        base: the baseline, of the same shape.
        memory: about how many bytes one run may hold.
    """

    def __init__(self, question: Question, at: nn.Module | None, values: Tensor, base: Tensor, memory: int) -> None:
        self._question, self._at, self._base, self._way = question, at, base, values - base
        self._size = max(question.turn(memory, values, graph=True) // len(_POINTS), 1)

    def _at_points(self, row: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answers at points, and what inputs and initial state add to them at this pace."""
        graph, way, part = torch.is_grad_enabled(), self._way[row], share.to(self._way.dtype)
        x = (self._base[row] + part.view(-1, *[1] * (way.dim() - 1)) * way).requires_grad_(graph)
        scale = part.clone().requires_grad_(graph) if self._question.begins else None
        found = self._question.ask(row, x.clone(), at=self._at, scale=scale)
        wanted, slopes = [x] if scale is None else [x, scale], list[Tensor | None]()
        if graph and found.requires_grad:
            slopes += torch.autograd.grad(found.sum(), wanted, allow_unused=True)
        of_x, of_state = [*slopes, None, None][:2]
        gain = torch.zeros_like(way) if of_x is None else of_x * way
        return found.detach().double(), gain, torch.zeros_like(part) if of_state is None else of_state

    def answers(self, row: Tensor, share: Tensor) -> Tensor:
        """Return the answers at points of the path, (point,)."""
        with torch.no_grad():
            size = self._size * len(_POINTS)
            return torch.cat(
                [self._at_points(*one)[0] for one in zip(row.split(size), share.split(size), strict=True)]
            )

    def gains(self, row: Tensor, low: Tensor, high: Tensor, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return what inputs, (stretch, time, ...), and initial state add to the answer on stretches of the path."""
        found = list[tuple[Tensor, Tensor]]()
        for own, start, end in zip(*(one.split(self._size) for one in (row, low, high)), strict=True):
            share = (start.unsqueeze(1) + (end - start).unsqueeze(1) * points).flatten()
            _, of_x, of_state = self._at_points(own.repeat_interleave(len(points)), share)
            amounts = ((end - start).unsqueeze(1) * weights).to(of_x)
            of_x = torch.einsum("sp,sp...->s...", amounts, of_x.unflatten(0, amounts.shape))
            found.append((of_x.double(), (amounts * of_state.view_as(amounts)).sum(1).double()))
        return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])


@torch.enable_grad()
def integrated(path: Path, rows: Tensor, *, tolerance: float, most: int) -> dict[str, Tensor]:
    """Return integrated gradients, and how they were computed, by the names that `Contributions` has for them.

    A stretch of the path is halved where its contributions do not add up to what the answer gains on it. It may miss
    its share of one half of the tolerance by its length, and of the other as one of all that `most` allows, so that
    a row keeps the tolerance.

    Args:
        path: the path.
        rows: the numbers of the rows.
        tolerance: the largest completeness error.
        most: how many points a row may take.

    Raises:
        ProbeError: rows would take more.
    """
    nodes, weights = _POINTS.to(rows.device), _WEIGHTS.to(rows.device)
    low, high = torch.zeros_like(rows, dtype=torch.float64), torch.ones_like(rows, dtype=torch.float64)
    ends = path.answers(rows, low), path.answers(rows, high)
    at_input = path.gains(rows, low, high, torch.ones_like(nodes[:1]), torch.ones_like(nodes[:1]))
    total, initial, points = torch.zeros_like(at_input[0]), torch.zeros_like(low), torch.ones_like(rows)
    row, before, after = rows, *ends
    while len(row):
        of_x, of_state = path.gains(row, low, high, nodes, weights)
        points.index_add_(0, row, torch.full_like(row, len(nodes)))
        missed = (of_x.flatten(1).sum(1) + of_state - (after - before)).abs()
        fine = missed <= tolerance / 2 * (high - low + len(nodes) / most)
        total.index_add_(0, row[fine], of_x[fine])
        initial.index_add_(0, row[fine], of_state[fine])
        low, high, row, before, after = (one[~fine] for one in (low, high, row, before, after))
        left = torch.zeros_like(high.new_zeros(len(rows))).index_add_(0, row, missed[~fine])
        over = (left > 0) & (points + 2 * len(nodes) * torch.bincount(row, minlength=len(rows)) > most)
        if bool(over.any()):
            _refuse(over.nonzero().flatten().tolist(), float(left[over].max()), tolerance, most)
        middle = (low + high) / 2
        between = path.answers(row, middle) if len(row) else middle
        low, high, row = torch.cat([low, middle]), torch.cat([middle, high]), torch.cat([row, row])
        before, after = torch.cat([before, between]), torch.cat([between, after])
    error = (total.flatten(1).sum(1) + initial - (ends[1] - ends[0])).abs()
    plain = at_input[0].flatten(1).sum(1) + at_input[1]
    return {
        "values": total,
        "initial": initial,
        "baseline_answers": ends[0],
        "error": error,
        "points": points,
        "plain": plain,
    }


def _refuse(rows: list[int], error: float, tolerance: float, most: int) -> None:
    """Say which rows miss the tolerance."""
    named = ", ".join(map(str, rows[:5])) + ", ..." * (len(rows) > 5)
    raise ProbeError(
        f"The integrated gradients of {several(len(rows), 'row')} ({named}) miss the answer minus the baseline's by "
        f"up to {error:.3g} (tolerance={tolerance:g}) at most={most} points. Give more points, a larger tolerance, a "
        "baseline that lies nearer, or an output that does not jump, such as a logit. An output without a gradient, "
        "such as an argmax, has contributions by occlusion alone."
    )
