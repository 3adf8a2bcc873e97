"""Decides whether two runs are the same study: network, inputs, concepts, readout, programs, version."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import ProbeError
from ..evidence.measurements import FITTED_HEADS
from ..methods.abstraction.programs import as_tuples
from ..questions.question import Question
from ..subjects import random_weights
from ..subjects.computed.controls import is_same, mean_size
from ..subjects.computed.network_states import outputs
from ..subjects.functions import answers_of, calling
from ..subjects.readouts import copied
from ..subjects.subject import Subject, per_subject
from .digest import digest, is_plain

#: What the version is called beside the digests, and the digest of all networks where there are many.
VERSION, NETWORKS = "version of rnn-probe", "networks"
INITIAL = "own initialisation"
#: Networks whose states differ in mean size by a larger part are not the same.
NEAR = 1e-4
#: Functions of the study's own are tried on so many examples.
_TRIED = 16
LIBRARIES = ("rnn-probe", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")
#: Programs are compared on sequences of so many steps in all, networks on as many as so many products allow.
_STEPS, _PRODUCTS = 50_000, 10**9


def parts(subject: Subject, title: str) -> dict[str, str]:
    """Return a digest of each part of a study, by its name in messages.

    Finished answers are reused if all digests and the version are the same. The versions of other libraries are only
    noted. Functions are compared by their code, and by what they return: programs on all sequences of the study, or
    on a random part where these have more than 50,000 steps. A network is compared by its weights, and by its states
    and its output on such sequences.
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
    """Return by name what measurements of each network are tied to: the network, and all that it shares with others.

    Args:
        subjects: the networks of a study.
        known: the version of the study's functions, which then counts in place of their code: the digests are the
            same on every processor and for every Python. None where each function counts by its code.
    """
    first = subjects[0]
    if known is None:
        every = shared(first)
        return {name: digest(every, first.seed, own) for name, own in by_network(subjects).items()}
    values = [(name, one.values) for name, one in first.concepts.items()]
    every = digest(known, first.x.numpy(), first.lengths, values, first.seed)
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
    return {
        "weights": digest(subject.model.state_dict()),
        "outputs": digest(_outputs(subject)),
        "layers": digest([layer.name for layer in subject.layers]),
        "readout": digest(*_readout(subject)),
    }


@per_subject
def shared(subject: Subject) -> dict[str, str]:
    """Return the digests of what all networks of a study share."""
    return {
        "inputs": digest(subject.x.numpy(), subject.lengths, *subject.symbols.items(), *_valid(subject)),
        "concepts": digest(*_concepts(subject)),
        "programs": digest(*_programs(subject)),
        "fixed_inputs": digest(*_fixed(subject)),
        "tolerance": digest(subject.tolerance),
        VERSION: __version__,
    }


def check_different(subjects: Sequence[Subject]) -> None:
    """Raise where two networks are the same, up to order and signs of their units; several may begin alike.

    Raises:
        ProbeError: two are.
    """
    sizes = [mean_size(one) for one in subjects]
    for place, one in enumerate(subjects):
        for met, size in zip(subjects[:place], sizes, strict=False):
            # Equal states are equally large: most pairs need no further look.
            if abs(size - sizes[place]) > NEAR * (1 + size) or met.network.name == one.network.name:
                continue
            roles = {met.network.role, one.network.role}
            if roles <= {INITIAL, *FITTED_HEADS} or not is_same(met, one):
                continue
            names = f"{met.network.name!r} and {one.network.name!r}"
            how = "they have equal states, with their units in some order and with some signs"
            if len(roles) == 1:
                raise ProbeError(
                    f"The {one.network.role} networks {names} are the same: {how}. Each would count as a training "
                    "of its own; give each network once."
                )
            raise ProbeError(
                f"The networks {names} ({met.network.role} and {one.network.role}) are the same: {how}. A control "
                "that is the network itself shows nothing; give another one, such as the weights from before "
                "training, or leave it out."
            )


def _drawn(subject: Subject, steps: int) -> np.ndarray:
    """Return all sequences, or a random part of so many steps in all."""
    rows, most = len(subject.x), max(_TRIED, steps // subject.x.shape[1])
    return np.arange(rows) if rows <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _outputs(subject: Subject) -> list[Any]:
    """Return a network's output and states, to six decimals."""
    size = sum(parameter.numel() for parameter in subject.model.parameters())
    rows = _drawn(subject, min(_STEPS, _PRODUCTS // max(size, 1)))
    x, lengths = subject.x[rows], subject.lengths[rows]
    return _rounded(outputs(subject.model, x, lengths, subject.layers, tolerance=subject.tolerance))


def _rounded(value: Any) -> Any:
    """Return the tensors in a value to six decimals."""
    if isinstance(value, Tensor):
        return np.round(value.detach().cpu().double().numpy(), 6) + 0.0  # no minus zero
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return [_rounded(one) for one in inside]


def _concepts(subject: Subject) -> list[Any]:
    values: list[Any] = []
    for name, concept in subject.concepts.items():
        values += [name, concept.kind, concept.description, concept.values, concept.categories]
        values.append(concept.function)
    return values


def _readout(subject: Subject) -> list[Any]:
    readout, head, read = subject.readout, subject.head, subject.read
    if readout is None:
        return []
    given = [readout.concept, readout.output, readout.function, readout.combine]
    given += [readout.layer, readout.interchange_step, readout.steps]
    if head is None or read is None:
        return given
    tried = torch.randn(
        _TRIED, read.size(read.output), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    with torch.no_grad(), calling("The readout's function", "It must take float64."):
        scores = copied(head)(tried)
    combine: Any = readout.combine
    if callable(combine):
        values = np.resize(subject.answered.levels, 64)
        with calling("The function combine", "It is called with three arrays, and must return one."):
            combine = np.asarray(combine(values, np.roll(values, 1), np.roll(values, 2)))
    return [*given, head, head.values, read.name, _rounded(scores), combine]


def _valid(subject: Subject) -> list[Any]:
    """Return what `valid` says of spliced sequences: of each sequence with the next one, cut in the middle."""
    if subject.allowed is None:
        return []
    x, lengths = subject.x.double().numpy(), subject.lengths
    rows = range(min(len(x), 4 * _TRIED))
    spliced = [
        np.concatenate([x[row - 1, : lengths[row - 1] // 2], x[row, lengths[row] // 2 : lengths[row]]])
        for row in rows
    ]
    return [subject.allowed, *(subject.allows(one) for one in spliced)]


def _fixed(subject: Subject) -> list[Any]:
    given = subject.fixed_inputs
    if isinstance(given, Mapping):
        return [*given, np.asarray([np.atleast_1d(value) for value in given.values()])]
    return [None if given is None else np.asarray(given)]


def _programs(subject: Subject) -> list[Any]:
    rows = _drawn(subject, _STEPS)
    sequences = [as_tuples(subject.x[row : row + 1, : subject.lengths[row]])[0] for row in rows]
    told = subject.programs.items()
    return [one for name, program in told for one in (name, program, answers_of(name, program, sequences))]
