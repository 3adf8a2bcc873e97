"""Do two directions of the counter's state carry the count? An alignment search (DAS) beside its controls."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common, rules
from probe.evidence import DataFigure
from probe.evidence.measurements import tabulate
from probe.plots.study_figures import medians_in_words
from probe.questions.interventions import alignment
from probe.questions.question import Question
from probe.subjects.subject import Subject

STEP = 6
#: The network that holds the count and nothing else that its answer reads.
CEILING = "planted/ones"


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Search for directions that carry the count: in trained networks at all steps with ranks 1 to 6.

    In the others after seven bits with rank 2; in trained ones and the ceiling also for what is not there.
    """
    tables, wrong = [tabulate([])], {"first_bit": common.STRINGS[:, 0, 0]}
    for subject in subjects:
        trained = subject.network.role == "trained"
        steps, ranks = (None, range(1, 7)) if trained else ((), ())
        sought = wrong if trained or subject.network.name == CEILING else None
        tables.append(alignment.measure([subject], step=STEP, steps=steps, ranks=ranks, wrong=sought))
    return pd.concat(tables, ignore_index=True)


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how far so many directions go after seven bits."""
    shown = ["alignment_score", "few_directions_score", "gradient_score", "random_directions_score"]
    own = common.drawn(table[table["metric"].isin(shown) & (table["step"] == STEP)], rules.ALIGNMENT[0])
    return common.picture(
        lambda: alignment.draw(own),
        name="ranks",
        title="How many directions carry the count after seven bits",
        alt=medians_in_words(own[own["metric"] != "alignment_score"]),
        caption="How far the answer moves, on prefixes that the search never saw; the whole state moves it all the "
        f"way. Lines are medians, one for random directions. {common.BEST_HEAD}",
        data=own,
    )


QUESTION = Question(
    "alignment",
    "Do two dimensions carry the count?",
    measure,
    roles=common.ANSWERING,
    rules=rules.ALIGNMENT,
    draw=figures,
    text="We search for directions that carry the count (distributed alignment search), and patch the state along "
    "them from one string into another.",
)
