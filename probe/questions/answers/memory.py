"""How long does a state matter to the answers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...evidence.claims import Control
from ...evidence.margins import MARGIN
from ...evidence.measurements import only
from ...evidence.words import said
from ...influence.lags import Lags, apart
from ...plots.style import NARROW, NARROW_HEIGHT, new_figure
from ...subjects.ends import ends_of
from ...subjects.pairs import can_occur
from ...subjects.states import drawn_rows
from ...subjects.subject import Subject, per_subject
from .. import needs
from ..headings import by_rule
from ..interventions.patching import Value, draw_lines, table_of
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, rule
from ..told import controls_of, figure_of, of_network

QUESTION = "memory"
#: What the picture shows.
CAPTION = "One is the change at once; lines are medians over networks."
#: Of so many sequences the state is replaced, after so many steps at most.
ROWS, TIMES = 256, 16
#: For a state that is put in so many other sequences are tried, as the spliced one may be one that cannot occur.
TRIED = 8
#: What stands before a metric of states that are exchanged; of those that are set back there is nothing.
EXCHANGED = "exchanged_"
_PUT_IN = {EXCHANGED: "Put another sequence's state in", "": "Set the state back to the initial one"}


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    return Question(
        "memory",
        "How long does a state matter?",
        measure,
        (needs.one_length, needs.two_steps, needs.scale, needs.whole, needs.used_states, _hardly_changed),
        ANSWERING,
        (
            rule(
                "remembers",
                f"What the state held of “{subject.concept.name}” matters to the end of the sequence.",
                f"{EXCHANGED}kept_at_end",
                definition="Another sequence's whole state is put in after a step of the first half: mean change of "
                "the expected answer after the last step, over its mean change after that step itself.",
                source="Hochreiter & Schmidhuber 1997, Long short-term memory, section 5",
                at_least=0.5,
                controls=(Control(FITTED, 0.2),),
            ),
        ),
        partial(draw, exchanged=True),
        tell,
        settings={"exchanged": True},
        version=2,
        caption=CAPTION,
        heading=by_rule(
            "What the state holds early still shows in the last answer",
            "A change of the state is forgotten before the end",
        ),
    )


def _hardly_changed(subject: Subject) -> str | None:
    """A change at once that later ones can be a share of."""
    if any(_at_once(subject, _lags(subject, put)) is not None for put in (_initial, _of_others)):
        return None
    return (
        "another state after a step of the first half of a sequence changes the answer at once by less than "
        f"{MARGIN:.0%} of the standard deviation of the right answers, and nothing is a share of that"
    )


def measure(subjects: Sequence[Subject], *, exchanged: bool = False) -> pd.DataFrame:
    """Measure what replacing the whole state does to the answers that follow.

    The state is set back to the initial one, which may say something of its own, as that nothing is left to count
    down. The answer is the expected one, read off the state after each step as if the sequence ended there.

    Metrics: `kept_at_lag` (`at` is the lag), the mean change so many steps later over the mean change at once;
    `kept_at_end`, the same at the last step, for the states of the first half; `halved`, the share of states whose
    change falls to half within the sequence. They are left out where the states of the first half change the answer
    at once by less than 5 % of the standard deviation of the right answers: nothing is a share of that.

    Args:
        exchanged: put in the state of another sequence after the same step as well, so that the spliced sequence can
            occur: `exchanged_kept_at_lag`, `exchanged_kept_at_end` and `exchanged_halved`.

    Raises:
        ProbeError: the subject has no machine of whole sequences.
    """
    return table_of(QUESTION, subjects, partial(_values, exchanged=exchanged))


def _values(subject: Subject, *, exchanged: bool) -> Iterator[Value]:
    yield from _of_lags(subject, _lags(subject, _initial), "")
    if exchanged:
        yield from _of_lags(subject, _lags(subject, _of_others), EXCHANGED)


def _of_lags(subject: Subject, lags: Lags, called: str) -> Iterator[Value]:
    found, times, length = lags.differences, lags.times, lags.differences.shape[2]
    if (first := _at_once(subject, lags)) is None:
        return
    for lag in range(length - 1):
        there = ~np.isnan(found[:, :, lag])
        if there.any() and (at_once := found[:, :, 0][there].mean()) > _least(subject):
            yield f"{called}kept_at_lag", found[:, :, lag][there].mean() / at_once, {"at": lag}
    early = np.flatnonzero(times < length // 2)
    ends = found[:, early, length - 1 - times[early]]
    yield f"{called}kept_at_end", float(np.nanmean(ends)) / first, {"n": np.isfinite(ends).sum()}
    moved = lags.horizons[lags.horizons["horizon"] >= 0]
    yield f"{called}halved", 1 - moved["half_censored"].mean(), {"n": len(moved)}


def _at_once(subject: Subject, lags: Lags) -> float | None:
    """Return the mean change at once that states of the first half make; None where it is too small for a share."""
    first = lags.differences[:, lags.times < lags.differences.shape[2] // 2, 0]
    there = first[~np.isnan(first)]
    return float(there.mean()) if len(there) and there.mean() > _least(subject) else None


def _least(subject: Subject) -> float:
    return MARGIN * float(np.nanstd(ends_of(subject).values))


#: From a subject, rows and a step to the states that are put in, (row, size), and where there is one, (row,).
_Put = Callable[[Subject, Tensor, int], tuple[Tensor, np.ndarray]]


def _initial(subject: Subject, rows: Tensor, _: int) -> tuple[Tensor, np.ndarray]:
    return ends_of(subject).machine.clean.initial[rows], np.ones(len(rows), dtype=bool)


def _of_others(subject: Subject, rows: Tensor, at: int) -> tuple[Tensor, np.ndarray]:
    end, generator = ends_of(subject), np.random.default_rng([subject.seed, 22, at])
    sources, there = rows.clone(), np.zeros(len(rows), dtype=bool)
    for _ in range(TRIED):
        left = torch.as_tensor(np.flatnonzero(~there))
        if not len(left):
            break
        sources[left] = rows[torch.as_tensor(generator.integers(0, len(rows), len(left)))]
        there[left] = can_occur(subject, end, rows[left], sources[left], at)
    return end.machine.clean.states[sources, at], there


@per_subject
def _lags(subject: Subject, put: _Put) -> Lags:
    """Return how the expected answer changes after each state that is put in, (row, time, lag)."""
    machine = ends_of(subject).machine
    states, length = machine.clean.states, machine.clean.states.shape[1]
    rows = torch.as_tensor(drawn_rows(subject, np.arange(len(states)), ROWS, 21))
    times = np.unique(np.linspace(0, length - 2, TIMES).round().astype(int))
    clean = torch.stack([machine.answers(states[rows, step]).expected for step in range(length)], 1).double()
    found = np.full((len(rows), len(times), length), np.nan)
    for number, at in enumerate(times):
        begin, there = put(subject, rows, int(at))
        for step, _, now in machine.going_on(begin, rows, int(at)):
            both = machine.answers(now).expected.double(), clean[:, step]
            changed = apart(*(one.view(-1, 1, 1).numpy() for one in both))[0][:, 0]
            found[:, number, step - at] = np.where(there, changed, np.nan)
    return Lags.of(times, (found, None), limit=None, share=0.01, seed=subject.seed)


def draw(frame: pd.DataFrame, *, exchanged: bool = False, ax: Axes | None = None) -> Axes:
    """Draw how much of the first change is left, by the steps since: medians over networks with their interval.

    Of states that were exchanged where there are such, and else of those that were set back.
    """
    own = only(frame, metric=f"{EXCHANGED}kept_at_lag") if exchanged else frame[:0]
    rows, replaced = (own, "exchanged") if len(own) else (only(frame, metric="kept_at_lag"), "set back")
    x = f"steps since the state was {replaced}"
    panel = new_figure(width=NARROW, height=NARROW_HEIGHT)[1][0, 0] if ax is None else ax
    return draw_lines(rows, at="at", x=x, y="change, as a share of the first", ax=panel)


def tell(answered: Answered) -> Told:
    """Say how long the state of one network matters, and show it."""
    first, figure = [], None
    for called, put in _PUT_IN.items():
        kept = of_network(answered, f"{called}kept_at_end")
        if not len(kept):
            first.append(f"{put} in the first half of a sequence, and the answer hardly changes at once.")
            continue
        beside = controls_of(answered, f"{called}kept_at_end")
        times = said(float(kept["value"].iloc[0]))
        halved = float(of_network(answered, f"{called}halved")["value"].iloc[0])
        first.append(
            f"{put} in the first half of a sequence, and the last answer changes {times} times as much as the one at "
            f"once{beside}. Of these changes {halved:.0%} fall to half before the sequence ends."
        )
    setup = (
        "We replaced the whole state after a step, by that of another sequence after the same step or by the initial "
        "one, let the run go on, and compared the expected answers with the clean run's. The initial state may say "
        f"something of its own: the first is what the rule is about. We ran {ends_of(answered.subject).drawn(ROWS)}."
    )
    rows = answered.table[answered.table["metric"].isin([f"{EXCHANGED}kept_at_lag", "kept_at_lag"])]
    if len(rows):
        figure = figure_of(
            answered,
            partial(draw, exchanged=True),
            rows,
            title="What is left of the change that another state makes",
            alt=first[0],
            caption=CAPTION,
        )
    return Told({"answer": " ".join(first), "setup": setup}, figure)
