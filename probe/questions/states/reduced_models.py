"""How few numbers give a network's answers? One drift, or an affine recurrence in two dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from ...evidence.claims import Control
from ...evidence.measurements import Network, measurement, tabulate
from ...methods.abstraction.programs import MOST, agreement, slope
from ...methods.abstraction.reduced import fit_affine
from ...methods.probing.linear import r_squared
from ...plots.networks import draw_dots
from ...subjects.alphabet import affordable, around, at_lengths
from ...subjects.answers import answers_by_length, gives_number
from ...subjects.ends import machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..answers.other_lengths import LANDMARKS
from ..needs import Need
from ..question import Question
from ..rules import ANSWERING, INITIAL, rule

QUESTION = "reduced_models"
#: (metric, value, kind, length)
_Value = tuple[str, float, str, int | None]
_ByLength = dict[int, np.ndarray]


def measure(subjects: Sequence[Subject], *, most: int = MOST) -> pd.DataFrame:
    """Measure how well one number, and how well an affine recurrence, predict a network's answers at other lengths.

    The law: y = concept + d (R - L), R the length of the study's sequences, d fitted on R - 2 to R. The recurrence:
    `fit_affine` on all prefixes. `kind` is `law` or `affine`.

    Metrics, one value a network: `drift` of the law; `law_r_squared` and `affine_r_squared` at R + 2;
    `fixed_r_squared`, the best of the same law with d = 0, 0.5 and 1, and `law_margin`, by how much the fitted one is
    better; for a trained network also `law_r_squared` of the role `null`, which is `fixed_r_squared` again and what a
    rule is held against; `affine_error`, root mean squared on what was fitted; `law_unseen_agreement` and
    `affine_unseen_agreement`, means over R + 1 to R + 4. By length (`at`, R - 2 to R + 4) and kind: `agreement`, the
    share of the network's answers that are a whole number nearest to the prediction; `r_squared` of the expected
    answer.

    Args:
        subjects: what is measured: networks of one study, with a small alphabet and a concept that is a function.
        most: how many sequences of a length are asked at most; of more, that many are drawn.

    Raises:
        ProbeError: no sequence of a length can be asked, or a network cannot be run from its states.

    Reference:
        El-Naggar et al. 2022 (counters that drift); Foerster et al. 2017 (input switched affine networks).
    """
    every, rows = as_subjects(subjects), []
    r = every[0].x.shape[1]
    asked = at_lengths(every[0], range(r - 2, r + 5), most=most, seed=0)
    truth = {n: sequences.right for n, sequences in asked.items()}
    for subject in every:
        affine = fit_affine(machine_of(subject), range(1, r + 1))
        given, expected = answers_by_length(subject, {n: sequences.x for n, sequences in asked.items()})
        predicted = {n: affine.predict(sequences.x) for n, sequences in asked.items()}
        values = [("affine_error", affine.error, "", None), *_scores(r, truth, given, expected, predicted)]
        network, layer = subject.network, subject.layer
        rows += [measurement(QUESTION, m, network, v, layer=layer, kind=kind, at=n) for m, v, kind, n in values]
        if network.role == "trained":
            null = Network(f"{network.name}/null", "null", network.model, network.pair)
            fixed = next(value for metric, value, _, _ in values if metric == "fixed_r_squared")
            rows.append(measurement(QUESTION, "law_r_squared", null, fixed, layer=layer))
    return tabulate(rows)


def _scores(r: int, truth: _ByLength, given: _ByLength, expected: _ByLength, affine: _ByLength) -> Iterator[_Value]:
    """Yield every score of one network; `affine` holds the recurrence's predictions."""
    law = range(r - 2, r + 1)
    d = slope({n: float((expected[n] - truth[n]).mean()) for n in law}, law, r)
    yield "drift", d, "", None
    fixed = max(float(r_squared(expected[r + 2], truth[r + 2] - 2 * one)) for one in LANDMARKS)
    yield "fixed_r_squared", fixed, "", None
    for kind, values in (("law", {n: truth[n] + d * (r - n) for n in truth}), ("affine", affine)):
        score = float(r_squared(expected[r + 2], values[r + 2]))
        yield f"{kind}_r_squared", score, "", None
        if kind == "law":
            yield "law_margin", score - fixed, "", None
        shares = {n: agreement(given[n], predicted).share for n, predicted in values.items()}
        for n, predicted in values.items():
            yield "agreement", shares[n], kind, n
            yield "r_squared", float(r_squared(expected[n], predicted)), kind, n
        yield f"{kind}_unseen_agreement", float(np.mean([share for n, share in shares.items() if n > r])), "", None


#: Draws how much of the answers' variance at an unseen length each reduced model explains, without the null.
draw = partial(
    draw_dots,
    metrics={
        "fixed_r_squared": "best of the\nnamed programs",
        "law_r_squared": "one number:\nthe drift",
        "affine_r_squared": "affine recurrence",
    },
)


_number = Need(
    lambda s: s.readout is not None and not gives_number(s),
    "it answers with one of several classes, and the drift predicts a number",
    (needs.readout,),
)


def question(subject: Subject) -> Question:
    """Return the question, asked at the lengths around the study's own."""
    askable = needs.other_lengths(subject) is None
    return Question(
        "reduced-models",
        "How few numbers describe what the network answers?",
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
        version=3,
        caption="What a law of a few numbers explains of the answers; dots are networks.",
    )
