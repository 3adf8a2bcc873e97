"""Decides whether two runs are the same study: network, inputs, concepts, readout, programs, version."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from ...methods.abstraction.programs import as_tuples
from .functions import answers_of, calling
from .prepared import Prepared

#: What the version is called beside the digests.
VERSION = "version of rnn-probe"
#: Functions are compared by their outputs on so many examples.
_TRIED = 16


def parts(prepared: Prepared) -> dict[str, str]:
    """Return a digest of each part of a study, by its name in messages.

    Finished answers are reused if all digests and the version are the same. The versions of other libraries are only
    noted. Functions are compared by their outputs: on the study's sequences if they are called with these, otherwise
    on random inputs.
    """
    study, lengths = prepared.study, prepared.lengths
    digests = {
        "weights": digest(*_state(prepared)),
        "inputs": digest(prepared.x.numpy(), lengths, *prepared.symbols.items(), *_valid(prepared)),
        "concepts": digest(*_concepts(prepared)),
        "layers": digest([layer.name for layer in prepared.layers]),
        "readout": digest(*_readout(prepared)),
        "programs": digest(*_programs(prepared)),
        "fixed_inputs": digest(None if study.fixed_inputs is None else np.asarray(study.fixed_inputs)),
        "title and seed": digest(study.title, study.seed),
        VERSION: version("rnn-probe"),
    }
    return digests


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


def _state(prepared: Prepared) -> list[Any]:
    state = prepared.opened.model.state_dict()
    return [one for name, tensor in state.items() for one in (name, tensor.detach().cpu().double().numpy())]


def _concepts(prepared: Prepared) -> list[Any]:
    values: list[Any] = []
    for name, concept in prepared.concepts.items():
        values += [name, concept.kind, concept.description, concept.values, concept.categories]
        values.append(concept.function is not None)
    return values


def _readout(prepared: Prepared) -> list[Any]:
    readout, head, read = prepared.study.readout, prepared.head, prepared.read
    if readout is None or head is None or read is None:
        return []
    from ...recurrent.signals import Signal
    from .readouts import copied

    tried = torch.randn(
        _TRIED, read.size(Signal.HIDDEN_STATE), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    with torch.no_grad(), calling("The readout's function", "It must take float64."):
        scores = copied(head)(tried)
    combine: Any = readout.combine
    if callable(combine):
        values = np.resize(prepared.answered.levels, 64)
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
    ]


def _valid(prepared: Prepared) -> list[Any]:
    """Return what `valid` says of spliced sequences: of each sequence with the next one, cut in the middle."""
    if prepared.study.valid is None:
        return []
    x, lengths = prepared.x.double().numpy(), prepared.lengths
    rows = range(min(len(x), 4 * _TRIED))
    spliced = [
        np.concatenate([x[row - 1, : lengths[row - 1] // 2], x[row, lengths[row] // 2 : lengths[row]]])
        for row in rows
    ]
    return [prepared.allows(one) for one in spliced]


def _programs(prepared: Prepared) -> list[Any]:
    rows = min(len(prepared.x), _TRIED)
    sequences = [as_tuples(prepared.x[row : row + 1, : prepared.lengths[row]])[0] for row in range(rows)]
    return [
        one
        for name, program in prepared.study.programs.items()
        for one in (name, answers_of(name, program, sequences))
    ]
