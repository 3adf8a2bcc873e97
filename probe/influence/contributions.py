"""`contributions`: which input, at which step, made an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..arguments import NAMES, checked_arguments
from ..errors import ProbeError, several, unknown
from ..hooks.record import record
from ..hooks.sessions import eager
from ..recurrent.finding import check_forward, find_layers
from ..recurrent.global_state import grad_mode_kept
from ..recurrent.rows.batches import batch_of, close
from ..recurrent.signals import Signal, as_indices
from .splitting import Question, integrated, occluded

OCCLUSION, GRADIENTS, CELL_STATE = METHODS = ("occlusion", "integrated gradients", "cell state")
_PARTS = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.CELL_STATE)
#: Two methods disagree below this correlation, or above this distance relative to the larger of the two; a gradient
#: says nothing that explains less than this part of the answer's difference, where that is larger than so many
#: tolerances.
_ALIKE, _APART, _EXPLAINED, _LARGE = 0.9, 0.5, 0.1, 10
#: So many steps are printed: those with the largest contributions.
_PRINTED = 12


@dataclass(frozen=True, eq=False, repr=False)
class Contributions:
    """What each input at each step, and the state before the first step, contributed to the answer of each row.

    Attributes:
        values: by method, (row, time, feature); of `"cell state"` (row, time, unit). NaN where a row is padded, and
            where it was not asked.
        initial: by method, the contribution of the state before the first step, (row,); of `"cell state"` (row,
            unit). NaN where it was not asked.
        error: by method, how far each row's contributions are from adding up to the answer minus the baseline's; of
            `"cell state"`, to the recorded cell state.
        notes: what is to be said of them, in sentences.
        answers, baseline_answers, points: of each row the answer, (row,), and where gradients were asked for the
            answer to the baseline, and how many gradients were computed.
    """

    values: dict[str, Tensor]
    initial: dict[str, Tensor]
    error: dict[str, Tensor]
    notes: list[str]
    answers: Tensor | None = None
    baseline_answers: Tensor | None = None
    points: Tensor | None = None

    def __getitem__(self, method: str) -> Tensor:
        """Return the contributions of one method, (row, time, feature)."""
        if method not in self.values:
            raise ProbeError(unknown("method that was asked for", method, self.values))
        return self.values[method]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.values)

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: method, row, step, feature (or unit) and value, without what is NaN.

        The state before the first step has no step, and no feature where its contribution is one number.
        """
        parts = list[pd.DataFrame]()
        for method, values in self.values.items():
            for found, names in ((values, ("row", "step", "feature")), (self.initial[method], ("row", "feature"))):
                array = found.detach().double().cpu().numpy()
                places = np.argwhere(~np.isnan(array)).T
                columns = dict(zip(names, places, strict=False))  # (row,) has no feature
                parts.append(pd.DataFrame({"method": method, **columns, "value": array[tuple(places)]}))
        table = pd.concat(parts, ignore_index=True)[["method", "row", "step", "feature", "value"]]
        return table.astype(dict.fromkeys(("row", "step", "feature"), "Int64"))

    def __repr__(self) -> str:
        rows, time = next(iter(self.values.values())).shape[:2]
        sizes = {method: _sizes(self.initial[method], values) for method, values in self.values.items()}
        table = pd.DataFrame(sizes, index=["before", *range(time)]).rename_axis(columns="step")
        largest = (table.iloc[1:] / table.max().replace(0, 1)).max(axis=1).nlargest(_PRINTED).index
        few = f"; the {_PRINTED} steps with most of {time:,}" if time > _PRINTED else ""
        shown = table.loc[["before", *sorted(largest)]].to_string(float_format="{:.4g}".format)
        head = f"Contributions in {several(rows, 'row')}, the mean of their sizes at a step{few}"
        return "\n".join([head, shown, *self.notes])


def _sizes(initial: Tensor, values: Tensor) -> np.ndarray:
    """Return the mean over rows of the size of contributions, before the first step and at each, (1 + time,)."""
    both = [one.detach().double().abs() for one in (initial.reshape(len(initial), 1, -1), values)]
    sums = [one.nansum(2).masked_fill(one.isnan().all(2), torch.nan).nanmean(0) for one in both]
    return torch.cat(sums).cpu().numpy()


@checked_arguments(method=NAMES)
@grad_mode_kept
def contributions(
    model: nn.Module,
    *inputs: Any,
    output: Callable[[Any], Tensor] | None = None,
    method: str | Sequence[str] = METHODS[:2],
    baseline: Any = "zero",
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    together: bool = False,
    at: str | None = None,
    layer: str | None = None,
    seed: int = 0,
    tolerance: float = 0.01,
    kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = None,
) -> Contributions:
    """Return which input, at which step, made an answer: of each row, step and feature of the model's first input.

    `"occlusion"` is the answer minus the answer with that input replaced. `"integrated gradients"` add up to the
    answer minus the baseline's. `"cell state"` splits an LSTM's last cell state by the step that wrote it: input gate
    times candidate, times the forget gates of all later steps. The state that a module of torch's is first called
    with contributes too, with zero as its baseline, unless it depends on the input.

    Args:
        model: any module whose rows do not depend on each other; left as found.
        *inputs: what the model is called with. The first tensor contributes: (batch, time), or (batch, time, ...).
        output: from what the model returned to one number a row, (batch,), such as a logit.
        method: one of the three, or several.
        baseline: `"zero"`; `"mean"` over rows and steps; `"another row"`, drawn by `seed`; or numbers that broadcast
            to the input. Whole numbers and other rows replace symbols, all else their embeddings.
        steps: the steps to occlude, negative ones counting from each row's last; None for all.
        together: take the features of a step together, as is done of symbols.
        at: the name of the embedding that reads the symbols, where the model has several.
        layer: whose cell state; it may be left out where there is one.
        seed: draws the other rows.
        tolerance: the largest completeness error, in units of the answer.
        kwargs: the model's own keyword arguments.
        batch_axis: the batch's axis of the first input; see `sweep`.

    Raises:
        ProbeError: a row misses the tolerance, or depends on others; the model draws random numbers; or an argument
            does not fit.

    Reference:
        Integrated gradients: Sundararajan, Taly & Yan 2017, equation 1. Occlusion: Zeiler & Fergus 2014, section 4.2.
    """
    check_forward(model, "probe.contributions")
    methods = _checked(tuple(method))
    asked, found = as_indices("steps", steps), Contributions({}, {}, {}, [])
    if {*methods} - {CELL_STATE}:
        with torch.inference_mode(False), torch.no_grad(), torch.backends.cudnn.flags(enabled=False), eager():
            question = Question(model, output, batch_of(model, inputs, kwargs or {}, batch_axis))
            question.choose(baseline, seed, at, gradients=GRADIENTS in methods)
            found = _split(question, methods, asked, tolerance, together=together or question.symbols)
    if CELL_STATE in methods:
        values, initial, error = _cell_state(model, inputs, kwargs, layer)
        found.values[CELL_STATE], found.initial[CELL_STATE], found.error[CELL_STATE] = values, initial, error
        found.notes.append(f"The parts of the cell state add up to it, to {float(error.max()):.2g}.")
    return found


def _checked(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods that are asked for, each once."""
    wrong = [one for one in given if one not in METHODS]
    if wrong:
        raise ProbeError(unknown("method", wrong[0], METHODS))
    return tuple(dict.fromkeys(given))


def _split(
    question: Question, methods: Sequence[str], steps: tuple[int, ...] | None, tolerance: float, *, together: bool
) -> Contributions:
    """Return the contributions to the answers."""
    found, asked = Contributions({}, {}, {}, question.notes, question.answers), torch.nan if question.unasked else 1
    for method in methods:
        if method == OCCLUSION:
            found.values[method], initial = occluded(question, steps, together=together)
            found.initial[method] = initial * asked
        if method == GRADIENTS:
            total, gained, points, at_input = integrated(question, tolerance)
            each = total[:, :-1].view(*question.real.shape, -1).masked_fill(~question.real.unsqueeze(2), torch.nan)
            found.values[method] = each.sum(2, keepdim=True) if together else each
            found.initial[method], found.error[method] = total[:, -1] * asked, (total.sum(1) - gained).abs()
            found = replace(found, baseline_answers=question.answers - gained, points=points)
            found.notes.append(
                f"Integrated gradients add up to the answer minus the baseline's to {found.error[method].max():.2g}, "
                f"with {int(points.median()):,} points a row in the median and {int(points.max()):,} at most."
            )
            large = gained.abs() > _LARGE * tolerance
            silent = large & (at_input.abs() < _EXPLAINED * gained.abs())
            if bool(silent.any()):
                found.notes.append(
                    f"{int(silent.sum()):,} of {int(large.sum()):,} answers that lie far from the baseline's are "
                    f"saturated: the gradient at the input itself explains less than {_EXPLAINED:.0%} of the way."
                )
    if {OCCLUSION, GRADIENTS} <= {*methods}:
        found.notes.extend(_disagreement(found[OCCLUSION].double(), found[GRADIENTS]))
    return found


def _disagreement(one: Tensor, two: Tensor) -> Iterator[str]:
    """Yield where two methods disagree, in a sentence."""
    asked = ~(one + two).isnan()
    one, two = one[asked], two[asked]
    apart = float((one - two).norm() / max(float(one.norm()), float(two.norm()), 1e-300))
    alike = float(torch.corrcoef(torch.stack([one, two]))[0, 1].nan_to_num()) if len(one) > 1 else 1.0
    if apart > _APART or alike < _ALIKE:
        yield (
            f"The two methods disagree: they correlate by {alike:.2f}, lie {apart:.0%} of their size apart, and have "
            f"other signs at {float((one * two < 0).double().mean()):.0%} of the inputs."
        )


def _cell_state(model: nn.Module, inputs: Any, kwargs: Any, name: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return c_T split by the step that wrote it, (row, step, unit), what is left of c_0, and each row's error.

    c_T = sum_s (prod_{r > s} f_r) i_s g_s + (prod_r f_r) c_0, computed in float64.
    """
    layers = find_layers(model, None if name is None else [name])
    names = [layer.name for layer in layers if {*_PARTS} <= {*layer.signals} and not layer.reads_back]
    recording = record(model, *inputs, kwargs=kwargs, layer=names, signals=_PARTS) if len(names) == 1 else None
    if recording is None or recording.calls.get(names[0]) != 1:
        raise ProbeError(
            f"The cell state of one LSTM of torch's is split, which a run calls once, forwards; there is "
            f"{', '.join(map(repr, names)) or 'none'}. Name it with layer=, or ask for other methods."
        )
    i, f, g, c = (recording[one].double() for one in _PARTS)
    lengths = torch.tensor(recording.lengths() or [i.shape[1]] * len(i), device=i.device)
    real = (torch.arange(i.shape[1], device=i.device) < lengths.unsqueeze(1)).unsqueeze(2)
    left = torch.where(real, f, 1.0).flip(1).cumprod(1).flip(1)
    after = torch.cat([left[:, 1:], torch.ones_like(left[:, :1])], 1)
    values, initial = torch.where(real, i * g * after, 0.0), left[:, 0] * recording.initial[Signal.CELL_STATE]
    reached = recording[Signal.CELL_STATE][torch.arange(len(c), device=c.device), lengths - 1]
    summed = values.sum(1) + initial
    if not close(reached, summed.to(reached.dtype)):
        raise ProbeError(f"The parts of the cell state of {names[0]!r} do not add up to it.")
    return values.masked_fill(~real, torch.nan), initial, (summed - reached).abs().amax(1)
