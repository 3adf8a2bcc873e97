"""Asks a model for one number a row, with other inputs in the place of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..hooks.sessions import Session, sessions
from ..hooks.sweeping.unedited import CleanRun, copied_run, has_nan, read_of
from ..hooks.visits import Visit
from ..methods.outputs import per_row
from ..recurrent.again.blocks import Read
from ..recurrent.again.joining import joining
from ..recurrent.kept import put_back
from ..recurrent.layers import OwnModule, own_forward
from ..recurrent.rounding import check
from ..recurrent.rows.batches import Batch, on_other_rows
from ..recurrent.runs import Run, Trace

#: How many times as much a run keeps that is differentiated.
_GRAPH = 8


class _Asked(nn.Module):
    """A model, and what is read off its output, one number a row."""

    def __init__(self, model: nn.Module, output: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.read = model, output

    def forward(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the numbers."""
        return self.read(self.model(*arguments, **keywords))


class Seen(Session):
    """What a run shows of the recurrent modules, and of what others return.

    Attributes:
        begins: the layers and the states of each module's first call.
        runs: the calls of torch's modules that can run again.
        lengths: how many steps each row has, where a call says that.
        outputs: what each call of some modules was given first, and returned.
    """

    def __init__(self, question: Question, layers: Sequence[Any], *, keep: bool) -> None:
        super().__init__(question.asked, layers)
        self.begins: dict[nn.Module, tuple[Any, list[Tensor]]] = {}
        self.runs: dict[nn.Module, list[Run]] = {}
        self.outputs: list[tuple[nn.Module, Any, Any]] = []
        self.lengths: Tensor | None = None
        self._rows, self._keep = question.batch.size, keep

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep a call."""
        module, call = visit.layers[0].module, visit.call
        states = [value.clone() for states in call.initial for value in states.values()]
        _ = self.begins.setdefault(module, (visit.layers[0], states))
        if call.lengths is not None and len(call.lengths) == self._rows:
            self.lengths = call.lengths
        others = any(module in one.modules for one in sessions() if one is not self)
        if self._keep and not (call.is_step or call.adapter or own_forward(module) or others):
            run = copied_run(visit.clean)
            self.runs.setdefault(module, []).append(run)


class Question:
    """A model that is asked about the rows of a batch.

    Args:
        model: the model.
        output: from what it returns to one number a row.
        batch: its inputs.

    Attributes:
        x: its first input, (row, time, ...).
        every: the numbers of all rows.
        runs: the calls of the clean run that can be run again.
        begins: the modules whose first state is scaled, each with the states of its first call.
    """

    def __init__(self, model: nn.Module, output: Callable[[Any], Tensor], batch: Batch) -> None:
        self.asked, self.batch = _Asked(model, output), batch
        first = list[Tensor]()
        batch.each(lambda tensor, _: first.append(tensor) or tensor)
        if batch.axis > 1 or first[0].dim() < 2 or not first[0].numel() or first[0].is_complex():
            raise ProbeError(
                f"The first input has shape {tuple(first[0].shape)} and batch axis {batch.axis}. Give numbers or "
                "symbols, (batch, time) or (batch, time, feature), or time first with batch_axis=1."
            )
        #: Whether the first input is all that rows have, so that equal ones have one answer.
        self.is_alone = len(first) == 1
        self.x = first[0].detach().movedim(batch.axis, 0)
        self.every = torch.arange(batch.size, device=self.x.device)
        self.runs: dict[nn.Module, list[Run]] = {}
        self.begins: dict[nn.Module, list[Tensor]] = {}
        self._read = Read()

    def ask(
        self,
        rows: Tensor,
        values: Tensor | None = None,
        *,
        at: nn.Module | None = None,
        scale: Tensor | None = None,
        again: bool = False,
    ) -> Tensor:
        """Return the answers of some rows, (row,).

        Args:
            rows: which rows of the batch.
            values: what stands in the place of the first input, (row, time, ...).
            at: the module whose output they replace instead.
            scale: what each row's initial state is multiplied by, (row,).
            again: whether layers run again from where the rows differ from the clean run.
        """
        if len(rows) == 1 < self.batch.size:  # a model may squeeze a batch of one row away
            values, scale = (None if one is None else torch.cat([one, one]) for one in (values, scale))
            return self.ask(torch.cat([rows, rows]), values, at=at, scale=scale, again=again)[:1]
        given = None if values is None else values.movedim(0, self.batch.axis)
        calls, axes = list[int](), list[int]()

        def chosen(tensor: Tensor, axis: int) -> Tensor:
            axes.append(axis)
            return tensor.index_select(axis, rows) if given is None or at or len(axes) > 1 else given

        with ExitStack() as stack:
            if at is not None and given is not None:
                stack.callback(at.register_forward_hook(_here(lambda *_: calls.append(1) or given)).remove)
            for module in self.begins if scale is not None else ():
                hook = _here(self._scaled(module, rows, scale))
                stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            if again and self.runs:
                session = stack.enter_context(Session(self.asked, ()))
                forwards = {one: joining(one, runs, rows, self._read) for one, runs in self.runs.items()}
                stack.enter_context(session.replacing(forwards))
            stack.enter_context(put_back(self.asked))
            if len(rows) != self.batch.size:
                stack.enter_context(on_other_rows(self.batch, len(rows)))
            arguments, keywords = self.batch.each(chosen)
            found = self.asked(*arguments, **keywords)
        if at is not None and len(calls) != 1:
            raise ProbeError(f"A run calls the {type(at).__name__} that contributes {len(calls)} times, not once.")
        if again and self._read != Read() and has_nan(found):
            self._read = Read()  # with another input the model reads what it did not read before
            return self.ask(rows, values, at=at, scale=scale, again=True)
        return per_row("output(...)", found, len(rows))

    def _scaled(self, module: nn.Module, rows: Tensor, scale: Any) -> Callable[..., Any]:
        """Return a hook that multiplies the state that a module's first call is given, or that it learned."""
        calls = list[int]()

        def hook(_: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
            calls.append(1)
            if len(calls) > 1:
                return None
            given: Any = arguments[1] if len(arguments) > 1 else keywords.get("hx")
            learned = [one[rows].unsqueeze(0) for one in self.begins[module]]
            parts = learned if given is None else given if isinstance(given, (tuple, list)) else (given,)
            scaled: list[Any] = [part * scale.unsqueeze(-1).to(part) for part in parts]
            return arguments[:1], {**keywords, "hx": tuple(scaled) if len(scaled) > 1 else scaled[0]}

        return hook

    def see(
        self,
        layers: Sequence[Any],
        values: Tensor | None = None,
        at: nn.Module | None = None,
        modules: Sequence[nn.Module] = (),
        *,
        keep: bool,
    ) -> tuple[Tensor, Seen]:
        """Return the answers of all rows, and what the run shows.

        Args:
            layers: the recurrent layers.
            values: what stands in the place of the first input.
            at: the module whose output they replace instead.
            modules: whose calls are kept.
            keep: whether the calls that can run again are kept.
        """
        seen = Seen(self, layers, keep=keep)
        with seen, ExitStack() as stack:
            for module in modules:
                hook = _here(lambda one, given, out: seen.outputs.append((one, next(iter(given), None), out)))
                stack.callback(module.register_forward_hook(hook).remove)
            return self.ask(self.every, values, at=at), seen

    def prepare(self, answers: Tensor) -> None:
        """Make layers ready to run again: compare their states with the modules', and find out what the model reads.

        Args:
            answers: those to the clean run.
        """
        for runs in self.runs.values():
            runs[:] = [replace(run, traces=tuple(map(_opened, run.traces))) for run in runs]
        if self.runs:
            self._read = read_of(self.asked, self.batch, CleanRun(answers, self.runs, {}, 0, lambda: None))

    def set_begins(self, clean: Seen, other: Seen) -> list[str]:
        """Note whose initial states contribute, and return the names of layers of which that cannot be asked.

        A state that another input changes is no state before the first step: it was computed.

        Args:
            clean: the run on the input.
            other: the run on the baseline.
        """
        unasked = list[str]()
        for module, (layer, states) in clean.begins.items():
            same = all(map(torch.equal, states, other.begins[module][1])) if module in other.begins else False
            if same and any(bool(one.any()) for one in states):
                known = isinstance(module, (nn.RNNBase, nn.RNNCellBase, OwnModule))
                self.begins |= {module: states} if known else {}
                unasked += [] if known else [layer.name]
        return unasked

    def turn(self, memory: int, values: Tensor, *, graph: bool = False) -> int:
        """Return how many rows run together."""
        traces = [trace for runs in self.runs.values() for run in runs for trace in run.traces]
        numbers = 2 * values[0].numel() + sum(t.x[:, 0].numel() + 2 * t.h[:, 0].numel() for t in traces)
        return max(1, memory // (values.element_size() * numbers * (_GRAPH if graph else 1)))


def _opened(trace: Trace) -> Trace:
    """Return a run with its states alone, which are the module's own."""
    opened = trace.open(trace.cell.states)
    check(trace, opened, None)
    return replace(trace, compute=lambda _: opened)


def _here(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that acts in this thread alone: others may call the model meanwhile."""
    here = threading.get_ident()
    return lambda *given: hook(*given) if threading.get_ident() == here else None
