"""Does the counter count? Its errors on held-out strings, by count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common, rules
from models.fitted_head import SCALE
from models.recipes import recipe
from models.tasks import format_bits
from probe.evidence.measurements import measurement, tabulate
from probe.questions.answers import answers
from probe.questions.question import Question
from probe.subjects.answers import answers_to
from probe.subjects.subject import Subject

EVERY = tuple(range(len(common.STRINGS)))


def groups(subject: Subject) -> answers.Groups:
    """Return a network's training and test strings, where it has some, and all strings."""
    own = subject.network if isinstance(subject.network, common.Studied) else None
    parts = {"train": own.train, "test": own.test} if own else {}
    return {name: rows for name, rows in (parts | {"all": EVERY}).items() if rows}


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure the errors of counters on all strings of ten bits, and name the strings that trained ones misread."""
    misread = (row for subject in subjects if subject.network.role == "trained" for row in _misread(subject))
    return pd.concat([answers.measure(subjects, groups=groups), tabulate(misread)], ignore_index=True)


def _misread(subject: Subject) -> Iterator[dict[str, Any]]:
    """Yield a row for each misread string: the string as `kind`, the network's answer as `value`."""
    given = answers_to(subject, common.STRINGS)[0]
    wrong = np.flatnonzero(given != common.COUNTS[:, -1].numpy())
    names = format_bits(common.STRINGS[wrong]) if len(wrong) else []
    for name, row in zip(names, wrong, strict=True):
        yield measurement("accuracy", "misread", subject.network, float(given[row]), kind=name)


PLAN = recipe("counter")
SETUP = (
    f"The network reads {PLAN.length} bits, one at a time, through {PLAN.hidden_size} LSTM units, and answers how "
    f"many ones there were. We trained each from its own seed, on {PLAN.train_size} of the {len(EVERY):,} strings, "
    "with Adam on the cross-entropy of the right count. The controls are the same network before training, and "
    "fitted heads on its last state. Three are a line to the count, fitted on the training strings by least "
    "squares, by ridge regression, and under noise. Two are a score for each count, fitted under noise, once with "
    f"all recurrent weights times {SCALE:g}, which makes it the strongest on other seeds. For each network and rule "
    "we take the best of the five. The planted counter is written by hand: one unit holds the count, and idle units "
    "keep random memories."
)
QUESTION = Question(
    "accuracy",
    "Does the network count?",
    measure,
    rules=rules.ACCURACY,
    text="A network misreads a string if its answer is not the number of ones in it.",
)
