"""Decides whether two runs are the same study: network, inputs, concepts, readout, programs, version."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from .. import __version__
from ..errors import ProbeError
from ..evidence.measurements import FITTED_HEADS
from ..methods.abstraction.programs import as_tuples
from ..questions.question import Question
from ..subjects.budget import Budget
from ..subjects.controls import is_same
from ..subjects.functions import answers_of
from ..subjects.networks import random_weights
from ..subjects.subject import Subject, per_subject
from .digest import digest, is_plain

#: What the version is called beside the digests, and the digest of all networks where there are many.
VERSION, NETWORKS = "version of rnn-probe", "networks"
INITIAL = "own initialisation"
LIBRARIES = ("rnn-probe", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")
#: Programs are compared on sequences of so many steps in all.
_STEPS = 50_000


def parts(subject: Subject, title: str) -> dict[str, str]:
    """Return a digest of each part of a study, by its name in messages.

    What was measured is reused if all digests and the version are the same; the versions of other libraries are only
    noted. A network counts by its weights, its modules' code and their numbers, a function by its code and all that
    it refers to, a program also by its answers.
    """
    return shared(subject) | own(subject) | {"title and seed": digest(title, subject.seed)}


def of_study(subjects: Sequence[Subject], title: str) -> dict[str, str]:
    """Return the digests of a study of one network or many: with many, one of all that is each network's own."""
    first = parts(subjects[0], title)
    if len(subjects) == 1:
        return first
    common = {name: first[name] for name in first if name not in own(subjects[0])}
    return common | {NETWORKS: digest(by_network(subjects))}


def by_network(subjects: Sequence[Subject]) -> dict[str, str]:
    """Return the digest of each network by its name."""
    return {one.network.name: digest(one.network.role, one.network.pair, own(one)) for one in subjects}


def tied(subjects: Sequence[Subject], known: int | None) -> dict[str, str]:
    """Return by name what measurements of each network are tied to: it, and all that it shares with others.

    With the version of the study's functions in place of their code the digests are the same on every processor.
    """
    first = subjects[0]
    if known is None:
        every = shared(first)
        return {name: digest(every, first.seed, own) for name, own in by_network(subjects).items()}
    values = [(name, one.values) for name, one in first.concepts.items()]
    every = digest(known, first.x.numpy(), first.lengths, values, first.seed, *_budget(first))
    return {
        one.network.name: f"{one.network.known_by or digest(one.model.state_dict())}+{every[:16]}" for one in subjects
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def of_question(question: Question) -> str:
    """Return the digest of what a question measures."""
    measured = (question.version, question.settings, question.measure, question.needs, question.roles)
    return digest(question.name, *measured, question.copies, question.together, random_weights.VERSION)


def of_version(question: Question) -> str:
    """Return what ties a question's measurements in a study with a version: no code, so alike on every machine."""
    settings = {name: given for name, given in question.settings.items() if is_plain(given)}
    asked = (question.roles, question.copies, question.together, random_weights.VERSION)
    return f"{question.version} {digest(settings, *asked)[:16]}"


@per_subject
def own(subject: Subject) -> dict[str, str]:
    """Return the digests of what is a network's own."""
    readout, head = subject.readout, subject.head
    said: list[Any] = []
    if readout is not None:
        said = [readout.concept, readout.output, readout.function, readout.combine, readout.layer]
        said += [readout.interchange_step, readout.steps]
    if head is not None and subject.read is not None:
        said += [head, head.values, subject.read.name]
    return {
        "weights": digest(subject.model),
        "layers": digest([layer.name for layer in subject.layers]),
        "readout": digest(*said),
    }


def _budget(subject: Subject) -> list[str]:
    """Return a budget that is another than usual, so that measurements by the usual one keep their digests."""
    return [] if subject.budget == Budget() else [repr(subject.budget)]


@per_subject
def shared(subject: Subject) -> dict[str, str]:
    """Return the digests of what all networks of a study share."""
    concepts = [
        (name, one.kind, one.description, one.values, one.categories, one.function)
        for name, one in subject.concepts.items()
    ]
    fixed = subject.fixed_inputs
    fixed = [*fixed.items()] if isinstance(fixed, Mapping) else [None if fixed is None else np.asarray(fixed)]
    return {
        "inputs": digest(subject.x.numpy(), subject.lengths, *subject.symbols.items(), subject.allowed),
        "concepts": digest(concepts),
        "programs": digest(_programs(subject)),
        "fixed_inputs": digest(fixed),
        "tolerance": digest(subject.tolerance, *_budget(subject)),
        VERSION: __version__,
    }


def _programs(subject: Subject) -> list[Any]:
    """Return the programs, each with its answers to all sequences, or to a random part of them."""
    rows, most = len(subject.x), max(1, _STEPS // subject.x.shape[1])
    drawn = range(rows) if rows <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    sequences = [as_tuples(subject.x[row : row + 1, : subject.lengths[row]])[0] for row in drawn]
    return [(name, program, answers_of(name, program, sequences)) for name, program in subject.programs.items()]


def check_different(subjects: Sequence[Subject]) -> None:
    """Raise where two networks are the same, up to order and signs of their units; several may begin alike."""
    for place, one in enumerate(subjects):
        for met in subjects[:place]:
            both = {met.network.role, one.network.role} <= {INITIAL, *FITTED_HEADS}
            if both or met.network.name == one.network.name or not is_same(met, one):
                continue
            raise ProbeError(
                f"The networks {met.network.name!r} and {one.network.name!r} ({met.network.role} and "
                f"{one.network.role}) are the same: they have equal states, with their units in some order and with "
                "some signs. Each trained network counts as a training of its own, and a control that is the network "
                "itself shows nothing. Give each network once, and as a control the weights from before training."
            )
