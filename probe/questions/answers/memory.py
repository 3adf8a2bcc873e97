"""How long does a state matter to the answers?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...evidence.claims import Control
from ...evidence.measurements import only
from ...evidence.words import said
from ...influence.lags import Lags, apart
from ...subjects.ends import ends_of
from ...subjects.states import drawn_rows
from ...subjects.subject import Subject
from .. import needs
from ..interventions.patching import Value, draw_lines, table_of
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, rule
from ..told import controls_of, figure_of, of_network

QUESTION = "memory"
#: Of so many sequences the state is set back, after so many steps at most.
ROWS, TIMES = 256, 16


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    return Question(
        "memory",
        "How long does a state matter?",
        measure,
        (needs.one_length, needs.two_steps, needs.scale, needs.whole, needs.used_states),
        ANSWERING,
        (
            rule(
                "remembers",
                f"What the state held of “{subject.concept.name}” matters to the end of the sequence.",
                "kept_at_end",
                definition="The whole state is set back to the initial one after a step of the first half: mean "
                "change of the expected answer after the last step, over its mean change after that step itself.",
                source="Hochreiter & Schmidhuber 1997, Long short-term memory, section 5",
                at_least=0.5,
                controls=(Control(FITTED, 0.2),),
            ),
        ),
        draw,
        tell,
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what setting the whole state back to the initial one does to the answers that follow.

    The answer is the expected one, read off the state after each step as if the sequence ended there.

    Metrics: `kept_at_lag` (`at` is the lag), the mean change so many steps later over the mean change at once;
    `kept_at_end`, the same at the last step, for the states of the first half; `halved`, the share of states whose
    change falls to half within the sequence.

    Raises:
        ProbeError: the subject has no machine of whole sequences.
    """
    return table_of(QUESTION, subjects, _values)


def _values(subject: Subject) -> Iterator[Value]:
    lags = _lags(subject)
    found, times, length = lags.differences, lags.times, lags.differences.shape[2]
    moved = lags.horizons[lags.horizons["horizon"] >= 0]
    if not len(moved) or not found[:, times < length // 2, 0].any():
        return  # at these steps the state is the initial one, for all that the answers say
    for lag in range(length - 1):
        there = ~np.isnan(found[:, :, lag])
        if (first := found[:, :, 0][there].mean()) > 0:
            yield "kept_at_lag", found[:, :, lag][there].mean() / first, {"at": lag}
    early = np.flatnonzero(times < length // 2)
    ends = found[:, early, length - 1 - times[early]]
    yield "kept_at_end", ends.mean() / found[:, early, 0].mean(), {"n": ends.size}
    yield "halved", 1 - moved["half_censored"].mean(), {"n": len(moved)}


def _lags(subject: Subject) -> Lags:
    """Return how the expected answer changes after each reset, (row, time, lag)."""
    machine = ends_of(subject).machine
    states, length = machine.clean.states, machine.clean.states.shape[1]
    rows = torch.as_tensor(drawn_rows(subject, np.arange(len(states)), ROWS, 21))
    times = np.unique(np.linspace(0, length - 2, TIMES).round().astype(int))
    clean = torch.stack([machine.answers(states[rows, step]).expected for step in range(length)], 1).double()
    found = np.full((len(rows), len(times), length), np.nan)
    for number, at in enumerate(times):
        for step, _, now in machine.going_on(machine.clean.initial[rows], rows, int(at)):
            both = machine.answers(now).expected.double(), clean[:, step]
            found[:, number, step - at] = apart(*(one.view(-1, 1, 1).numpy() for one in both))[0][:, 0]
    return Lags.of(times, (found, None), limit=None, share=0.01, seed=subject.seed)


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of the first change is left, by the steps since: medians over networks with their interval."""
    rows = only(frame, metric="kept_at_lag")
    return draw_lines(
        rows, at="at", x="steps since the state was set back", y="change, as a share of the first", ax=ax
    )


def tell(answered: Answered) -> Told:
    """Say how long the state of one network matters, and show it."""
    if not len(of_network(answered, "kept_at_end")):
        return Told({"answer": "Set the state back in the first half of a sequence, and no answer changes at once."})
    kept, halved = (float(of_network(answered, one)["value"].iloc[0]) for one in ("kept_at_end", "halved"))
    first = (
        f"Set the state back in the first half of a sequence, and the last answer changes {said(kept)} times as much "
        f"as the one at once{controls_of(answered, 'kept_at_end')}."
    )
    lasts = f"Of the states that change an answer, {halved:.0%} change it by half or less before the sequence ends."
    setup = (
        "We set the whole state back to the initial one after a step, let the run go on, and compare the expected "
        f"answers with the clean run's. We ran {ends_of(answered.subject).drawn(ROWS)}."
    )
    figure: Any = figure_of(
        answered,
        draw,
        "kept_at_lag",
        title="What is left of the change that a reset makes",
        alt=first,
        caption="One is the change at once; lines are medians over the networks of a role.",
    )
    return Told({"answer": f"{first} {lasts}", "setup": setup}, figure)
