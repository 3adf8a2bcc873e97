"""Answers a question: measures it, judges its rules, and says and draws what a page needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from ..errors import ProbeError, several
from ..evidence.claims import Claim, Rule, judge, true_of
from ..evidence.findings import DataFigure, Finding
from ..evidence.measurements import tabulate
from ..plots.study_figures import drawing, drawn, medians_in_words
from ..questions import needs
from ..questions.question import Answered, Question, QuestionError, Told
from ..subjects.subject import Subject

#: The notes that say why a question was not asked, and how it was measured.
MISSING, SETUP = "missing", "setup"
UNDECIDED = "undecided"
NO_RULE = "No rule judges this; it describes the networks."


def answer(question: Question, subjects: Sequence[Subject], rules: Sequence[Rule] = ()) -> Finding:
    """Return what a question finds of one network and its controls; without measurements where it cannot be asked.

    Args:
        question: the question.
        subjects: the network, then its controls.
        rules: further rules that are judged.

    Raises:
        ProbeError: a measure of the study's own returns no table, or draws no picture.
    """
    table, reason = measured(question, subjects)
    if table is None:
        return not_asked(question, f"Not asked: {reason.rstrip('.')}.")
    return finding_of(question, subjects, table, rules)


def finding_of(
    question: Question, subjects: Sequence[Subject], table: pd.DataFrame, rules: Sequence[Rule] = ()
) -> Finding:
    """Return what measurements come to: claims, sentences and pictures, which a study makes anew in each run.

    Args:
        question: the question.
        subjects: the network, then its controls.
        table: what was measured of them.
        rules: further rules that are judged.

    Raises:
        ProbeError: the question draws no picture.
    """
    claims = judged(table, (*question.rules, *rules))
    told = _told(question, Answered(question.name, table, claims, tuple(subjects)))
    return Finding(
        question.name, question.title, table, claims, tuple(told.draw() if told.draw else ()), notes=told.notes
    )


def measured(question: Question, subjects: Sequence[Subject]) -> tuple[pd.DataFrame | None, str]:
    """Return the measurements of a network and its controls, or None and the reason why there are none.

    Args:
        question: the question.
        subjects: the network, then its controls; of a question about several networks, all of them.

    Raises:
        ProbeError: the code of the question fails.
    """
    trained = sum(one.network.role == "trained" for one in subjects)
    if question.together and trained < 2:
        return None, f"it compares trained networks with each other, and the study has {trained}"
    reason = question.why_not(subjects[0])
    if reason is not None:
        return None, reason
    try:
        table = question.ask(subjects)
    except QuestionError:
        raise
    except ProbeError as error:
        return None, str(error)
    judged_rows = table["metric"].isin([rule.metric for rule in question.rules])
    undefined = table[judged_rows & table["value"].isna()]
    lacking = undefined[undefined["role"] == "trained"]["metric"].unique()
    if len(lacking):
        return None, f"its {lacking[0].replace('_', ' ')} is undefined, as a share is where the whole of it is 0"
    return table.drop(index=undefined.index), ""


def not_asked(question: Question, why: str) -> Finding:
    """Return the finding of a question that was asked of no network.

    Args:
        question: the question.
        why: the sentence on the reason.
    """
    return Finding(question.name, question.title, tabulate([]), notes={"answer": why, MISSING: why})


def _told(question: Question, answered: Answered) -> Told:
    """Return what a page of one network says and shows, in the question's own words where it has some."""
    if question.tell is not None:
        told = question.tell(answered)
        notes = {**told.notes, **_setup(question, answered.subject, told.notes.get(SETUP, ""))}
        return Told(notes, told.draw or partial(figures, question, answered.table))
    notes = {"answer": in_words(answered.table, answered.claims, unjudged(question, answered.table))} | setup(
        question, answered
    )
    return Told(notes, partial(figures, question, answered.table))


def setup(question: Question, answered: Answered) -> dict[str, str]:
    """Return the note on how a network was measured; empty where the question says nothing of it."""
    if question.tell is not None:
        said = question.tell(answered).notes.get(SETUP, "")
    else:
        said = question.setup(answered.subject) if question.setup is not None else ""
    return _setup(question, answered.subject, said)


def _setup(question: Question, subject: Subject, said: str) -> dict[str, str]:
    """Return the note, which begins with the answers that the question leaves out where there are some."""
    if needs.of_last(question.needs) and needs.several_steps(subject) is None:
        answers = f"The readout answers {subject.asked.when}."
        said = f"{answers} Here only the answer after each sequence's last step is judged. {said}".rstrip()
    return {SETUP: said} if said else {}


def figures(question: Question, table: pd.DataFrame) -> tuple[DataFigure, ...]:
    """Return a question's picture of a table; the words beside it say the medians that the rules are about.

    Where nothing that its rules judge was measured, there is none.

    Raises:
        ProbeError: the question draws something else.
    """
    if question.draw is None or table.empty:
        return ()
    rows = table.loc[sorted({row for rule in question.rules for row in _of_rule(table, rule).index})]
    rows = rows if question.rules else table
    if rows.empty:
        return ()
    with drawing():
        made = question.draw(table)
        ready = made if isinstance(made, (list, tuple)) else [made]
        if all(isinstance(one, DataFigure) for one in ready):
            return tuple(ready)
        picture = made.figure if isinstance(made, Axes) else made
        if not isinstance(picture, Picture):
            raise ProbeError(
                f"The question {question.name!r} draws a {type(made).__name__}; return Axes or a Figure."
            )
        return (
            drawn(
                picture,
                name=question.name,
                title=question.title,
                alt=medians_in_words(rows),
                caption="What was measured, in the colours of the networks' roles.",
                data=table.reset_index(drop=True),
            ),
        )


def judged(table: pd.DataFrame, rules: Sequence[Rule], family: int | None = None) -> tuple[Claim, ...]:
    """Judge those rules whose metric a table has.

    Args:
        table: the measurements.
        rules: the rules.
        family: how many rules are decided together; None for those that are judged here.
    """
    found = [rule for rule in rules if decides(table, rule)]
    return judge(table, found, family=family) if found else ()


def too_few(claim: Claim) -> bool:
    """Return whether a claim has fewer networks than a verdict about the recipe needs."""
    return not claim.rule.check and claim.n < claim.rule.needs


def true_in(table: pd.DataFrame, claim: Claim, what: str = "") -> str:
    """Return in how many networks a claim is true, each taken alone, and in how many more than in its controls.

    Args:
        table: the measurements.
        claim: the claim.
        what: a word after the numbers, such as ` networks`.
    """
    beyond = sum(true_of(table, claim.rule).values())
    also = f", beyond the rule's controls in {beyond}" if beyond < claim.holds_in else ""
    return f"in {claim.holds_in} of {claim.n}{what}{also}"


def decides(table: pd.DataFrame, rule: Rule) -> bool:
    """Return whether a table has a rule's metric on a trained network."""
    return _judging(table, rule) > 0


def _judging(table: pd.DataFrame, rule: Rule) -> int:
    """Return on how many trained networks a table has a rule's metric."""
    rows = _of_rule(table, rule)
    return rows[rows["role"] == "trained"]["network"].nunique()


def _of_rule(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows of a table that a rule is about."""
    rows = table[table["metric"] == rule.metric]
    return rows[(rows["signal"] == rule.signal) | (rows["kind"] == rule.signal)] if rule.signal else rows


def in_words(table: pd.DataFrame, claims: Sequence[Claim], first: str = "") -> str:
    """Return what rules come to, a sentence each: the statement with its verdict, or with an undecided value.

    Of fewer networks than a verdict needs, it is in how many of them the statement is true.

    Args:
        table: its measurements.
        claims: the judged rules.
        first: what stands before them; of many networks all that is said beside claims.
    """
    sentences = [first] if first else []
    for claim in claims:
        verdict: str = claim.verdict
        if too_few(claim) and claim.n > 1:
            verdict = true_in(table, claim, " networks")
        elif verdict == UNDECIDED:
            median = f"{claim.value:.2f}" if claim.n == 1 else f"{verdict}, median {claim.value:.2f}"
            verdict = f"{median}, where the rule asks for {claim.rule.established_if}"
        sentences.append(f"{claim.rule.statement.rstrip('.')}: {verdict}.")
    return " ".join(sentences) or NO_RULE


def unjudged(question: Question, table: pd.DataFrame) -> str:
    """Return the sentences on the trained networks that a question's rules cannot judge.

    Args:
        question: the question.
        table: its measurements.
    """
    trained = table[table["role"] == "trained"]["network"].nunique()
    return " ".join(
        f"Rule {rule.key} does not judge {several(lacking, 'network')}, as no {rule.metric.replace('_', ' ')} is "
        "defined there."
        for rule in (() if question.together else question.rules)
        if (lacking := trained - _judging(table, rule))
    )
