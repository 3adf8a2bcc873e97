"""Can a linear probe read a concept, and better than from untrained networks, the step, or other functions of inputs?

This compares networks that were trained alike: the last layer after every prefix, by least squares, states split by
prefix, the interval over networks. Of one network see `reading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...errors import ProbeError, several
from ...evidence.claims import Control
from ...evidence.margins import LEAST_MARGIN
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import said
from ...methods.probing.controls import clock_r_squared, online_codelength, signed_sums, variance_shares
from ...methods.probing.groups import LEAST_STATES, folds
from ...methods.probing.linear import LeastSquares, fit_linear, r_squared
from ...methods.probing.prefixes import StepStates, pool
from ...methods.probing.scores import of_parts, of_rounding
from ...plots.networks import draw_dots, draw_role_lines
from ...plots.style import axes_or_new
from ...recurrent.signals import Signal
from ...subjects.states import rows_within_budget, step_states, studied_layer
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import INITIAL, above, rule
from ..told import measured_on

QUESTION = "linear_readout"
#: Of more values than this no codelength is measured: its probe takes time with the third power of their number.
MOST_CODED = 50
#: Where 1 - |r| of a sum of inputs and the concept is no more, they are one but for scale.
_ALIKE = 1e-9
#: A verdict about networks that were trained alike, by probes of drawn states, needs so many of them.
NEEDS_OF_DRAWN = 20
_Row = dict[str, Any]


def question(subject: Subject) -> Question:
    """Return the question about several networks: least squares after every prefix."""
    name = f"“{subject.concept.name}”"
    return Question(
        "linear-readout",
        f"Can a linear probe read {name}?",
        measure,
        (needs.last_states,),
        draw=partial(draw_dots, metrics={"last_step_r_squared": "R² of the\nlast state"}),
        tell=_tell_sum,
        settings={"sums": True},
        text="A probe is fitted to half of the states of a step and scored on the other half, both ways.",
        version=3,
        rules=(
            rule(
                "linear-readout-2",
                f"A linear probe reads {name} out of the last state.",
                "last_step_r_squared",
                definition="Held-out R² of a least-squares probe at the last step (halves, both ways), the smallest "
                "of the layer's states.",
                source="Hupkes et al. 2018",
                at_least=0.95,
                controls=(above(INITIAL, 0.02),),
            ),
            rule(
                "selectivity",
                f"The last state holds {name} better than other memories of its input.",
                "selectivity",
                definition="Held-out R² of the concept minus the mean of that of 200 sums of the inputs with signs "
                "that nearly cancel; the hidden state after the last step. Not judged where the sum of one feature "
                "of the inputs is read better than the concept.",
                source="Hewitt & Liang 2019",
                at_least=0.5,
                signal=_returned(subject),
                controls=(Control(INITIAL, 0.1),),
            ),
        ),
        caption="The held-out R² of a probe of the last state; dots are networks.",
    )


def _returned(subject: Subject) -> Signal:
    """Return what the layer that is read returns at each step: the hidden state of a layer of torch."""
    layers = (*filter(None, [subject.read]), *subject.layers)
    return layers[0].output if layers else Signal.HIDDEN_STATE


def measure(subjects: Sequence[Subject], *, sums: bool = False) -> pd.DataFrame:
    """Measure least-squares probes of the last layer, with the controls that a probe needs.

    A signal each: `r_squared` and `rounding_accuracy` at each step, held out (half of the distinct states is
    scored on a fit of the other half, both ways), and `in_sample_r_squared` where a step has too few states to
    hold any out; `pooled_r_squared` over all steps (four folds), and `pooled_r_squared_minus_clock`;
    `selectivity`: r_squared at the last step minus its mean over 200 other memories of the input;
    `codelength` in bits a state at the last step; `variance_share` of each kind (clock, linear, curved, other)
    over all steps; `between_concept_share` at the last step. All probes are least squares.
    For the network: `last_step_r_squared`, the smaller of its signals' at the last step.
    Rounding and codelength are left out where the concept holds other than whole numbers from 0, and the codelength
    where it has more than `MOST_CODED` values or sequences have groups. The last step is the last one with enough
    distinct states. Of many sequences a part is recorded, drawn by the network's seed.

    Args:
        subjects: the networks.
        sums: measure `best_sum` too, the best R² of the sum of one feature of the inputs so far, which `kind` names;
            a sum that is the concept itself but for scale is none. Where it is read better, by more than 0.01, than
            the concept of a trained network, there is no `selectivity`: signs that nearly cancel make no such sum.

    Raises:
        ProbeError: no step has enough distinct states where the concept is defined.
    """
    return tabulate(row for subject in as_subjects(subjects) for row in _of_one(subject, sums=sums))


def _of_one(subject: Subject, *, sums: bool) -> Iterator[_Row]:
    layer, levels = studied_layer(subject), subject.concept.levels
    read = layer.whole_state
    by_step = step_states(subject, read, rows=rows_within_budget(subject, layer.units * len(read)))
    most = max((len(item.rows) for item in by_step), default=0)
    if most < LEAST_STATES:
        prefixes = several(most, "distinct prefix", "distinct prefixes")
        raise ProbeError(
            f"“{subject.concept.name}” has a value after {prefixes} of a length at most; {LEAST_STATES} are needed."
        )
    last = [item for item in by_step if len(item.rows) >= LEAST_STATES][-1]
    memories = signed_sums(subject.x, seed=0)[last.rows, last.step]
    of_features = subject.x.double().cumsum(1).numpy()[last.rows, last.step] if sums else np.empty((len(memories), 0))
    whole = bool((levels == levels.round()).all() and levels[0] >= 0)
    scores = []
    for signal in read:
        row = partial(measurement, QUESTION, network=subject.network, layer=subject.layer, signal=signal)
        at_steps = [*_at_steps(row, by_step, signal, whole)]
        scores += [one["value"] for one in at_steps if one["metric"] == "r_squared" and one["step"] == last.step]
        yield from (*at_steps, *_over_steps(row, by_step, signal, whole))
        best = _best_sum(last, signal, of_features)
        yield from (row("best_sum", value=value, kind=kind, step=last.step) for kind, value in best.items())
        least = max(best.values(), default=-np.inf) if subject.network.role == "trained" else -np.inf
        yield from _at_last(row, last, signal, memories, levels if whole else None, least=least)
    yield measurement(QUESTION, "last_step_r_squared", subject.network, min(scores), step=last.step)


def _at_steps(row: partial[_Row], by_step: list[StepStates], signal: Signal, whole: bool) -> Iterator[_Row]:
    """Yield how well the concept is read at each step."""
    for item in by_step:
        states, target = item.states[signal], item.concept
        if len(states) >= LEAST_STATES:
            parts = folds(len(states), 2, seed=0, groups=item.groups)
            predicted = LeastSquares().held_out(states, target[:, None], parts)[:, 0]
            yield row("r_squared", value=of_parts(target, predicted, parts).value, step=item.step)
            if whole:
                yield row("rounding_accuracy", value=of_rounding(target, predicted, parts).value, step=item.step)
        else:
            fitted = fit_linear(states, target[:, None]).predict(states)[:, 0]
            yield row("in_sample_r_squared", value=float(r_squared(target, fitted)), step=item.step)


def _over_steps(row: partial[_Row], by_step: list[StepStates], signal: Signal, whole: bool) -> Iterator[_Row]:
    """Yield how well one probe reads the concept at all steps, and how the variance of the states splits."""
    pooled = pool(by_step)
    states, target, weight = pooled.states[signal], pooled.concept, pooled.weight
    parts = folds(len(target), 4, seed=0, groups=pooled.groups)
    predicted = LeastSquares(weight).held_out(states, target[:, None], parts)[:, 0]
    score = of_parts(target, predicted, parts, weight).value
    yield row("pooled_r_squared", value=score)
    yield row("pooled_r_squared_minus_clock", value=score - clock_r_squared(pooled.step, target, weight))
    if whole:
        yield row("pooled_rounding_accuracy", value=of_rounding(target, predicted, parts, weight).value)
    shares = asdict(variance_shares(pooled.step, target, states, weight))
    yield from (row("variance_share", value=share, kind=part) for part, share in shares.items())


def _best_sum(last: StepStates, signal: Signal, sums: np.ndarray) -> dict[str, float]:
    """Return the largest held-out R² of the sum of one feature by what it is called; empty where there is none."""
    varied = sums - sums.mean(0)
    size, concept = np.linalg.norm(varied, axis=0), last.concept - last.concept.mean()
    alike = np.abs(varied.T @ concept) >= (1 - _ALIKE) * size * np.linalg.norm(concept)
    others = np.flatnonzero((size > 0) & ~alike)
    if not len(others):
        return {}
    parts = folds(len(sums), 2, seed=0, groups=last.groups)
    predicted = LeastSquares().held_out(last.states[signal], sums[:, others], parts)
    found = [of_parts(*pair, parts).value for pair in zip(sums[:, others].T, predicted.T, strict=True)]
    best = int(np.argmax(found))
    return {f"the sum of feature {others[best]} of the inputs": found[best]}


def _at_last(
    row: partial[_Row],
    last: StepStates,
    signal: Signal,
    memories: np.ndarray,
    levels: np.ndarray | None,
    *,
    least: float,
) -> Iterator[_Row]:
    """Yield what sets the concept apart from all else that the last state holds.

    A concept that is clearly read less well than `least` has no `selectivity`.
    """
    states, concept = last.states[signal], last.concept
    targets = np.column_stack([concept, memories])
    parts = folds(len(states), 2, seed=0, groups=last.groups)
    predicted = LeastSquares().held_out(states, targets, parts)
    explained = [of_parts(*pair, parts).value for pair in zip(targets.T, predicted.T, strict=True)]
    if explained[0] >= least - LEAST_MARGIN:
        yield row("selectivity", value=explained[0] - float(np.mean(explained[1:])), step=last.step)
    # The states are sent in a mixed order: a probe would have seen others of their groups.
    if levels is not None and len(levels) <= MOST_CODED and last.groups is None:
        places = np.searchsorted(levels, concept).astype(float)
        bits = online_codelength(states, places, classes=len(levels), seed=0)
        yield row("codelength", value=bits, step=last.step)
    equal = np.full(len(concept), 1 / len(concept))
    shares = variance_shares(np.zeros(len(equal)), concept, states, equal)
    yield row("between_concept_share", value=shares.linear + shares.curved, step=last.step)


def _tell_sum(answered: Answered) -> Told:
    """Say which sum of inputs is read better than the concept, where one is."""
    subject, setup = answered.subject, measured_on(answered.subject, (needs.last_states,))
    own = only(answered.table, network=subject.network.name, signal=_returned(subject))
    best = only(own, metric="best_sum")
    if len(best) and not len(only(own, metric="selectivity")):
        kind, value = best[["kind", "value"]].iloc[0]
        better = (
            f"{str(kind).capitalize()} is read better, with an R² of {said(value)} after the last step. So nothing is"
        )
        setup = f"{better} claimed of “{subject.concept.name}” beside other memories of the inputs. {setup}"
    return Told({"setup": setup})


def draw(frame: pd.DataFrame, *, signal: str = Signal.CELL_STATE, ax: Axes | None = None) -> Axes:
    """Draw held-out R² by step, where states were held out: by role the median and its 95 % interval."""
    rows = frame[(frame["signal"] == signal) & (frame["metric"] == "r_squared")]
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at="step")
    ax.set_xlabel("steps read")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("held-out R²")
    return ax
