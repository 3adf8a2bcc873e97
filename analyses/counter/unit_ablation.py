"""Does the counter need all of its units, and would one be enough?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common, rules
from analyses.counter.one_cell import alone_of
from probe.evidence.measurements import FITTED_HEADS, measurement, tabulate
from probe.questions.interventions import unit_ablation
from probe.questions.question import Question
from probe.subjects.subject import Subject


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
    rules=rules.UNIT_ABLATION,
    text="A unit is enough if it does more than half of what the network can do. We start with no unit, and keep "
    "adding the one that helps most.",
)
