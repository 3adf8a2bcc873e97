"""How few numbers give a network's answers? One drift, or an affine recurrence in two dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.abstraction.programs import agreement
from ...methods.abstraction.reduced import fit_affine
from ...methods.machines import Machine
from ...methods.outputs import answers_by_length, per_row
from ...methods.probing.linear import r_squared
from ...plots.networks import draw_dots
from ..answers.other_lengths import LANDMARKS, slope

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "reduced_models"


def measure(
    networks: Sequence[Network],
    inputs: Mapping[int, Tensor],
    concept: Mapping[int, Tensor],
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    reference: int = 10,
    law_from: Iterable[int] = (8, 9, 10),
    law_at: int = 12,
    fitted_on: Iterable[int] = range(1, 11),
    tested_at: Iterable[int] = (10, 11, 12),
    dimensions: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well one number, and how well an affine recurrence, predict a network's answers at other lengths.

    The law: y = concept + d (R - L), R the reference length, d fitted on `law_from`. The recurrence: `fit_affine` on
    the prefixes of the longest of `fitted_on`. `signal` is `law` or `affine`.

    Metrics, one value a network: `drift` of the law; `law_r_squared` at `law_at`; `fixed_r_squared`, the best of the
    same law with d = 0, 0.5 and 1, and `law_margin`, by how much the fitted one is better; for a trained network also
    `law_r_squared` of the subject `null`, which is `fixed_r_squared` again and what a rule is held against;
    `affine_r_squared` at `law_at`; `affine_error`, root mean squared on what was fitted; `law_unseen_agreement` and
    `affine_unseen_agreement`, means over the lengths of `tested_at` that nothing was fitted on. By length (`units`)
    and `signal`: `agreement`, the share of the network's answers that are a whole number nearest to the prediction;
    `r_squared` of the expected answer.

    Args:
        networks: what is measured.
        inputs: length -> sequences of that length, (batch, time, input).
        concept: length -> the concept's final value of each, (batch).
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers on the concept's scale, (batch).
        layer: the layer's name, or None for the only one.
        reference: the length that the networks were trained on.
        law_from: lengths that d is fitted on.
        law_at: length that decides.
        fitted_on: lengths that the recurrence is fitted on; the prefixes of the sequences of the longest.
        tested_at: lengths that both are scored at.
        dimensions: of the recurrence.
        seed: of its fit.

    Raises:
        ProbeError: a length is missing or does not fit, or a model is no `probe.methods.machines.Machine`.

    Reference:
        El-Naggar et al. 2022 (counters that drift); Foerster et al. 2017 (input switched affine networks).
    """
    plan = _Plan(tuple(law_from), law_at, tuple(fitted_on), tuple(sorted({*tested_at, law_at})), reference)
    truth = plan.truth(inputs, concept)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, inputs[max(plan.fitted)], answer=answer, expected=expected, layer=layer)
        affine = fit_affine(machine, plan.fitted, dimensions=dimensions, seed=seed)
        given, shown = answers_by_length(network.model, plan.asked(inputs), answer, expected)
        found = _found(plan, truth, given, shown, {n: affine.predict(inputs[n]) for n in plan.tested})
        rows += _rows(network, [*found, ("affine_error", affine.error, "", "")], layer or "")
    return tabulate(rows)


@dataclass(frozen=True)
class _Plan:
    """Which lengths the law and the recurrence are fitted on, and which they are tested at."""

    law: tuple[int, ...]
    law_at: int
    fitted: tuple[int, ...]
    tested: tuple[int, ...]
    reference: int

    def asked(self, inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Return the sequences of every length whose answers are needed."""
        return {n: inputs[n] for n in {*self.law, *self.tested}}

    def truth(self, inputs: Mapping[int, Tensor], concept: Mapping[int, Tensor]) -> dict[int, np.ndarray]:
        """Return the concept's values by length, where everything that is needed is there."""
        missing = sorted({*self.law, *self.tested, max(self.fitted, default=self.reference)} - set(inputs))
        if missing or not self.fitted:
            raise ProbeError(f"Lengths {missing} are needed and not among the inputs, which have {sorted(inputs)}.")
        found = {n: per_row(f"concept[{n}]", concept[n], len(inputs[n])) for n in inputs}
        return {n: values.cpu().numpy().astype(float) for n, values in found.items()}


def _rows(network: Network, found: Sequence[_Found], layer: str) -> list[dict[str, Any]]:
    """Return the rows of one network, and those of what a trained one is held against."""
    rows = [measurement(QUESTION, m, network, value, layer=layer, signal=s, units=n) for m, value, s, n in found]
    if network.subject == "trained":
        null = Network(f"{network.name}/null", "null", network.model, network.seed)
        fixed = next(value for metric, value, _, _ in found if metric == "fixed_r_squared")
        rows.append(measurement(QUESTION, "law_r_squared", null, fixed, layer=layer))
    return rows


#: (metric, value, signal, units)
_Found = tuple[str, float, str, str]
_ByLength = Mapping[int, np.ndarray]


def _found(plan: _Plan, truth: _ByLength, given: _ByLength, shown: _ByLength, affine: _ByLength) -> list[_Found]:
    """Return every score of one network; `affine` holds the recurrence's predictions."""
    reference, at = plan.reference, plan.law_at
    d = slope({n: float((shown[n] - truth[n]).mean()) for n in plan.law}, plan.law, reference)
    predicted = {"law": {n: truth[n] + d * (reference - n) for n in plan.tested}, "affine": affine}
    fixed = max(float(r_squared(shown[at], truth[at] + one * (reference - at))) for one in LANDMARKS)
    scores = {signal: float(r_squared(shown[at], values[at])) for signal, values in predicted.items()}
    return [
        ("drift", d, "", ""),
        ("fixed_r_squared", fixed, "", ""),
        ("law_margin", scores["law"] - fixed, "", ""),
        *((f"{signal}_r_squared", score, "", "") for signal, score in scores.items()),
        *_by_length(given, shown, predicted, {*plan.law, *plan.fitted, reference}),
    ]


def _by_length(
    given: _ByLength, shown: _ByLength, predicted: Mapping[str, _ByLength], used: set[int]
) -> Iterator[_Found]:
    """Yield the scores of each reduced model at each length; `used` are the lengths that are no test."""
    for signal, values in predicted.items():
        shares = {n: agreement(given[n], own).share for n, own in values.items()}
        for n, own in values.items():
            yield "agreement", shares[n], signal, str(n)
            yield "r_squared", float(r_squared(shown[n], own)), signal, str(n)
        unseen = [share for n, share in shares.items() if n not in used]
        if unseen:
            yield f"{signal}_unseen_agreement", float(np.mean(unseen)), "", ""


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw how much of the answers' variance at an unseen length each reduced model explains, every network a dot.

    Values below 0 (a prediction worse than the mean) are drawn at the axis' lower end.

    Args:
        frame: what `measure` returned.
        threshold: a rule's bound for the law, or None.
        ax: where to draw, or None for new axes.
    """
    metrics = {
        "fixed_r_squared": "best of the\nnamed programs",
        "law_r_squared": "one number:\nthe drift",
        "affine_r_squared": "affine recurrence",
    }
    shown = frame[frame["metric"].isin(list(metrics)) & (frame["subject"] != "null")]
    shown = shown.assign(value=shown["value"].clip(lower=0))
    bounds = None if threshold is None else {"law_r_squared": threshold}
    ax = draw_dots(shown, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("R² at an unseen length")
    return ax
