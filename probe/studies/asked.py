"""Which questions a study asks: one list for one network and many, in the order in which the page tells them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import ProbeError, unknown
from ..evidence.claims import Control
from ..questions.question import Question
from ..questions.states import best_unit, network_card, reading
from ..subjects.subject import Subject

if TYPE_CHECKING:
    from .study import Study

#: Stands among the names of questions for all that a study asks which chooses none.
USUAL = "usual"
#: The topics of a study's page, each with the modules of `probe.questions` whose `question` is asked of it, in the
#: order of the page; before those of the first come two questions for each concept.
WHERE, METHOD = "where it is", "how it was measured"
TOPICS: dict[str, tuple[str, ...]] = {
    WHERE: ("states.single_units", "states.linear_readout", "states.one_sequence", "states.gate_activity"),
    "what the answer uses": (
        "interventions.erasure",
        "interventions.interchange",
        "interventions.single_answers",
        "interventions.directions",
        "interventions.class_means",
        "interventions.unit_ablation",
        "interventions.unit_shares",
        "interventions.steering",
        "interventions.gate_shares",
        "interventions.routes",
    ),
    "what inputs do, and how long it lasts": (
        "answers.bit_effects",
        "answers.memory",
        "answers.inputs",
        "answers.other_lengths",
        "answers.programs",
    ),
    "how the states lie": (
        "states.state_space",
        "states.dynamics",
        "states.quantised_states",
        "states.noise_margin",
        "states.reduced_models",
    ),
    METHOD: ("answers.answers", "states.network_card"),
}
#: What the first screen of a page is made of, by how a question's name begins. It is measured before all else.
FIRST = ("best-unit", "reading", "bit-effects", "erasure")
#: What compares networks that were trained alike, and what is asked of one network instead, or shows it.
OF_MANY = ("linear-readout", "single-units")
OF_ONE = ("one-sequence", "state-space")


def every_question(subject: Subject) -> tuple[Question, ...]:
    """Return all questions about networks of the same task, in the order of the page."""
    found = [one.question(subject, name) for name in subject.concepts for one in (best_unit, reading)]
    asked = [dataclasses.replace(one, topic=WHERE) for one in found]
    for topic, modules in TOPICS.items():
        every = (import_module(f"probe.questions.{name}").question(subject) for name in modules)
        asked += [dataclasses.replace(one, topic=topic) for one in every]
    return tuple(asked)


def chosen(study: Study, first: Subject, single: bool, roles: Collection[str]) -> list[Question]:
    """Return the questions that a study asks, each name once.

    Each has a question for each of its concepts. One network has a card and is shown; many have what compares
    networks instead. Which question is asked of whom follows from its needs alone.
    """
    asked = (USUAL,) if study.questions is None else study.questions
    card = dataclasses.replace(network_card.question(first), topic=METHOD)
    own = all(isinstance(one, Question) for one in asked)
    known = {} if own else {question.name: question for question in every_question(first)}
    others = OF_MANY if single else (*OF_ONE, card.name)
    usual = [question for name, question in known.items() if name not in others]
    found: list[Question] = []
    for one in asked:
        if isinstance(one, Question):
            found.append(one)
        elif one == USUAL:
            found += usual
        elif one in known:
            found.append(known[one])
        else:
            raise ProbeError(unknown("question", one, [*known, USUAL]))
    if not found:
        raise ProbeError(
            "questions=[] asks nothing of the networks; name questions, such as 'noise-margin', or "
            "leave it out for all whose needs they meet."
        )
    if single:
        found = [one for one in found if one.name != card.name] + [card]
    named = sorted({one.name: one for one in found}.values(), key=lambda one: not on_first_screen(one))
    return [_with_controls(question, roles, single) for question in named]


def on_first_screen(question: Question) -> bool:
    """Return whether the first screen of a page is made of a question."""
    return bool(question.topic) and question.name.startswith(FIRST)


def _with_controls(question: Question, roles: Collection[str], single: bool) -> Question:
    """Return a question whose rules ask for random weights too beside one network's own initialisation, or alone."""
    own, drawn = "own initialisation", "random weights"
    if own in roles and not (single and drawn in roles):
        return question

    def asked(one: Control) -> Iterator[Control]:
        if one.role != own or own in roles:
            yield one
        if one.role == own:
            yield dataclasses.replace(one, role=drawn)

    rules = (
        dataclasses.replace(rule, controls=tuple(every for one in rule.controls for every in asked(one)))
        for rule in question.rules
    )
    return dataclasses.replace(question, rules=tuple(rules))
