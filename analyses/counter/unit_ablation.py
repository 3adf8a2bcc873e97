"""Does the counter need all of its units, and would one be enough?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import alone_of
from probe.evidence.measurements import FITTED_HEADS, measurement, tabulate
from probe.questions.interventions import unit_ablation
from probe.questions.question import Question
from probe.subjects.subject import Subject

BOUND = 0.5


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what each unit's ablation costs and how few units suffice; of fitted heads what the best does alone."""
    heads = [one for one in subjects if one.network.role in FITTED_HEADS]
    table = unit_ablation.measure([one for one in subjects if one not in heads])
    alone = [_best(head) for head in heads]
    return pd.concat([table, tabulate(alone)], ignore_index=True)


def _best(head: Subject) -> dict[str, Any]:
    score = alone_of(head)
    best = int(np.nanargmax(score))
    return measurement("unit_ablation", "best_single_unit_score", head.network, score[best], units=str(best))


QUESTION = Question(
    "unit_ablation",
    "Would one unit be enough?",
    measure,
    roles=common.ANSWERING,
    rules=(
        common.rule(
            key="II.14",
            statement="No unit suffices: alone, the best one keeps less than half of what the network can do.",
            sentence="No unit suffices alone (accuracy kept by the best)",
            metric="best_single_unit_score",
            definition="(accuracy with the best unit alone - with none) / (own accuracy - with none); the states of "
            "the others, (c, h), are those of a random other prefix after every bit, 32 draws.",
            source="Lakretz et al. 2019; Chan et al. 2022, causal scrubbing",
            at_most=BOUND,
            controls=common.LESS,
        ),
    ),
    text="A unit is enough if it does more than half of what the network can do. We start with no unit, and keep "
    "adding the one that helps most.",
)
