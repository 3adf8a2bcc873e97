"""How few numbers give a network's answers? One drift, or an affine recurrence in two dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...evidence.claims import Control
from ...evidence.measurements import Network, measurement, tabulate
from ...methods.abstraction.programs import MOST, agreement
from ...methods.abstraction.reduced import fit_affine
from ...methods.probing.linear import r_squared
from ...plots.networks import draw_dots
from ...subjects.computed.alphabet import affordable, around, at_lengths
from ...subjects.computed.answers import answers_by_length, gives_number
from ...subjects.computed.ends import machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs, told
from ..answers.other_lengths import LANDMARKS, slope
from ..question import Question
from ..rules import ANSWERING, INITIAL, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "reduced_models"


def measure(
    subjects: Sequence[Subject],
    *,
    reference: int | None = None,
    law_from: Iterable[int] | None = None,
    law_at: int | None = None,
    fitted_on: Iterable[int] | None = None,
    tested_at: Iterable[int] | None = None,
    dimensions: int = 2,
    most: int = MOST,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well one number, and how well an affine recurrence, predict a network's answers at other lengths.

    The law: y = concept + d (R - L), R the reference length, d fitted on `law_from`. The recurrence: `fit_affine` on
    the prefixes of the longest of `fitted_on`. `kind` is `law` or `affine`.

    Metrics, one value a network: `drift` of the law; `law_r_squared` at `law_at`; `fixed_r_squared`, the best of the
    same law with d = 0, 0.5 and 1, and `law_margin`, by how much the fitted one is better; for a trained network also
    `law_r_squared` of the role `null`, which is `fixed_r_squared` again and what a rule is held against;
    `affine_r_squared` at `law_at`; `affine_error`, root mean squared on what was fitted; `law_unseen_agreement` and
    `affine_unseen_agreement`, means over the lengths of `tested_at` that nothing was fitted on. By length (`at`)
    and kind: `agreement`, the share of the network's answers that are a whole number nearest to the prediction;
    `r_squared` of the expected answer.

    Args:
        subjects: what is measured: networks of one study, with a small alphabet and a concept that is a function.
        reference: the length R that the networks were trained on; None for that of the study's sequences.
        law_from: lengths that d is fitted on; None for R - 2 to R.
        law_at: length that decides; None for R + 2.
        fitted_on: lengths that the recurrence is fitted on, prefixes of the study's sequences; None for 1 to R.
        tested_at: lengths that both are scored at; None for R - 2 to R + 4.
        dimensions: of the recurrence.
        most: how many sequences of a length are asked at most; of more, that many are drawn.
        seed: of its fit, and of the drawing.

    Raises:
        ProbeError: no sequence of a length can be asked, a length to be fitted on is beyond the study's, or a network
            cannot be run from its states.

    Reference:
        El-Naggar et al. 2022 (counters that drift); Foerster et al. 2017 (input switched affine networks).
    """
    every, rows = as_subjects(subjects), list[dict[str, Any]]()
    if not every:
        return tabulate([])
    r = every[0].x.shape[1] if reference is None else reference
    law, at = tuple(range(r - 2, r + 1) if law_from is None else law_from), r + 2 if law_at is None else law_at
    tested = range(r - 2, r + 5) if tested_at is None else tested_at
    fitted = tuple(range(1, r + 1) if fitted_on is None else fitted_on)
    plan = _Plan(law, at, fitted, tuple(sorted({*tested, at})), r)
    asked = at_lengths(every[0], {*plan.law, *plan.tested}, most=most, seed=seed)
    truth = {n: found.right for n, found in asked.items()}
    for subject in every:
        affine = fit_affine(machine_of(subject), plan.fitted, dimensions=dimensions, seed=seed)
        given, shown = answers_by_length(subject, {n: found.x for n, found in asked.items()})
        found = _found(plan, truth, given, shown, {n: affine.predict(asked[n].x) for n in plan.tested})
        rows += _rows(subject.network, [*found, ("affine_error", affine.error, "", None)], subject.layer)
    return tabulate(rows)


@dataclass(frozen=True)
class _Plan:
    """Which lengths the law and the recurrence are fitted on, and which they are tested at."""

    law: tuple[int, ...]
    law_at: int
    fitted: tuple[int, ...]
    tested: tuple[int, ...]
    reference: int


def _rows(network: Network, found: Sequence[_Found], layer: str) -> list[dict[str, Any]]:
    """Return the rows of one network, and those of what a trained one is held against."""
    rows = [measurement(QUESTION, m, network, value, layer=layer, kind=kind, at=n) for m, value, kind, n in found]
    if network.role == "trained":
        null = Network(f"{network.name}/null", "null", network.model, network.pair)
        fixed = next(value for metric, value, _, _ in found if metric == "fixed_r_squared")
        rows.append(measurement(QUESTION, "law_r_squared", null, fixed, layer=layer))
    return rows


#: (metric, value, kind, length)
_Found = tuple[str, float, str, int | None]
_ByLength = Mapping[int, np.ndarray]


def _found(plan: _Plan, truth: _ByLength, given: _ByLength, shown: _ByLength, affine: _ByLength) -> list[_Found]:
    """Return every score of one network; `affine` holds the recurrence's predictions."""
    reference, at = plan.reference, plan.law_at
    d = slope({n: float((shown[n] - truth[n]).mean()) for n in plan.law}, plan.law, reference)
    predicted = {"law": {n: truth[n] + d * (reference - n) for n in plan.tested}, "affine": affine}
    fixed = max(float(r_squared(shown[at], truth[at] + one * (reference - at))) for one in LANDMARKS)
    scores = {signal: float(r_squared(shown[at], values[at])) for signal, values in predicted.items()}
    return [
        ("drift", d, "", None),
        ("fixed_r_squared", fixed, "", None),
        ("law_margin", scores["law"] - fixed, "", None),
        *((f"{signal}_r_squared", score, "", None) for signal, score in scores.items()),
        *_by_length(given, shown, predicted, {*plan.law, *plan.fitted, reference}),
    ]


def _by_length(
    given: _ByLength, shown: _ByLength, predicted: Mapping[str, _ByLength], used: set[int]
) -> Iterator[_Found]:
    """Yield the scores of each reduced model at each length; `used` are the lengths that are no test."""
    for signal, values in predicted.items():
        shares = {n: agreement(given[n], own).share for n, own in values.items()}
        for n, own in values.items():
            yield "agreement", shares[n], signal, n
            yield "r_squared", float(r_squared(shown[n], own)), signal, n
        unseen = [share for n, share in shares.items() if n not in used]
        if unseen:
            yield f"{signal}_unseen_agreement", float(np.mean(unseen)), "", None


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
    shown = frame[frame["metric"].isin(list(metrics)) & (frame["role"] != "null")]
    shown = shown.assign(value=shown["value"].clip(lower=0))
    bounds = None if threshold is None else {"law_r_squared": threshold}
    ax = draw_dots(shown, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("R² at an unseen length")
    return ax


def _number(subject: Subject) -> str | None:
    """A readout that answers with a number: the mean of classes by their probabilities is no answer."""
    if subject.readout is None or gives_number(subject):
        return needs.readout(subject)
    return "it answers with one of several classes, and the drift predicts a number"


def question(subject: Subject) -> Question:
    """Return the question, asked at the lengths around the study's own.

    Args:
        subject: one of the networks.
    """
    askable = needs.other_lengths(subject) is None
    return Question(
        "reduced-models",
        "How few numbers say what the network answers?",
        measure,
        (needs.numbers, needs.other_lengths, needs.whole_sequences, _number, needs.better_than_a_guess),
        (*ANSWERING, INITIAL),
        (
            rule(
                "one-number",
                "One number, the drift, predicts the answers at another length.",
                "law_r_squared",
                definition="R² of the expected answer two steps beyond the study's length R, by right answer + "
                "d (R - L), d fitted on R - 2 to R; the null is the best of d = 0, 0.5 and 1.",
                source="Suzgun et al. 2019; El-Naggar et al. 2022",
                at_least=0.9,
                controls=(Control("null", 0.0),),
            ),
        ),
        draw,
        settings={"most": affordable(subject, around(subject))} if askable else {},
        setup=told.asked_around,
        version=3,
    )
