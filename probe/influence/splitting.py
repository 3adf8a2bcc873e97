"""Splits an answer among the inputs: one replaced after the other, or gradients along a path."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import repeat
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError, several, unknown
from ..hooks.episodes import generators
from ..hooks.sessions import Session, Visit
from ..hooks.sweeping.sweep import MEMORY
from ..hooks.sweeping.unedited import copied_run
from ..methods.readouts import per_row
from ..recurrent.again.joining import joining, scaling
from ..recurrent.finding import find_layers
from ..recurrent.global_state import DRAWS
from ..recurrent.kept import put_back
from ..recurrent.layers import LoopLayer, OwnModule, own_forward
from ..recurrent.rounding import check
from ..recurrent.rows.batches import Batch, DependentRowsError, close, on_other_rows
from ..recurrent.rows.independence import check_independence
from ..recurrent.runs import Run
from ..recurrent.signals import counted

_BASELINES = ("zero", "mean", "another row")
_BY_OCCLUSION = "a gradient, such as an argmax, has contributions by occlusion alone."
_MIXING = nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd
#: Points of the Gauss-Legendre rule in each stretch of the path, the fifth in its middle, and weights, from 0 to 1.
_POINTS, _WEIGHTS = (
    torch.from_numpy((one + shift) / 2) for one, shift in zip(np.polynomial.legendre.leggauss(9), (1, 0), strict=True)
)
#: Weights of all points but two, whose result says how far that of all may be off.
_FEWER, _KEPT = torch.zeros_like(_WEIGHTS), [0, 2, 3, 4, 5, 6, 8]
_FEWER[_KEPT] = torch.linalg.solve(
    torch.vander(_POINTS[_KEPT] - 0.5, increasing=True).T,
    torch.tensor([0.5**power / (power + 1) * (power % 2 == 0) for power in range(7)], dtype=torch.float64),
)
#: How many points a row may take, and how many times as much a run keeps that is differentiated.
_MOST, _GRAPH = 4_096, 8
#: From so many edits of a row on it pays to run layers again from where rows differ, and not in full.
_MANY = 16


class _Seen(Session):
    """What a run shows: each module's name and first states, calls that can run again, and the lengths of rows."""

    def __init__(self, model: nn.Module, rows: int, time: int) -> None:
        try:
            layers = [one for one in find_layers(model) if not isinstance(one, LoopLayer) or one.registered]
        except ProbeError:  # no recurrent layer is known
            layers = []
        super().__init__(model, layers)
        self.begins, self.lengths = dict[nn.Module, tuple[str, list[Tensor]]](), torch.full((rows,), time)
        self.runs: dict[nn.Module, list[Run]] = {}

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep a call."""
        layer, call = visit.layers[0], visit.call
        states = [value.clone() for states in call.initial for value in states.values()]
        _ = self.begins.setdefault(layer.module, (layer.name, states))
        if call.lengths is not None and len(call.lengths) == len(self.lengths):
            self.lengths = call.lengths
        if not (call.is_step or call.adapter or own_forward(layer.module)):
            self.runs.setdefault(layer.module, []).append(copied_run(visit.clean))


class Question:
    """A model that is asked for one number a row, with a baseline's numbers in the place of its input's.

    Attributes:
        values, base: what contributes, the first input or what an embedding makes of its symbols, and the baseline,
            (row, time, ...); `real`: which steps are no padding, (row, time).
        every, answers: the numbers of the rows, and their answers, (row,).
        symbols, equal: whether the first input holds symbols, and whether rows of equal numbers have equal answers.
        runs, begins: the calls that can run again, and the states before the first step that contribute, by module.
        unasked, notes: why nobody can tell what another such state contributes, and what is to be said of them.
    """

    def __init__(self, model: nn.Module, output: Any, batch: Batch) -> None:
        if not callable(output):
            told = f"output={output!r} must be a function of what the model returns to one number a row, (batch,)."
            raise ProbeError(told)
        self._model, self._output, self._batch = model, output, batch
        first = list[Tensor]()
        _ = batch.each(lambda tensor, _: first.append(tensor) or tensor)
        if batch.axis > 1 or first[0].dim() < 2 or not first[0].numel() or first[0].is_complex():
            raise ProbeError(
                f"The first input has shape {tuple(first[0].shape)} and batch axis {batch.axis}. Give numbers or "
                "symbols, (batch, time) or (batch, time, feature), or time first with batch_axis=1."
            )
        if any(one.training and isinstance(one, _MIXING) and getattr(one, "p", 1) > 0 for one in model.modules()):
            raise ProbeError("The model drops out or normalises over the batch. Call model.eval() first.")
        self._at: nn.Embedding | None = None
        self.begins: dict[nn.Module, list[Tensor]] = {}
        self._x = self.values = x = first[0].detach().movedim(batch.axis, 0)
        self.symbols, self.every = not x.is_floating_point(), torch.arange(batch.size, device=x.device)
        before = generators()
        self.answers, self._clean = self._see(x)
        if before != generators():
            raise ProbeError(f"{DRAWS}.")
        check_independence(
            lambda rows: {"of the answer": self.ask(self.every.new_tensor(rows), x[[*rows]])},
            {"of the answer": self.answers},
            batch.size,
        )
        self.real = torch.arange(x.shape[1], device=x.device) < self._clean.lengths.to(x.device).unsqueeze(1)
        self.runs, self.equal = self._clean.runs, len(first) == 1

    def ask(
        self, rows: Tensor, values: Tensor, *, scale: Tensor | None = None, runs: Any = None, symbols: Any = None
    ) -> Tensor:
        """Return the answers of some rows, (row,), with values in the place of what contributes, (row, time, ...).

        Whoever reads symbols beside an embedding is given other `symbols`, if there are any. The state before the
        first step is multiplied by `scale`, (row,). Modules with calls in `runs` run again from where the rows differ
        from these.
        """
        if len(rows) == 1 < self._batch.size:  # a model may squeeze a batch of one row away
            twice = None if scale is None else scale.repeat(2)
            return self.ask(rows.repeat(2), torch.cat([values, values]), scale=twice, runs=runs)[:1]
        axis, read = self._batch.axis, list[Any]()
        own = (self._x[rows] if symbols is None else symbols).movedim(0, axis)
        given = values.movedim(0, axis)
        forwards: dict[nn.Module, Any] = {one: joining(one, calls, rows) for one, calls in (runs or {}).items()}
        if self._at is not None:
            forwards[self._at] = lambda *symbols, **keywords: read.extend([*symbols, *keywords.values()]) or given
        if scale is not None:
            forwards |= {one: scaling(one, [h[rows] for h in states], scale) for one, states in self.begins.items()}
        with Session(self._model, ()) as session, session.replacing(forwards), put_back(self._model):
            arguments, keywords = self._batch.chosen(rows, given if self._at is None else own)
            with on_other_rows(self._batch, len(rows)) if len(rows) != self._batch.size else nullcontext():
                found = self._output(self._model(*arguments, **keywords))
        if self._at is not None and not (len(read) == 1 and torch.equal(read[0], own)):
            raise ProbeError(
                "The embedding is not called once, with the symbols. Name another one with at=, or ask for "
                "'occlusion' alone, with baseline='another row' or the number of a symbol."
            )
        answers = per_row("output(...)", found, len(rows))
        return answers if answers.is_floating_point() else answers.double()

    def _see(self, values: Tensor) -> tuple[Tensor, _Seen]:
        seen = _Seen(self._model, *self._x.shape[:2])
        with seen:
            return self.ask(self.every, values.clone()), seen  # a model may change them in place

    def same(self, rows: Tensor, values: Sequence[Tensor], answers: Sequence[Tensor]) -> None:
        """Raise where rows have other answers in a run of their own."""
        if len(rows) and not close(self.ask(rows, torch.cat([*values])), torch.cat([*answers])):
            raise DependentRowsError(
                "An answer is another one beside other rows: the model mixes the rows of the batch, or its runs "
                "differ. Name the batch's axis with batch_axis=."
            )

    def choose(self, baseline: Any, seed: int, at: str | None, *, gradients: bool) -> None:
        """Choose what contributes, what stands in its place, and which states before the first step contribute.

        A state that another input changes is none: it was computed.
        """
        by_name, x = isinstance(baseline, str), self._x
        baseline = baseline if by_name else _as_numbers(baseline)
        numbers = baseline != "another row" if by_name else baseline.is_floating_point()
        by_symbol = self.symbols and not numbers
        if at is not None or (self.symbols and (gradients or not by_symbol)):
            named = {name: one for name, one in self._model.named_modules() if isinstance(one, nn.Embedding)}
            at = next(iter(named)) if at is None and len(named) == 1 else at
            if at not in named:
                raise ProbeError(
                    f"at={at!r} must name the embedding that reads the symbols ({', '.join(named) or 'none here'}). "
                    "Or ask for 'occlusion' alone, with baseline='another row' or the number of a symbol."
                )
            module = named[at]
            if by_symbol and not by_name and not set(baseline.flatten().tolist()) <= {*range(module.num_embeddings)}:
                raise ProbeError(f"baseline={baseline!r} is none of the embedding's {module.num_embeddings} symbols.")
            base = self._instead(x if by_symbol else module.forward(x), baseline, seed)
            self._at, self.equal, self.values = module, False, module.forward(x)
            self.base = module.forward(base) if by_symbol else base
            other = x.roll(1, 1) if x.shape[1] > 1 else x.roll(1, 0)
            if not close(self.answers, self.ask(self.every, self.values, symbols=other)):
                raise ProbeError(
                    "The model reads its symbols not through one embedding alone, so that what contributes at its "
                    "output misses the rest. Ask for 'occlusion' alone, with baseline='another row' or a symbol."
                )
        else:
            self.base = self._instead(x, baseline, seed)
        begins = self._clean.begins.items()
        unasked = [f"{name} has a forward of its own" for module, (name, _) in begins if own_forward(module)]
        unasked += [] if self._clean.modules else ["no recurrent layer is known"]
        if gradients or any(bool(one.any()) for _, states in self._clean.begins.values() for one in states):
            reached, other = self._see(self.base)
            self.same(self.every.repeat(2), [self.values, self.base], [self.answers, reached])
            for module, (name, states) in self._clean.begins.items():
                same = module in other.begins and all(map(torch.equal, states, other.begins[module][1]))
                if same and any(bool(one.any()) for one in states):
                    known = isinstance(module, (nn.RNNBase, nn.RNNCellBase, OwnModule)) and not own_forward(module)
                    self.begins |= {module: states} if known else {}
                    unasked += [] if known else [f"that of {name} is not zero"]
        self.unasked, said = unasked, f"Not asked: the state before the first step, since {', '.join(unasked)}."
        named = ", ".join(name for name, _ in self._clean.begins.values())
        zero = f"Before the first step the state of {named} is zero, or made from the input: it adds nothing."
        self.notes = [said] if unasked else [] if self.begins else [zero]

    def _instead(self, values: Tensor, baseline: Any, seed: int) -> Tensor:
        """Return what stands in the place of values, (row, time, ...)."""
        if not isinstance(baseline, str):
            given, shape = baseline.to(values), values.movedim(0, self._batch.axis).shape
            try:
                return given.expand(shape).movedim(self._batch.axis, 0)
            except RuntimeError:
                told = f"baseline= has shape {tuple(given.shape)}, which does not broadcast to {tuple(shape)}."
                raise ProbeError(told) from None
        if baseline not in _BASELINES:
            raise ProbeError(unknown("baseline", baseline, _BASELINES))
        if baseline == "zero":
            return torch.zeros_like(values)
        if baseline == "mean":
            return values[self.real].mean(0).expand(values.shape)
        if len(values) < 2 or not bool((self.real == self.real[:1]).all()):
            raise ProbeError("baseline='another row' needs two rows at least, all of one length; name another one.")
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed)).to(values.device)
        return values[order.roll(1)[order.argsort()]]

    def together(self) -> int:
        """Return how many rows run together."""
        traces = [trace for runs in self.runs.values() for run in runs for trace in run.traces]
        numbers = 2 * self.values[0].numel() + sum(t.x[:, 0].numel() + 2 * t.h[:, 0].numel() for t in traces)
        return max(1, MEMORY // (self.values.element_size() * numbers))


def _as_numbers(baseline: Any) -> Tensor:
    """Return the numbers that somebody gave as a baseline."""
    try:
        given = torch.as_tensor(baseline)
    except (TypeError, ValueError, RuntimeError):
        given = torch.empty(0, dtype=torch.bool)
    if given.is_complex() or given.dtype == torch.bool or not bool(given.isfinite().all()):
        named = ", ".join(map(repr, _BASELINES))
        raise ProbeError(
            f"baseline= is a {type(baseline).__name__} that stands for no input. Give one of {named}, or finite real "
            "numbers that broadcast to the input."
        )
    return given


def occluded(question: Question, steps: tuple[int, ...] | None, *, together: bool) -> tuple[Tensor, Tensor]:
    """Return the answer minus the answer with an input replaced, and with a zero state before the first step.

    They are (row, time, feature), NaN at other steps than those named and one number a step where its features are
    replaced together; and (row,).
    """
    values, answers, where = question.values, question.answers, question.real
    if steps is not None:
        _ = counted("steps", steps, where.shape[1], "the input's time")
        number, named = torch.arange(where.shape[1], device=where.device), torch.tensor(steps, device=where.device)
        where = where & (torch.isin(number, named) | torch.isin(number - where.sum(1, keepdim=True), named))
    shape = (*where.shape, 1, -1) if together else (*where.shape, -1, 1)
    own, other = (one.reshape(shape) for one in (values, question.base))
    differs = (own != other).any(-1) & where.unsqueeze(-1)
    found = torch.full(differs.shape, float("nan"), dtype=answers.dtype, device=values.device)
    found[where] = 0
    step, row, feature = differs.transpose(0, 1).nonzero().T

    def edited(part: slice | list[int]) -> tuple[Tensor, Tensor]:
        changed, rows, places = own[row[part]], row[part], (step[part], feature[part])
        changed[(torch.arange(len(rows), device=rows.device), *places)] = other[(rows, *places)]
        return rows, changed.view(-1, *values.shape[1:])

    # Rows of many different numbers are seldom alike.
    repeats = len(own) > 1 and question.equal and 2 * len(own[0].unique()) <= own[0].numel()
    known = {key: number for number, key in enumerate(_keys(own))} if repeats else {}
    runs, size = question.runs if len(step) > _MANY * len(own) else {}, question.together()
    for trace in (trace for calls in runs.values() for run in calls for trace in run.traces):
        check(trace, trace.opened, None)
    for part in (slice(start, start + size) for start in range(0, len(step), size)):
        rows, changed = edited(part)
        new, left = answers[rows], cast("Any", slice(None))
        if known:
            like = torch.from_numpy(np.fromiter(map(known.get, _keys(changed), repeat(-1)), int)).to(rows)
            new, left = answers[like], like < 0
        if len(rows[left]):
            new[left] = question.ask(rows[left], changed[left], runs=runs)
        found[row[part], step[part], feature[part]] = answers[rows] - new
    ends = [0, len(step) - 1][: len(step)]
    rows, changed = edited(ends)
    question.same(rows, [changed], [answers[rows] - found[rows, step[ends], feature[ends]]])
    zero = torch.zeros_like(answers)
    return found, answers - question.ask(question.every, values.clone(), scale=zero) if question.begins else zero


def _keys(values: Tensor) -> list[bytes]:
    """Return the bits of each row."""
    bits = values.flatten(1).contiguous().view(torch.uint8).cpu().numpy()
    return bits.view(f"V{bits.shape[1]}")[:, 0].tolist()


def integrated(question: Question, tolerance: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return integrated gradients, (row, number), the last being that of the state before the first step.

    Beside them stand, (row,) each: the answer minus the baseline's, the number of points, and the sum of sizes of the
    gradient at the input itself, times (input - baseline).

    A stretch of the path is halved where its contributions do not add up to what the answer gains on it, or where
    fewer of its points give others: the square of how far these lie apart, relative to their size, says how far those
    may be off, since the rule of all points has twice the order. A stretch may miss its share of half of the
    tolerance by its length, and all that are left of a row the rest of it together; or ProbeError says that it would
    take too many points.
    """
    own, base = (one.flatten(1) for one in (question.values, question.base))
    base = torch.cat([base, base.new_zeros(len(base), 1)], 1)  # the last number scales the state
    way, shape = torch.cat([own, own.new_ones(len(own), 1)], 1) - base, question.values.shape[1:]

    def along(rows: Tensor, low: Tensor, nodes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answers at nodes of stretches, (stretch, node), and what they add, (stretch, rule, number)."""
        answers, gains, size = list[Tensor](), list[Tensor](), max(question.together() // (_GRAPH * len(nodes)), 1)
        for one, start in zip(rows.split(size), low.split(size), strict=True):
            each, share = one.repeat_interleave(len(nodes)), (start.unsqueeze(1) + nodes).view(-1, 1).to(way)
            point = (base[each] + share * way[each]).requires_grad_()
            with torch.enable_grad():
                x, scale = point[:, :-1].unflatten(1, shape).clone(), point[:, -1]
                found = question.ask(each, x, scale=scale)
                (slope,) = torch.autograd.grad(found.sum() + point[:0].sum(), point)  # found may not depend on it
            mean = torch.einsum("rn,snk->srk", weights.to(slope), slope.unflatten(0, (-1, len(nodes))))
            answers.append(found.detach().double().view(-1, len(nodes)))
            gains.append((mean * way[one].unsqueeze(1)).double())
        return torch.cat(answers), torch.cat(gains)

    row, nodes, length = question.every, _POINTS.to(way.device), 1.0
    weights = torch.stack([_WEIGHTS, _FEWER]).to(way.device)
    low, ends = torch.zeros_like(row, dtype=torch.float64), torch.tensor([0.0, 1.0]).to(nodes)
    answers, at_input = along(row, low, ends, ends.unsqueeze(0))
    at_input = at_input[:, 0]
    (before, after), total, points = answers.T, torch.zeros_like(at_input), torch.ones_like(row)
    gained, spent = after - before, torch.zeros_like(before)
    if not bool(at_input.any()) and not bool(along(row, low, nodes, weights)[1].any()) and not close(before, after):
        raise ProbeError(f"The answers differ by {float(gained.abs().max()):.3g}. An output without {_BY_OCCLUSION}")
    while len(row):
        answers, both = along(row, low, length * nodes, length * weights)
        points.index_add_(0, row, torch.full_like(row, len(nodes)))
        found, middle = both[:, 0], answers[:, len(nodes) // 2]
        size, off = found.abs().sum(1).clamp(min=1e-300), (found - both[:, 1]).abs().sum(1)
        off = off.square() / size
        missed = torch.maximum((found.sum(1) - (after - before)).abs(), off)
        rest = spent.index_add(0, row, missed)[row] <= tolerance
        fine = rest | (missed <= tolerance / 2 * length)
        spent.index_add_(0, row[fine], missed[fine])
        total.index_add_(0, row[fine], found[fine])
        row, low, before, middle, after, missed = (one[~fine] for one in (row, low, before, middle, after, missed))
        over = row[(points + 2 * len(nodes) * row.bincount(minlength=len(points)))[row] > _MOST].unique()
        if len(over):
            left = torch.zeros_like(gained).index_add_(0, row, missed)
            _refuse(over.tolist(), float(left[over].max()), tolerance)
        length /= 2
        row, low = torch.cat([row, row]), torch.cat([low, low + length])
        before, after = torch.cat([before, middle]), torch.cat([middle, after])
    return total, gained, points, at_input.abs().sum(1)


def _refuse(rows: list[int], error: float, tolerance: float) -> None:
    """Say which rows miss the tolerance."""
    named = ", ".join(map(str, rows[:5])) + ", ..." * (len(rows) > 5)
    raise ProbeError(
        f"The integrated gradients of {several(len(rows), 'row')} ({named}) may be off by up to {error:.3g} "
        f"(tolerance={tolerance:g}) at {_MOST:,} points. Give a larger tolerance, a nearer baseline or an output "
        f"that does not jump, such as a logit. One without {_BY_OCCLUSION}"
    )
