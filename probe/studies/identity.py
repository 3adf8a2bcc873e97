"""Decides whether two runs are the same study: network, inputs, concepts, readout, programs, version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from ..methods.abstraction.programs import as_tuples
from ..recurrent.signals import Signal
from ..subjects.computed.answers import answers_to
from ..subjects.functions import answers_of, calling
from ..subjects.readouts import copied
from ..subjects.subject import Subject

#: What the version is called beside the digests.
VERSION = "version of rnn-probe"
#: Functions are compared by their outputs on so many examples.
_TRIED = 16


def parts(subject: Subject, title: str) -> dict[str, str]:
    """Return a digest of each part of a study, by its name in messages.

    Finished answers are reused if all digests and the version are the same. The versions of other libraries are only
    noted. Functions are compared by their outputs: on the study's sequences if they are called with these, otherwise
    on random inputs.
    """
    digests = {
        "weights": digest(*_state(subject)),
        "inputs": digest(subject.x.numpy(), subject.lengths, *subject.symbols.items(), *_valid(subject)),
        "concepts": digest(*_concepts(subject)),
        "layers": digest([layer.name for layer in subject.layers]),
        "readout": digest(*_readout(subject)),
        "programs": digest(*_programs(subject)),
        "fixed_inputs": digest(None if subject.fixed_inputs is None else np.asarray(subject.fixed_inputs)),
        "title and seed": digest(title, subject.seed),
        VERSION: version("rnn-probe"),
    }
    return digests


def of_study(subjects: Sequence[Subject], title: str) -> dict[str, str]:
    """Return the digests of a study of one network or many: with many, that of the weights is of all of them."""
    first = parts(subjects[0], title)
    if len(subjects) == 1:
        return first
    every = [(one.network.name, one.network.role, one.network.pair, parts(one, title)["weights"]) for one in subjects]
    return first | {"weights": digest(every)}


def digest(*values: Any) -> str:
    """Return the SHA-256 of arrays, texts and numbers."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype != object:
            sha.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        else:
            sha.update(repr(value).encode())
        sha.update(b"\0")
    return sha.hexdigest()


def _state(subject: Subject) -> list[Any]:
    state = subject.model.state_dict()
    return [one for name, tensor in state.items() for one in (name, tensor.detach().cpu().double().numpy())]


def _concepts(subject: Subject) -> list[Any]:
    values: list[Any] = []
    for name, concept in subject.concepts.items():
        values += [name, concept.kind, concept.description, concept.values, concept.categories]
        values.append(concept.function is not None)
    return values


def _readout(subject: Subject) -> list[Any]:
    readout, head, read = subject.readout, subject.head, subject.read
    if readout is not None and readout.output is not None:
        chosen, expected = answers_to(subject, subject.x[:_TRIED], subject.lengths[:_TRIED])
        return [readout.concept, chosen, expected, str(readout.combine)]
    if readout is None or head is None or read is None:
        return []
    tried = torch.randn(
        _TRIED, read.size(Signal.HIDDEN_STATE), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    with torch.no_grad(), calling("The readout's function", "It must take float64."):
        scores = copied(head)(tried)
    combine: Any = readout.combine
    if callable(combine):
        values = np.resize(subject.answered.levels, 64)
        with calling("The function combine", "It is called with three arrays, and must return one."):
            combine = np.asarray(combine(values, np.roll(values, 1), np.roll(values, 2)))
    return [
        readout.concept,
        head.kind,
        head.values.numpy(),
        read.name,
        scores.numpy(),
        combine,
        readout.interchange_step,
        readout.steps,
    ]


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
    return [subject.allows(one) for one in spliced]


def _programs(subject: Subject) -> list[Any]:
    rows = min(len(subject.x), _TRIED)
    sequences = [as_tuples(subject.x[row : row + 1, : subject.lengths[row]])[0] for row in range(rows)]
    return [one for name, program in subject.programs.items() for one in (name, answers_of(name, program, sequences))]
