"""Chooses what contributes to an answer, and what stands in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError, several, unknown
from ..hooks.episodes import generators
from ..hooks.intervene import eager
from ..recurrent.calls import drops_out
from ..recurrent.finding import find_layers
from ..recurrent.layers import LoopLayer
from ..recurrent.rows.batches import Batch, DependentRowsError, close
from ..recurrent.rows.independence import check_independence
from .asking import Question, Seen
from .attributing import Path, integrated, occluded

#: The ways of splitting an answer.
OCCLUSION, GRADIENTS, CELL_STATE = METHODS = ("occlusion", "integrated gradients", "cell state")
_BASELINES = ("zero", "mean", "another row")
_MIXING = nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd


@dataclass(frozen=True)
class Asked:
    """What was asked for, by the names of the arguments of `contributions`."""

    methods: tuple[str, ...]
    baseline: Any
    seed: int
    steps: tuple[int, ...] | None
    together: bool
    at: str | None
    tolerance: float
    most: int
    memory: int

    def split(self, model: nn.Module, output: Any, batch: Batch) -> dict[str, Any]:
        """Return the contributions to the answers, by the names that `Contributions` has for them.

        Args:
            model: the model.
            output: from what it returns to one number a row.
            batch: its inputs.
        """
        given: Any = output if callable(output) else None
        if given is None:
            raise ProbeError(
                f"output={output!r} must be a function of what the model returns to one number a row, (batch,)."
            )
        with torch.inference_mode(False), torch.no_grad(), torch.backends.cudnn.flags(enabled=False), eager():
            return {"tolerance": self.tolerance} | self._split(model, Question(model, given, batch))

    def _split(self, model: nn.Module, question: Question) -> dict[str, Any]:
        x, every = question.x, question.every
        if any(one.training and (drops_out(one) or isinstance(one, _MIXING)) for one in model.modules()):
            raise ProbeError("The model drops out or normalises over the batch. Call model.eval() first.")
        symbols = not x.is_floating_point()
        whole = not isinstance(self.baseline, str) and not torch.as_tensor(self.baseline).is_floating_point()
        by_symbol = symbols and (self.baseline == "another row" if isinstance(self.baseline, str) else whole)
        inner = self.at is not None or (symbols and (GRADIENTS in self.methods or not by_symbol))
        layers, before, modules = _layers(model), generators(), self._modules(model) if inner else []
        answers, clean = question.see(layers, modules=modules, keep=OCCLUSION in self.methods)
        question.runs = clean.runs
        if before != generators():
            raise ProbeError("The model draws random numbers in its forward pass. Call model.eval() first.")
        check_independence(lambda rows: _named(question.ask(every.new_tensor(rows))), _named(answers), len(x))
        at, values = self._source(question, clean) if inner else (None, x)
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        if clean.lengths is not None:
            real = torch.arange(x.shape[1], device=x.device) < clean.lengths.to(x.device).unsqueeze(1)
        replaced, outside = (x, None) if by_symbol else (values, at)
        base = self._instead(question, replaced, real)
        found: dict[str, Any] = {"values": {}, "initial": {}, "error": {}, "answers": answers}
        unasked = list[str]()
        if GRADIENTS in self.methods or any(bool(one.any()) for _, states in clean.begins.values() for one in states):
            reached, other = question.see(layers, base, outside, [at] if at else [], keep=False)
            unasked = question.set_begins(clean, other)
            both = question.ask(torch.cat([every, every]), torch.cat([replaced, base]), at=outside)
            if not close(both, torch.cat([answers, reached])):
                raise DependentRowsError(
                    "An answer changes beside other rows: the model mixes the rows of the batch, or its runs differ. "
                    "Name the batch's axis with batch_axis=."
                )
            if GRADIENTS in self.methods:
                base_values = _returned(question, other, at) if by_symbol and at else base
                self._gradients(question, Path(question, at, values, base_values, self.memory), real, found)
                if by_symbol and not (question.begins or close(reached.double(), found["baseline_answers"])):
                    raise ProbeError(
                        "The model reads its symbols not through one embedding alone, so that the gradients at its "
                        "output miss the rest. Ask for 'occlusion', or name the module that all go through with at=."
                    )
        if OCCLUSION in self.methods:
            where, together = real & self._where(real), self.together or symbols
            given = occluded(
                question, replaced, base, answers, where, at=outside, together=together, memory=self.memory
            )
            initial = (
                answers - question.ask(every, scale=torch.zeros_like(answers))
                if question.begins
                else torch.zeros_like(answers)
            )
            found["values"][OCCLUSION], found["initial"][OCCLUSION] = given, initial
        found["values"] = {method: found["values"][method] for method in self.methods if method != CELL_STATE}
        zero = "Before the first step the state is zero, as in the baseline: it contributes nothing."
        found["notes"] = () if question.begins else (zero,)
        if unasked or not layers:
            found["initial"] = {method: one * torch.nan for method, one in found["initial"].items()}
            why = f"that of {', '.join(unasked)} is not zero" if layers else "no recurrent layer is known"
            found["notes"] = (f"Not asked: the state before the first step, since {why}.",)
        return found

    def _gradients(self, question: Question, path: Path, real: Tensor, found: dict[str, Any]) -> None:
        given = integrated(path, question.every, tolerance=self.tolerance, most=self.most)
        values = given.pop("values").reshape(*real.shape, -1)
        values = values.sum(-1, keepdim=True) if self.together or not question.x.is_floating_point() else values
        found["values"][GRADIENTS] = values.masked_fill(~real.unsqueeze(-1), torch.nan)
        found["initial"][GRADIENTS], found["error"][GRADIENTS] = given.pop("initial"), given.pop("error")
        found |= given

    def _modules(self, model: nn.Module) -> list[nn.Module]:
        """Return the modules whose output may contribute."""
        named = dict(model.named_modules())
        if self.at is not None and (not self.at or self.at not in named):
            raise ProbeError(unknown("module for at=", self.at, [name for name in named if name]))
        return (
            [one for one in named.values() if isinstance(one, nn.Embedding)] if self.at is None else [named[self.at]]
        )

    def _source(self, question: Question, clean: Seen) -> tuple[nn.Module, Tensor]:
        """Return the module whose output contributes, and its output, (row, time, ...)."""
        given = question.x.movedim(0, question.batch.axis)
        calls = [
            one
            for one, read, _ in clean.outputs
            if self.at or (isinstance(read, Tensor) and torch.equal(read, given))
        ]
        if len(calls) != 1:
            raise ProbeError(
                f"{several(len(calls), 'embedding')} read the symbols, and one output contributes. Name its module "
                "with at=, or ask for 'occlusion' alone with baseline='another row' or the number of a symbol."
                if self.at is None
                else f"A run calls the module at={self.at!r} {len(calls)} times, not once."
            )
        return calls[0], _returned(question, clean, calls[0])

    def _instead(self, question: Question, values: Tensor, real: Tensor) -> Tensor:
        """Return what stands in the place of values, (row, time, ...)."""
        if not isinstance(self.baseline, str):
            given, axis = torch.as_tensor(self.baseline).to(values), question.batch.axis
            shape = values.movedim(0, axis).shape
            try:
                return given.expand(shape).movedim(axis, 0)
            except RuntimeError:
                raise ProbeError(
                    f"baseline= has shape {tuple(given.shape)}, which does not broadcast to {tuple(shape)}."
                ) from None
        if self.baseline not in _BASELINES:
            raise ProbeError(unknown("baseline", self.baseline, _BASELINES))
        if self.baseline == "zero":
            return torch.zeros_like(values)
        if self.baseline == "mean":
            return values[real].mean(0).expand(values.shape)
        if len(values) < 2 or not bool((real == real[:1]).all()):
            raise ProbeError(
                "baseline='another row' needs two rows at least, all of one length; name another baseline."
            )
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(self.seed)).to(values.device)
        return values.index_select(0, order.roll(1)[order.argsort()])

    def _where(self, real: Tensor) -> Tensor:
        """Return which steps are to be occluded, (row, time)."""
        time = real.shape[1]
        wrong = [one for one in self.steps or () if not -time <= one < time]
        if wrong:
            raise ProbeError(
                f"steps={wrong[0]} lies outside the input, which has {time} steps ({-time} to {time - 1})."
            )
        if self.steps is None:
            return real
        numbers = torch.arange(time, device=real.device)
        behind = numbers - real.sum(1, keepdim=True)
        asked = torch.tensor(self.steps, device=real.device)
        return torch.isin(numbers, asked) | torch.isin(behind, asked[asked < 0])


def _named(answers: Tensor) -> dict[str, Tensor]:
    return {"of the answer": answers}


def _layers(model: nn.Module) -> tuple[Any, ...]:
    """Return the recurrent layers of a model whose states are known."""
    try:
        return tuple(one for one in find_layers(model) if not isinstance(one, LoopLayer) or one.registered)
    except ProbeError:
        return ()


def _returned(question: Question, seen: Seen, module: nn.Module) -> Tensor:
    """Return what a module returned, (row, time, ...)."""
    value, axis = next(out for one, _, out in seen.outputs if one is module), question.batch.axis
    fits = isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 2
    if not fits or value.movedim(axis, 0).shape[:2] != question.x.shape[:2]:
        raise ProbeError("The module of at= must return numbers with the first two axes of the model's first input.")
    return value.detach().movedim(axis, 0).clone()
