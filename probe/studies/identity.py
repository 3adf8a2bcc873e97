"""Decides whether two runs are the same study, by digests: of networks, inputs, concepts, readout, programs, version.

A digest is of arrays, texts and numbers, and of functions by their code and all that it refers to.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import os
import pickle
import platform
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from .. import __version__
from ..errors import ProbeError
from ..evidence.measurements import FITTED_HEADS, LATER
from ..methods.abstraction.programs import as_tuples
from ..questions.question import Question
from ..recurrent import random_weights
from ..subjects.budget import Budget
from ..subjects.controls import is_same, perhaps_same
from ..subjects.functions import answers_of, of_package
from ..subjects.networks.called import calls_of
from ..subjects.subject import Subject, per_subject

#: What the version is called beside the digests, and the digest of all networks where there are many.
VERSION, NETWORKS = "version of rnn-probe", "networks"
INITIAL = "own initialisation"
LIBRARIES = ("rnn-probe", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
#: Programs are compared on so many steps.
_STEPS = 50_000
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
#: What is held by what only calls a function.
_HELD = ("func", "args", "keywords", "__func__", "__self__", "fget", "fset")
#: What counts of a class, beside what can be called.
_MEMBERS = (*_PLAIN, tuple, list, set, frozenset, dict, np.ndarray, Tensor, property, staticmethod, classmethod)


def of_study(subjects: Sequence[Subject], title: str) -> dict[str, str]:
    """Return a digest of each part of a study, by its name in messages.

    A network counts by its weights, its modules' code and their numbers, a function by its code and all that it
    refers to, a program also by its answers.
    """
    first = subjects[0]
    return shared(first) | {"title and seed": digest(title, first.seed), NETWORKS: digest(by_network(subjects))}


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
    every = digest(known, first.x.numpy(), first.lengths, values, first.seed, *_budget(first), *_groups(first))
    return {
        one.network.name: f"{one.network.known_by or digest(one.model.state_dict())}+{every[:16]}" for one in subjects
    }


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def of_question(question: Question, *, code: bool = True) -> str:
    """Return what ties measurements to a question; without code the same on every machine."""
    # Roles that came later are in no digest: what was measured before they came still counts.
    roles = tuple(role for role in question.roles if role not in LATER)
    asked = (roles, question.copies, question.together, random_weights.VERSION)
    if code:
        measured = (question.version, question.settings, question.measure, question.needs)
        return digest(question.name, *measured, *asked)
    settings = {name: given for name, given in question.settings.items() if is_plain(given)}
    return f"{question.version} {digest(settings, *asked)[:16]}"


@per_subject
def own(subject: Subject) -> dict[str, str]:
    """Return the digests of what is a network's own."""
    read = subject.read and subject.read.name
    return {
        "weights": digest(subject.model, *calls_of(subject.model)),
        "layers": digest([layer.name for layer in subject.layers]),
        "readout": digest(subject.readout, subject.head, read),
    }


def _budget(subject: Subject) -> list[str]:
    """Return a budget that is another than usual, so that measurements by the usual one keep their digests."""
    return [] if subject.budget == Budget() else [repr(subject.budget)]


def _groups(subject: Subject) -> list[np.ndarray]:
    """Return the groups of the sequences, so that measurements without groups keep their digests."""
    return [] if subject.groups is None else [subject.groups]


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
        "inputs": digest(
            subject.x.numpy(), subject.lengths, *subject.symbols.items(), subject.allowed, *_groups(subject)
        ),
        "concepts": digest(concepts),
        "programs": digest(_programs(subject)),
        "fixed_inputs": digest(fixed),
        "tolerance": digest(subject.tolerance, *_budget(subject)),
        VERSION: __version__,
    }


def _programs(subject: Subject) -> list[Any]:
    """Return the programs, each with its answers to the first sequences."""
    rows = range(len(subject.x))[: max(1, _STEPS // subject.x.shape[1])]
    sequences = [as_tuples(subject.x[row : row + 1, : subject.lengths[row]])[0] for row in rows]
    return [(name, program, answers_of(name, program, sequences)) for name, program in subject.programs.items()]


def check_different(subjects: Sequence[Subject]) -> None:
    """Raise where two networks are the same, up to order and signs of their units; several may begin alike."""
    for met, one in perhaps_same(subjects):
        both = {met.network.role, one.network.role} <= {INITIAL, *FITTED_HEADS}
        if not both and met.network.name != one.network.name and is_same(met, one):
            raise ProbeError(
                f"The networks {met.network.name!r} and {one.network.name!r} ({met.network.role} and "
                f"{one.network.role}) are the same: they have equal states, with their units in some order and with "
                "some signs. Each trained network counts as a training of its own, and a control that is the network "
                "itself shows nothing. Give each network once, and as a control the weights from before training."
            )


def digest(*values: Any) -> str:
    """Return the SHA-256 of values, the same in every process.

    A function counts by its code, its defaults, and the values of all names in it; one of an installed package by its
    name. A value that can be told in no such way, such as an open file, has another digest each time.
    """
    return _of(values, {})


def is_plain(value: Any) -> bool:
    """Return whether a value is made of numbers, texts and arrays: its digest is the same on every machine."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    return isinstance(value, (*_PLAIN, np.ndarray, Tensor)) or (
        isinstance(value, (tuple, list, set, frozenset)) and all(map(is_plain, value))
    )


def _of(value: Any, met: dict[int, tuple[Any, str]]) -> str:
    """Return the digest of a value, of which parts were met."""
    if isinstance(value, _PLAIN):
        return _sha(type(value).__name__, value if isinstance(value, bytes) else repr(value))
    if id(value) not in met:
        # What is met again meanwhile holds itself. The value is kept, or another could get its id.
        met[id(value)] = value, "itself"
        met[id(value)] = value, _sha(type(value).__name__, *(_of(part, met) for part in _parts(value)))
    return met[id(value)][1]


def _sha(*texts: str | bytes) -> str:
    sha = hashlib.sha256()
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        sha.update(b"%d:" % len(data) + data)
    return sha.hexdigest()


def _parts(value: Any) -> Iterable[Any]:  # noqa: PLR0911 - a case a kind
    """Return what a value is made of."""
    match value:
        case np.ndarray():
            whole = value.tolist() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
            return str(value.dtype), value.shape, whole
        case Tensor():
            plain = value.detach().cpu()
            return str(value.dtype), (plain.double() if plain.is_floating_point() else plain).numpy()
        case nn.Module():
            modules = dict(value.named_modules())
            held = {name: {key: v for key, v in vars(one).items() if key[0] != "_"} for name, one in modules.items()}
            told = {name: {key: v for key, v in own.items() if is_plain(v)} for name, own in held.items()}
            return value.state_dict(), {name: type(one) for name, one in modules.items()}, told
        case Mapping():
            return value.items()
        case set() | frozenset():
            return sorted(value, key=digest)
        case tuple() | list():
            return value
        case types.CodeType():
            return value.co_code, value.co_consts, value.co_names, value.co_varnames, value.co_freevars
        case functools.partial() | types.MethodType() | staticmethod() | classmethod() | property():
            return [getattr(value, name, None) for name in _HELD]
        case types.FunctionType() | type() | types.ModuleType() if _is_installed(value):
            return getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__)
        case types.FunctionType():
            return _of_function(value)
        case type():
            plain = {name: one for name, one in vars(value).items() if isinstance(one, _MEMBERS) and name[:2] != "__"}
            called = {name: one for name, one in vars(value).items() if callable(one)}
            return value.__qualname__, value.__bases__, plain, called
        case types.ModuleType():
            file = Path(value.__file__ or "")
            return value.__name__, file.read_bytes() if file.is_file() else b""
    return _of_other(value)


def _of_function(function: types.FunctionType) -> Iterable[Any]:
    """Return code, defaults, what is closed over, and the global values that the code names, also inside of it."""
    closed, names, codes = [], set(), [function.__code__]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name without a value yet
            closed.append(cell.cell_contents)
    for code in codes:
        names |= {str(one.argval) for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    known = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    return function.__code__, function.__defaults__, function.__kwdefaults__, closed, known


def _of_other(value: Any) -> Iterable[Any]:
    if callable(value) and hasattr(value, "__wrapped__"):
        return (getattr(value, "__wrapped__"),)  # noqa: B009 - of functools.lru_cache
    if hasattr(value, "__dict__") and (dataclasses.is_dataclass(value) or not _is_installed(type(value))):
        return type(value), vars(value)
    with suppress(Exception):
        return type(value), pickle.dumps(value, protocol=5)
    return (os.urandom(16),)


def _is_installed(value: Any) -> bool:
    """Return whether a function, class or module is of Python, of this library or of an installed package."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(name), "__file__", None)
    return name.partition(".")[0] in sys.stdlib_module_names or (file is not None and of_package(file))
