"""When is the answer right: after how many steps, and for which values?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, only, tabulate
from ...plots.legends import figure_legend
from ...plots.lines import numbered
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import GREY, ROLE_STYLE, new_figure
from ...plots.tables import MOST_CELLS, matrix
from ...subjects.computed.answers import answered_rows, answers_if_asked
from ...subjects.readouts import LAST
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "early-answers"
#: The most answers and values of which a matrix is drawn; the table has all.
VALUES = 12
#: A step counts only if so many sequences have it; a share of wrong answers above this is told.
FEWEST, WRONG = 8, 0.05
NULL = "most frequent value"


def question(subject: Subject) -> Question:
    """Return the question, which describes when answers are right and claims nothing."""
    _ = subject
    return Question(QUESTION, "When is the answer right?", measure, (right_at_end, needs.exact), ANSWERING, tell=tell)


def right_at_end(subject: Subject) -> str | None:
    """A right answer to some sequences, of which earlier answers are judged too."""
    return needs.right_answers(subject)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure the answers that would be given if the sequences ended earlier, and at their end, value by value.

    Metrics of each network: `wrong_if_asked`, by `step`, the share of sequences of which the answer is not the
    concept's value if they end after that step; sequences without a value there do not count, nor steps that fewer
    than 8 sequences have. Of role `null` the same of always giving the most frequent value of the step. `answers`: of
    the sequences whose right answer at their own end is one value (`at`), the share that are answered by another
    (`kind`, a number or a category).

    Args:
        subjects: what is measured.

    Raises:
        ProbeError: a readout does not give one finite number a sequence.
    """
    rows = []
    for number, subject in enumerate(as_subjects(subjects)):
        drawn_rows, concept = answered_rows(subject), subject.answered
        right, given = concept.values[drawn_rows], answers_if_asked(subject, drawn_rows)
        there = np.isfinite(right) & np.isfinite(given)
        for step in np.flatnonzero(there.sum(0) >= FEWEST).tolist():
            here = there[:, step]
            wrong = ~np.isclose(given[here, step], right[here, step])
            rows.append(_row(subject, "wrong_if_asked", float(wrong.mean()), step=step, n=int(here.sum())))
            if number == 0:
                _, counts = np.unique(right[here, step], return_counts=True)
                share = float(1 - counts.max() / counts.sum())
                null = _row(subject, "wrong_if_asked", share, step=step, n=int(here.sum()))
                rows.append(null | {"role": "null", "network": NULL})
        last = np.arange(len(drawn_rows)), subject.lengths[drawn_rows] - 1
        ends, asked = right[last], given[last]
        for value in np.unique(ends):
            of_value = asked[ends == value]
            for answer in np.unique(of_value).tolist():
                share, said = float((of_value == answer).mean()), _said(subject, answer)
                rows.append(_row(subject, "answers", share, at=float(value), kind=said, n=len(of_value)))
    return tabulate(rows)


def _row(subject: Subject, metric: str, value: float, **more: object) -> dict[str, object]:
    return measurement(QUESTION, metric, subject.network, value, **more)  # pyright: ignore[reportArgumentType]


def _said(subject: Subject, answer: float) -> str:
    """Return an answer in words; one that is no value of the concept as its number."""
    concept = subject.answered
    known = not concept.is_categorical or 0 <= round(answer) < len(concept.categories)
    return concept.said(answer) if known else f"{answer:g}"


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    subject, table = answered.subject, only(answered.table, network=answered.subject.network.name)
    early = only(table, metric="wrong_if_asked")
    notes = {"answer": f"{_by_step(early, subject)} {_by_value(table, subject)}".strip(), "setup": _setup(subject)}
    return Told(notes, lambda: (_by_step_figure(answered), *_by_value_figure(answered.name, table, subject)))


def _asked_at_end(subject: Subject) -> bool:
    """Return whether the readout answers after the last step alone."""
    return subject.asked.steps == LAST


def _setup(subject: Subject) -> str:
    rows = answered_rows(subject)
    there = np.isfinite(subject.answered.values[rows]).sum(0)
    left_out = (there < subject.data[rows].sum(0)).any() or (there < FEWEST).any()
    judged = (
        f" An answer where it has none was not judged, nor a step at which fewer than {FEWEST} sequences have one."
    )
    return (
        f"We asked {several(len(rows), 'sequence')} after each of their steps, as if they ended there. The right "
        f"answer is the value of “{subject.answered.name}” at that step.{judged * bool(left_out)} The readout "
        f"answers {subject.asked.when}"
        f"{', so an earlier answer is one that nobody asked for' * _asked_at_end(subject)}."
    )


def _by_step(early: pd.DataFrame, subject: Subject) -> str:
    lengths = sorted(set(subject.lengths.tolist()))
    end, early = early[early["step"] == lengths[-1] - 1]["value"], early[early["step"] < lengths[-1] - 1]
    if early.empty:
        return ""
    right = not (end > WRONG).any()
    ends = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    worst = early.sort_values("value", ascending=False, kind="stable").iloc[0]
    text = f"The sequences end after {ends} steps."
    if worst["value"] <= WRONG:
        steps = "step that was judged" if len(early) < lengths[-1] - 1 else "step"
        too = "is right too:" if right else "is"
        return f"{text} Asked earlier, the network {too} wrong on at most {worst['value']:.0%} after any {steps}."
    step = int(worst["step"])
    perhaps = " Perhaps nobody trained it to answer so early."
    perhaps *= _asked_at_end(subject) and right and step + 1 < lengths[0]
    longer = subject.x[torch.as_tensor(subject.lengths > step), : step + 1]
    ways = several(len(longer.flatten(1).unique(dim=0)), "way")
    when = "the first step" if step == 0 else several(step + 1, "step")
    those = "the sequences" if worst["n"] == len(longer) else f"the {worst['n']:.0f} that were judged"
    return (
        f"{text} Asked after {when}, by when they have begun in {ways}, the network is wrong on "
        f"{worst['value']:.0%} of {those}.{perhaps}{_later(early, subject, step)}"
    )


def _later(early: pd.DataFrame, subject: Subject, worst: int) -> str:
    """Return how often it is wrong at the study's step or in the middle, where that comes after the worst step."""
    steps, chosen = subject.x.shape[1], subject.asked.interchange_step
    at = steps // 2 if chosen is None else steps + chosen
    rows = early[early["step"] == at]
    if subject.ragged or rows.empty or not worst < at < steps - 1:
        return ""
    return f" Asked after {several(at + 1, 'step')} it is wrong on {rows['value'].iloc[0]:.0%}."


def _by_value(table: pd.DataFrame, subject: Subject) -> str:
    rows, concept = only(table, metric="answers"), subject.answered
    right = dict.fromkeys(rows["at"], 0.0)
    for at, kind, value in rows[["at", "kind", "value"]].itertuples(index=False):
        right[at] += value if kind == concept.said(at) else 0.0
    share = min(right.values())
    if share >= 1 - WRONG:
        return f"At their own end each value of “{concept.name}” is answered right on at least {share:.0%}."
    worst = [concept.said(value) for value, one in right.items() if one == share]
    text, ends = "At their own end it answers", f"right on {share:.0%}"
    if len(worst) > 1:
        return f"{text} {len(worst)} values worst, such as {worst[0]}: {ends} of each."
    return f"{text} worst where the value is {worst[0]}: {ends}."


def _by_step_figure(answered: Answered) -> DataFigure:
    rows = only(answered.table, metric="wrong_if_asked")
    with drawing():
        figure, axes = new_figure(height=2.8)
        ax: Axes = axes[0, 0]
        for role, own in rows.groupby("role", sort=False):
            by_step = own.groupby("step")["value"].median()
            look: dict[str, Any] = (
                {"color": GREY, "linestyle": ":"} if role == "null" else ROLE_STYLE[str(role)].line()
            )
            name = NULL if role == "null" else str(role)
            ax.plot(by_step.index.to_numpy(int) + 1, by_step.to_numpy(float), label=name, **look)
        numbered(ax, np.unique(rows["step"].to_numpy(int)) + 1)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel("steps read when asked")
        ax.set_ylabel("wrong answers (share)")
        _ = figure_legend(figure, *ax.get_legend_handles_labels())
        own = only(rows, network=answered.subject.network.name)
        worst = own.sort_values("value", ascending=False, kind="stable").iloc[0]
        return drawn(
            figure,
            name=f"{answered.name}-by-step",
            title="Wrong answers by when it is asked",
            alt=f"Wrong answers after each of {several(len(own), 'step')}: a share of at most {worst['value']:.2f}, "
            f"after {int(worst['step']) + 1}; after the last {own['value'].iloc[-1]:.2f}.",
            caption="The answers to sequences as if they ended after so many steps. The dotted line always gives the "
            "value that is most frequent after that step.",
            data=rows[["role", "network", "step", "value", "n"]].assign(step=rows["step"] + 1).reset_index(drop=True),
        )


def _by_value_figure(name: str, table: pd.DataFrame, subject: Subject) -> tuple[DataFigure, ...]:
    rows, concept = only(table, metric="answers"), subject.answered
    values = sorted(set(rows["at"]))
    named = [concept.said(value) for value in values]
    answers = [*named, *(kind for kind in dict.fromkeys(rows["kind"]) if kind not in named)]
    if max(len(values), len(answers)) > min(VALUES, MOST_CELLS):
        return ()
    wide = rows.pivot_table(index="at", columns="kind", values="value").reindex(index=values, columns=answers)
    with drawing():
        figure, axes = new_figure(height=0.9 + 0.36 * len(values))
        down, across = ([shortened(one, 10) for one in found] for found in (named, answers))
        ax = matrix(wide.to_numpy(), rows=down, columns=across, ax=axes[0, 0])
        ax.set_xlabel("answer of the network")
        ax.set_ylabel(shortened(f"right: {concept.name}", 26))
        diagonal = np.diag(wide.fillna(0.0).to_numpy(float))
        return (
            drawn(
                figure,
                name=f"{name}-by-value",
                title="What it answers at the end, by the right answer",
                alt=f"A row for each of {several(len(values), 'value')} of “{concept.name}”, with the share of each "
                f"answer; right answers are between {diagonal.min():.2f} and {diagonal.max():.2f} of a row.",
                caption="Each row adds up to 1; an empty cell is 0. On the diagonal the answer is right.",
                data=rows[["at", "kind", "value", "n"]].reset_index(drop=True),
            ),
        )
