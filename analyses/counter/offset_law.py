"""Is the counter at other lengths the ones plus an offset for each missing bit: answer by answer, and bit by bit?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from analyses.counter import common, rules
from probe.evidence.measurements import measurement, tabulate
from probe.methods.abstraction.programs import agreement, slope
from probe.questions.question import Question
from probe.subjects.alphabet import at_lengths
from probe.subjects.answers import answers_by_length
from probe.subjects.subject import Subject

NAME = "offset_law"
LENGTH = common.STRINGS.shape[1]
#: Lengths that the one number is fitted on, and the one that it is tried at.
FITTED, TRIED = (8, 9, 10), 12


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure answers at another length against ones + d (10 - L).

    Metrics, one value a network: `drift`, d over L = 8..10; `law_answers` and `offset_error` at 12 bits.
    """
    rows = []
    for subject in subjects:
        asked = at_lengths(subject, {*FITTED, TRIED}, most=2**14)
        given, shown = answers_by_length(subject, {length: found.x for length, found in asked.items()})
        excess = {length: float((shown[length] - found.right).mean()) for length, found in asked.items()}
        drift = slope(excess, FITTED, LENGTH)
        offset = drift * (LENGTH - TRIED)
        row = partial(measurement, NAME, network=subject.network)
        rows += [
            row("drift", value=drift),
            row("law_answers", value=agreement(given[TRIED], asked[TRIED].right + offset).share),
            row("offset_error", value=abs(excess[TRIED] - offset)),
        ]
    return tabulate(rows)


QUESTION = Question(
    NAME,
    "Is it the ones plus an offset for each missing bit?",
    measure,
    roles=common.ANSWERING,
    rules=rules.OFFSET_LAW,
    text="We fit the offset for each missing bit on strings of at most ten bits, and test it on strings of twelve.",
)
