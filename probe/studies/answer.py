"""Answers a study's questions from what was measured: judges their rules, and says and draws what a page needs."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from ..errors import ProbeError, several
from ..evidence.claims import Claim, Difference, Rule, called, judge, of_rule, true_of
from ..evidence.findings import DataFigure, Finding
from ..evidence.measurements import tabulate
from ..evidence.words import listed
from ..plots.study_figures import drawing, drawn, medians_in_words
from ..questions import needs
from ..questions.question import Answered, Question, Told
from ..questions.told import measured_on
from ..subjects.subject import Subject

if TYPE_CHECKING:
    from .measure import Outcome, Plan
    from .study import Study

#: The notes of a finding: what was found, how it was measured, of whom it was not asked and why, and what is done.
ANSWER, SETUP, MISSING, TEXT = "answer", "setup", "missing", "text"
#: And what heads it on the first screens.
HEADING = "heading"
#: And of a reading its score beside that of the best control.
SCORES = "scores"
NOTES = (ANSWER, SETUP, MISSING, TEXT, HEADING, SCORES)


def answers(study: Study, plan: Plan, outcomes: Sequence[Outcome] = (), *, single: bool = False) -> Iterator[Finding]:
    """Yield the finding of each question: of one network in the question's words, of several judged over them."""
    tables, first = plan.tables(), plan.calls[0].subjects
    rules = [*study.rules, *(rule for question in plan.questions for rule in question.rules)]
    whole = pd.concat(list(tables.values()))
    family = study.family or max(sum(not rule.check and judging(whole, rule) > 0 for rule in rules), 1)
    # Committed studies are judged without running a network.
    ran = first if outcomes else ()
    for question in plan.questions:
        name, table = question.name, tables[question.name]
        reasons = [one.reasons[name] for one in outcomes if name in one.reasons]
        if table.empty:
            why = sorted({one.rstrip(".") for one in reasons} or {"no network of the study is asked"})
            yield not_asked(question, "; ".join(why))
        elif single:
            yield of_one(question, first, table, study.rules)
        else:
            yield of_many(question, table, study.rules, family, reasons=reasons, subjects=ran)


def not_asked(question: Question, why: str) -> Finding:
    """Return the finding of a question that was asked of no network, and why."""
    said = f"Not asked: {why.rstrip('.')}."
    return Finding(question.name, question.title, tabulate([]), notes={ANSWER: said, MISSING: said})


def of_one(
    question: Question, subjects: Sequence[Subject], table: pd.DataFrame, rules: Sequence[Rule] = ()
) -> Finding:
    """Return what was measured of one network and its controls, judged, in the question's own words and pictures."""
    claims = judged(table, (*question.rules, *rules))
    answered = Answered(question.name, table, claims, tuple(subjects))
    told = _told(question, answered)
    notes = {ANSWER: in_words(question, table, claims), TEXT: question.text, **told.notes}
    notes[HEADING] = _headed(question, answered)
    pictures = figures(question, table) if told.draw is None else told.draw()
    return Finding(question.name, question.title, table, claims, tuple(pictures), notes=_some(notes))


def of_many(
    question: Question,
    table: pd.DataFrame,
    rules: Sequence[Rule],
    family: int,
    *,
    reasons: Sequence[str] = (),
    subjects: Sequence[Subject] = (),
) -> Finding:
    """Return what was measured of several networks, judged over them; of the first ones, how it was measured."""
    claims = judged(table, (*question.rules, *rules), family)
    why = "; ".join(sorted({one.rstrip(".") for one in reasons}))
    missing = [f"Not asked of {several(len(reasons), 'network')}: {why}."] if reasons else []
    notes = {ANSWER: in_words(question, table, claims), TEXT: question.text}
    rows = table[table["network"].isin([one.network.name for one in subjects])]
    if len(rows) and (said := _told(question, Answered(question.name, rows, (), tuple(subjects))).notes[SETUP]):
        notes[SETUP] = f"Of {subjects[0].network.name}: {said}"
    notes[MISSING] = " ".join([*missing, *_unjudged(question, table)])
    notes[HEADING] = _headed(question, Answered(question.name, table, claims, tuple(subjects)))
    return Finding(question.name, question.title, table, claims, figures(question, table), notes=_some(notes))


def _headed(question: Question, answered: Answered) -> str:
    return "" if question.heading is None else question.heading(answered)


def _some(notes: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in notes.items() if text}


def _told(question: Question, answered: Answered) -> Told:
    """Return what a question says of one network; how it was measured begins with the answers that it leaves out."""
    subject = answered.subject
    told = Told({}) if question.tell is None else question.tell(answered)
    said = told.notes.get(SETUP) or measured_on(subject, question.needs)
    last = needs.rest_on(question.needs, needs.machine, needs.right_answers, needs.other_lengths)
    if last and needs.several_steps(subject) is None:
        answers = f"The readout answers {subject.asked.when}."
        said = f"{answers} Here only the answer after each sequence's last step is judged. {said}".rstrip()
    return Told({**told.notes, SETUP: said}, told.draw)


def figures(question: Question, table: pd.DataFrame) -> tuple[DataFigure, ...]:
    """Return a question's picture of a table; the words beside it say the medians that the rules are about.

    Where nothing that its rules judge was measured, there is none.
    """
    rows = table.loc[sorted({row for rule in question.rules for row in of_rule(table, rule).index})]
    rows = rows if question.rules else table
    if question.draw is None or rows.empty:
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
        about = {"name": question.name, "title": question.title, "alt": f"{question.title} {medians_in_words(rows)}"}
        return (drawn(picture, **about, caption=question.caption, data=table.reset_index(drop=True)),)


def judged(table: pd.DataFrame, rules: Sequence[Rule], family: int | None = None) -> tuple[Claim, ...]:
    """Judge those rules whose metric a table has."""
    found = [rule for rule in rules if judging(table, rule)]
    return judge(table, found, family=family) if found else ()


def judging(table: pd.DataFrame, rule: Rule) -> int:
    """Return on how many trained networks a table has a rule's metric."""
    rows = of_rule(table, rule)
    return rows[rows["role"] == "trained"]["network"].nunique()


def _unjudged(question: Question, table: pd.DataFrame) -> list[str]:
    """Return the sentences on the trained networks that a question's rules cannot judge."""
    trained = table[table["role"] == "trained"]["network"].nunique()
    return [
        f"Rule {rule.key} does not judge {several(lacks, 'network')}, as no {rule.metric.replace('_', ' ')} is "
        "defined there."
        for rule in (() if question.together else question.rules)
        if (lacks := trained - judging(table, rule))
    ]


def in_words(question: Question, table: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """Return what was found in a sentence: what its first rule comes to, or the medians of its first metric."""
    if claims:
        number, verdict = outcome(table, claims[0])
        return f"{claims[0].rule.on_page}: {number}{verdict and f', {verdict}'}."
    first = table[table["metric"] == table["metric"].iloc[0]]
    return f"{question.title.rstrip('.')} {medians_in_words(first)}"


def true_in(table: pd.DataFrame, claim: Claim) -> str:
    """Return in how many networks a claim is true, each taken alone, and in how many more than in its controls."""
    beyond = sum(true_of(table, claim.rule).values())
    also = f", beyond the rule's controls in {beyond}" if beyond < claim.holds_in else ""
    return f"in {claim.holds_in} of {claim.n}{also}"


def controls_in_words(table: pd.DataFrame, claim: Claim) -> str:
    """Return each control's median; where a rule names none, that of the own initialisations, or that it has none."""
    medians = {gap.role: gap.control for gap in claim.differences}
    if not medians and claim.own_initialisation is not None:
        medians = {"own initialisation": claim.own_initialisation}
    if not medians and not claim.rule.controls:
        return "no control"
    return "; ".join(f"{called(table, role)} {value:.3g}" for role, value in medians.items())


def outcome(table: pd.DataFrame, claim: Claim) -> tuple[str, str]:
    """Return a claim's number with its bound and controls, and its verdict, empty where too few networks have one."""
    beside = filter(None, (f"{claim.rule.established_if}", controls_in_words(table, claim)))
    number = f"{claim.value:.3g} ({'; '.join(beside)})"
    if not claim.too_few:
        return number, claim.verdict
    if claim.n == 1:
        return f"{number}, {allowed(table, claim)}", ""
    median = f", median {number}" if claim.rule.statistic == "median" else ""
    return true_in(table, claim) + median, ""


def allowed(table: pd.DataFrame, claim: Claim) -> str:
    """Return what the controls allow to say of one network: whether the statement holds, and in them as well."""
    rule = claim.rule
    if claim.value not in rule.established_if:
        return "not true of this network"
    if not rule.controls:
        return "true of this network; the rule names no control"
    near = [gap for gap in claim.differences if gap.value <= gap.margin]
    if alike := [_control(table, gap) for gap in near if gap.control in rule.established_if]:
        return f"true of this network, and as true of {listed(alike)}"
    if near:
        close = [f"{called(table, gap.role)} is within {gap.margin:.3g} of it" for gap in near]
        return f"true of this network; {listed(close)}, and not in the bound"
    there = [gap.role for gap in claim.differences]
    if missing := [control.role for control in rule.controls if control.role not in there]:
        return f"true of this network; not measured of {listed(missing)}"
    names = [_control(table, gap) for gap in claim.differences]
    one = [" (one network)" * (name == gap.role) for name, gap in zip(names, claim.differences, strict=True)]
    return f"true of this network, more than of {listed([*map(operator.add, names, one)])}"


def _control(table: pd.DataFrame, gap: Difference) -> str:
    return "the rule's null" if gap.role == "null" else called(table, gap.role)
