"""What a question answers of networks that stand beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from probe import Finding
from probe.evidence import Rule
from probe.questions import Question
from probe.studies.answer import not_asked, of_one
from probe.studies.measure import measured
from probe.subjects.subject import Subject


def answer(question: Question, subjects: Sequence[Subject], rules: Sequence[Rule] = ()) -> Finding:
    """Return what a question finds of one network and its controls; without measurements where it cannot be asked."""
    table, reason = measured(question, subjects)
    return not_asked(question, reason) if table is None else of_one(question, subjects, table, rules)
