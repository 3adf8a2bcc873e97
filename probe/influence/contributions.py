"""`contributions`: which input, at which step, made an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError, names_its_arguments, several, unknown
from ..hooks.sweeping.sweep import MEMORY
from ..recurrent.finding import check_forward
from ..recurrent.rows.batches import batch_of
from ..recurrent.signals import as_indices
from .cells import cell_state
from .splitting import CELL_STATE, GRADIENTS, METHODS, OCCLUSION, Asked

if TYPE_CHECKING:
    import pandas as pd

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
        answers: the answers, (row,).
        baseline_answers: those to the baseline, where gradients were asked for.
        error: by method, how far each row's contributions are from adding up to the answer minus the baseline's; of
            `"cell state"`, to the recorded cell state.
        points: how many gradients were computed of each row.
        plain: what the gradient at the input itself, times (input - baseline), adds up to, (row,).
        tolerance: what the completeness error was to keep.
        notes: what the printed table says of the state before the first step.
    """

    values: dict[str, Tensor]
    initial: dict[str, Tensor]
    error: dict[str, Tensor]
    answers: Tensor | None = None
    baseline_answers: Tensor | None = None
    points: Tensor | None = None
    plain: Tensor | None = None
    tolerance: float = 0.01
    notes: tuple[str, ...] = ()

    def __getitem__(self, method: str) -> Tensor:
        """Return the contributions of one method, (row, time, feature)."""
        if method not in self.values:
            raise ProbeError(unknown("method that was asked for", method, self.values))
        return self.values[method]

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: method, row, step, feature (or unit) and value, without what is NaN.

        The state before the first step has no step, and no feature where its contribution is one number.
        """
        import pandas as pd

        parts = list[Any]()
        for method, values in self.values.items():
            first = self.initial[method]
            for found, names in ((values, ("row", "step", "feature")), (first, ("row", "feature")[: first.dim()])):
                array = found.detach().double().cpu().numpy()
                places = np.argwhere(~np.isnan(array)).T
                columns = {name: pd.array(place, "Int64") for name, place in zip(names, places, strict=True)}
                parts.append(pd.DataFrame({"method": method, **columns, "value": array[tuple(places)]}))
        return pd.concat(parts, ignore_index=True)[["method", "row", "step", "feature", "value"]]

    def __repr__(self) -> str:
        columns = [_sizes(self.values[method], self.initial[method]) for method in self.values]
        rows, time = next(iter(self.values.values())).shape[:2]
        largest = np.nanmax([column[1:] / (np.nanmax(column) or 1.0) for column in columns], axis=0)
        shown = sorted(np.argsort(-largest, kind="stable")[:_PRINTED].tolist())
        few = f"; the {_PRINTED} steps with most of {time:,}" if time > _PRINTED else ""
        lines = [f"Contributions in {several(rows, 'row')}, the mean of their sizes at a step{few}"]
        lines.append("  step  " + "  ".join(f"{method:>9}" for method in self.values))
        for name, place in [("before", 0), *((f"{step:6d}", step + 1) for step in shown)]:
            numbers = zip(self.values, columns, strict=True)
            lines.append(
                f"{name}  " + "  ".join(f"{column[place]:{max(9, len(method))}.4g}" for method, column in numbers)
            )
        return "\n".join([*lines, *self.notes, *filter(None, (self._adds_up(), self._disagree(), self._is_silent()))])

    def _adds_up(self) -> str:
        """Return how far the sums are from what they must be, in a sentence."""
        said = [
            f"The parts of the cell state add up to it, to {float(self.error[one].max()):.2g}."
            for one in self.error
            if one == CELL_STATE
        ]
        if self.points is not None:
            said.append(
                f"The integrated gradients of each row add up to the answer minus the baseline's, to "
                f"{float(self.error[GRADIENTS].max()):.2g}, with {int(self.points.median()):,} points in the median "
                f"and {int(self.points.max()):,} at most."
            )
        return "\n".join(said)

    def _disagree(self) -> str:
        """Return where the two methods disagree, in a sentence."""
        if not {OCCLUSION, GRADIENTS} <= {*self.values}:
            return ""
        one, two = (self.values[method].double() for method in (OCCLUSION, GRADIENTS))
        one, two = one[~(one + two).isnan()], two[~(one + two).isnan()]
        apart = float((one - two).norm() / max(float(one.norm()), float(two.norm()), 1e-300))
        alike = float(torch.corrcoef(torch.stack([one, two]))[0, 1]) if len(one) > 1 else 1.0
        if apart <= _APART and not alike < _ALIKE:
            return ""
        turned = float((one * two < 0).double().mean())
        return (
            f"The two methods disagree: they correlate by {alike:.2f}, lie {apart:.0%} of their size apart, and have "
            f"other signs at {turned:.0%} of the inputs."
        )

    def _is_silent(self) -> str:
        """Return where the gradient at the input itself says nothing, in a sentence."""
        if self.plain is None or self.answers is None or self.baseline_answers is None:
            return ""
        difference = (self.answers.double() - self.baseline_answers).abs()
        large = difference > _LARGE * self.tolerance
        silent = large & (self.plain.abs() < _EXPLAINED * difference)
        return (
            f"In {int(silent.sum()):,} of the {several(int(large.sum()), 'row')} whose answer is another than the "
            "baseline's, it is saturated: the gradient at the input itself, times (input - baseline), explains less "
            f"than {_EXPLAINED:.0%} of the difference."
            if bool(silent.any())
            else ""
        )


def _sizes(values: Tensor, initial: Tensor) -> np.ndarray:
    """Return the mean over rows of the size of contributions, of the initial state and of each step, (1 + time,)."""
    first = initial.reshape(len(initial), 1, -1)
    parts = [one.detach().double().abs().cpu().numpy() for one in (first, values)]
    sizes = np.concatenate([np.where(np.isnan(one).all(2), np.nan, np.nansum(one, axis=2)) for one in parts], axis=1)
    known = ~np.isnan(sizes)
    return np.where(known.any(0), np.nansum(sizes, axis=0) / np.maximum(known.sum(0), 1), np.nan)


@names_its_arguments
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
    step: int = -1,
    seed: int = 0,
    tolerance: float = 0.01,
    most: int = 4096,
    memory: int = MEMORY,
    kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = None,
) -> Contributions:
    """Return which input, at which step, made an answer: of each row, step and feature of the model's first input.

    `"occlusion"` is the answer minus the answer with that input replaced. `"integrated gradients"` add up to the
    answer minus the baseline's. `"cell state"` splits an LSTM's cell state by the step that wrote it: input gate
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
        at: the name of the module whose output contributes, in place of the first input.
        layer: whose cell state; it may be left out where there is one.
        step: after which step the cell state; -1 is each row's last.
        seed: draws the other rows.
        tolerance: the largest completeness error, in units of the answer.
        most: how many gradients may be computed of a row.
        memory: about how many bytes one run may hold.
        kwargs: the model's own keyword arguments.
        batch_axis: the batch's axis of the first input; see `sweep`.

    Raises:
        ProbeError: a row needs more points, or depends on others; the model draws random numbers; an argument does
            not fit; or several embeddings read the symbols.

    Reference:
        Integrated gradients: Sundararajan, Taly & Yan 2017, equation 1. Occlusion: Zeiler & Fergus 2014, section 4.2.
    """
    check_forward(model, "probe.contributions")
    asked = Asked(_named(method), baseline, seed, as_indices("steps", steps), together, at, tolerance, most, memory)
    found = Contributions({}, {}, {}, tolerance=tolerance)
    if {*asked.methods} - {CELL_STATE}:
        found = Contributions(**asked.split(model, output, batch_of(model, inputs, kwargs or {}, batch_axis)))
    if CELL_STATE in asked.methods:
        values, initial, error = cell_state(model, inputs, kwargs, layer, step)
        found.values[CELL_STATE], found.initial[CELL_STATE], found.error[CELL_STATE] = values, initial, error
    return found


def _named(method: str | Sequence[str]) -> tuple[str, ...]:
    """Return the methods that are asked for."""
    methods = (method,) if isinstance(method, str) else tuple(dict.fromkeys(method))
    wrong = [one for one in methods if one not in METHODS]
    if wrong or not methods:
        raise ProbeError(unknown("method", wrong[0] if wrong else method, METHODS))
    return methods
