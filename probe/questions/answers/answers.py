"""Are the network's answers right, and which program gives the same ones?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.claims import Control
from ...evidence.findings import DataFigure
from ...evidence.measurements import one, only
from ...evidence.words import listed, said
from ...methods.abstraction.automata import automaton_of
from ...plots.legends import figure_legend
from ...plots.networks import draw_dots
from ...plots.study_figures import drawing, drawn, medians_in_words, shortened
from ...plots.style import new_figure
from ...subjects.computed.alphabet import affordable, around
from ...subjects.computed.answers import answered_rows, takes_levels
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, INITIAL, rule
from . import accuracy, programs
from .wrong import mostly_wrong

#: So many programs are drawn; the table has all.
SHOWN = 6


def question(subject: Subject) -> Question:
    """Return the question whether answers are right, and which of the study's programs gives the same ones.

    Args:
        subject: one of the networks.
    """
    return Question(
        "answers",
        "Are the answers right?",
        measure,
        (needs.right_answers,),
        (*ANSWERING, INITIAL),
        (
            rule(
                "right-answers",
                f"The answers to “{subject.concept.name}” are right.",
                "accuracy",
                definition="Share of right answers; the null always gives the most frequent one.",
                source="Hupkes et al. 2018",
                at_least=0.95,
                controls=(Control("null", 0.05),),
            ),
        ),
        draw,
        tell,
        version=3,
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Return how often answers are right, and how often each program gives the same ones.

    The metrics are those of `accuracy.measure` and of `programs.measure_own`; where the inputs have a small alphabet,
    and concept and programs can say something of other lengths, those of `programs.measure` too.

    Args:
        subjects: what is measured: networks of one study.

    Raises:
        ProbeError: a program fails, or returns no answer.
    """
    every = as_subjects(subjects)
    tables = [accuracy.measure(every), programs.measure_own(every)]
    if every and programs.why_not(every[0]) is None:
        tables.append(programs.measure(every, most=affordable(every[0], around(every[0]))))
    return pd.concat(tables, ignore_index=True)


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how often each network is right, beside its controls; the line is always giving the most frequent answer.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.
    """
    metric = "accuracy" if (frame["metric"] == "accuracy").any() else "r_squared"
    null = only(frame, metric=metric, role="null")["value"]
    bound = {metric: float(null.median())} if len(null) else None
    ax = draw_dots(frame, {metric: "answers" if metric == "accuracy" else "numbers"}, thresholds=bound, ax=ax)
    ax.set_ylim(None, 1.05)
    ax.set_ylabel("share of right answers" if metric == "accuracy" else "R²")
    return ax


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    subject, name = answered.subject, answered.subject.network.name
    table = only(answered.table, network=name)
    lead = " ".join(filter(None, (_right(answered, table), _fitted(answered), _automaton(subject, table))))
    by_length = table[(table["metric"] == "agreement") & table["at"].notna()]
    notes = {"verdict": _verdict(table), "answer": lead, "programs": _programs(subject, table)}
    return Told(notes, partial(_figures, answered.name, subject, by_length) if len(by_length) else tuple)


def _verdict(table: pd.DataFrame) -> str:
    """Return in a few words how often the network is right, or how near its numbers are."""
    first = table.iloc[0]
    if first["metric"] == "r_squared":
        return f"The network's answers have R² {said(first['value'])}."
    return f"The network is right on {first['value']:.1%} of the sequences."


def _right(answered: Answered, table: pd.DataFrame) -> str:
    first = table.iloc[0]
    asked, concept = several(int(first["n"]), "sequence"), f"“{answered.subject.answered.name}”"
    if first["metric"] == "r_squared":
        return f"The network's answers predict {concept} at the last step with R² {said(first['value'])} ({asked})."
    frequent = one(answered.table, metric="accuracy", role="null")
    interval = ", which are all of their length"
    if np.isfinite(first["low"]):
        interval = f" (95 % interval {first['low']:.1%} to {first['high']:.1%})"
    warning = mostly_wrong(round(first["value"] * first["n"]), int(first["n"]), frequent)
    text = (
        f"The network answers {concept} right on {first['value']:.1%} of {asked}{interval}; always giving the most "
        f"frequent answer is right on {frequent:.1%}."
    )
    return f"{warning} {text}".strip()


def _fitted(answered: Answered) -> str:
    share = one(answered.table, metric="accuracy", role="fitted head")
    return f"A network with random weights and a fitted head is right on {share:.1%}." if np.isfinite(share) else ""


def _automaton(subject: Subject, table: pd.DataFrame) -> str:
    """Return the sentence on the smallest automaton, where all sequences of a length were asked."""
    states = one(table, metric="automaton_states")
    rows = answered_rows(subject)
    if not np.isfinite(states) or len(rows) < len(subject.x):
        return ""
    ideal = automaton_of(subject.x, subject.answered.values[:, -1])
    needed = "" if ideal is None else f"; the right answers need {ideal.size}"
    has = several(int(states), "state")
    return f"The smallest automaton that counts its steps and gives its answers has {has}{needed}."


def _programs(subject: Subject, table: pd.DataFrame) -> str:
    own = only(table, metric="agreement")
    shares = own[own["at"].isna()].set_index("kind")["value"]
    if shares.empty:
        return ""
    ties = [f"“{name}”" for name in shares[shares == shares.max()].index]
    which = f"{listed(ties)} {'agree' if len(ties) > 1 else 'agrees'} with the network most often"
    near = "" if takes_levels(subject) else f", to within {subject.answered.near:g}"
    text = (
        f"Of {several(len(shares), 'rival program')}, {which}: on {shares.max():.1%} of the answers{near}. The same "
        "answers on these sequences do not make it the same program. Sequences on which the programs differ can "
        "decide between them."
    )
    unseen = only(table, metric="unseen_agreement").set_index("kind")["value"]
    if unseen.empty:
        return f"{text} Other lengths were not asked: {programs.why_not(subject)}."
    best = listed([f"“{name}”" for name in unseen[unseen == unseen.max()].index])
    return f"{text} At other lengths the best is {best}, with {unseen.max():.1%} of the answers."


def _figures(name: str, subject: Subject, rows: pd.DataFrame) -> tuple[DataFigure]:
    best = rows.groupby("kind")["value"].mean().nlargest(SHOWN).index
    rows = rows[rows["kind"].isin(best)].assign(kind=[shortened(kind, 24) for kind in rows["kind"] if kind in best])
    with drawing():
        figure, axes = new_figure(height=3.4)
        ax = programs.draw(rows, reference=subject.x.shape[1], bands=False, ax=axes[0, 0])
        handles, labels = ax.get_legend_handles_labels()
        figure_legend(figure, handles, labels, most=3)
        picture = drawn(
            figure,
            name=f"{name}-by-length",
            title="How often the network answers as a program does",
            alt=medians_in_words(rows),
            caption=f"The at most {SHOWN} programs that agree most are drawn. The vertical line is the length of the "
            "study's sequences. If a program says a half, the answers on both sides count as equal.",
            data=rows[["kind", "at", "value", "low", "high"]].reset_index(drop=True),
        )
    return (picture,)
