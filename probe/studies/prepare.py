"""Checks a study's parts, and returns the subject: inputs of one shape, concepts as numbers, a working readout."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several
from ..evidence.measurements import Network
from ..evidence.words import listed
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recurrent.finding import find_layers
from ..recurrent.layers import Layer, OpenLayer
from ..recurrent.refusals import converted
from ..storage.input_files import check_axes, check_features, check_finite, check_lengths, read_array
from ..subjects import heads
from ..subjects.alphabet import fixed_of, reading_tokens, symbols_of
from ..subjects.concepts import Known, resolve
from ..subjects.functions import calling
from ..subjects.networks.network_file import Opened, open_network
from ..subjects.networks.seen import seen_layers
from ..subjects.networks.starts import starting_alike
from ..subjects.own_output import answering, in_words, is_bare, own_output, taken
from ..subjects.readouts import Head, Readout
from ..subjects.states import packed
from ..subjects.subject import Subject
from .networks import Named, about, named

if TYPE_CHECKING:
    from .study import Study

#: The roles of networks that are of one kind and size in a study.
ALIKE = ("trained", "own initialisation", "random weights", "template")
#: What a network's card calls the sentence on its output.
OUTPUT = "its output"
#: On so many sequences each network is tried before it is studied.
FIRST = 2


@dataclass(frozen=True, eq=False)
class _Given:
    """What all networks of a study share, read and checked once."""

    inputs: np.ndarray
    lengths: np.ndarray
    concepts: Mapping[str, Known]
    lengths_said: bool
    tokens: bool


def prepare(study: Study) -> list[Subject]:
    """Check all parts of a study, and return its networks: the trained ones first, then those beside them."""
    if isinstance(study.networks, tuple) and all(isinstance(one, Subject) for one in study.networks):
        return list(study.networks)
    given = _read(study)
    networks, subjects = named(study.networks), list[Subject]()
    for one in networks:
        with about(f"The network {one.name!r}" if len(networks) > 1 else ""):
            subjects.append(_subject(study, given, one))
    _check_alike(subjects)
    subjects = subjects if study.readout is not None else _of_one_answer(subjects)
    first = subjects[0]
    for row, length in enumerate(given.lengths if study.valid is not None else ()):
        if not first.allows(given.inputs[row, :length], f"sequence {row}"):
            raise ProbeError(f"valid says that sequence {row} of the inputs cannot occur; one of the two is wrong.")
    _check_exchange(study.readout, given.concepts, given.lengths)
    return subjects


def _read(study: Study) -> _Given:
    read_in = read_array(Path(study.inputs)) if isinstance(study.inputs, (str, os.PathLike)) else None
    inputs, tokens = _array(study.inputs if read_in is None else read_in.values)
    ends = read_in.lengths if study.lengths is None and read_in is not None else study.lengths
    lengths = _lengths(ends, inputs.shape)
    check_finite(inputs, lengths)
    values = np.where((np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None], inputs, 0)
    concepts = {name: resolve(name, one, values, lengths) for name, one in study.concepts.items()}
    if study.fixed_inputs is not None:
        _ = fixed_of(study.fixed_inputs, inputs.shape[2])
    return _Given(values, lengths, concepts, ends is not None, tokens)


def _check_alike(subjects: Sequence[Subject]) -> None:
    """Raise if the networks that one verdict pools, or compares in pairs, differ in their cells or sizes."""
    kinds: dict[str, list[str]] = {}
    for subject in subjects:
        if subject.network.role in ALIKE:
            kinds.setdefault(", ".join(map(_kind, subject.layers)), []).append(repr(subject.network.name))
    if len(kinds) > 1:
        found = "; ".join(
            f"{kind}: {several(len(names), 'network')}, such as {names[0]}" for kind, names in kinds.items()
        )
        raise ProbeError(
            f"The networks of the roles {listed(ALIKE)} must be of one kind and size, because one verdict is about "
            f"all of them. These are several ({found}). Give each kind and size a study of its own, or the role "
            "'other' to a network that only stands beside the trained ones."
        )


def _kind(layer: Layer) -> str:
    """Return what a layer is, in words: `GRU of 8 units`."""
    if isinstance(layer, OpenLayer):
        return f"{type(layer.module).__name__} of {several(layer.units, 'number')} of state"
    kind, projected = type(layer.cell).__name__.removesuffix("Cell"), layer.size(layer.output)
    kind += f" ({layer.module.nonlinearity})" if hasattr(layer.module, "nonlinearity") else ""
    return f"{kind} of {several(layer.units, 'unit')}" + f" projected to {projected}" * (projected != layer.units)


def _subject(study: Study, given: _Given, one: Named) -> Subject:
    opened = open_network(one.given, study.name, lengths_said=given.lengths_said)
    opened.model.eval()
    tokens = None
    if given.tokens:
        model, embedding, tokens = reading_tokens(opened.model, given.inputs[:, :, 0].astype(int))
        card = {"token ids": f"read by {embedding!r}, an embedding of {tokens:,} tokens"}
        opened = dataclasses.replace(opened, model=model, card={**opened.card, **card})
    found = find_layers(opened.model)
    if not given.tokens and (one.given is not opened.model or isinstance(opened.model, torch.nn.RNNBase)):
        check_features(given.inputs, found[0].inputs)
    dtype = next((parameter.dtype for parameter in opened.model.parameters()), torch.float32)
    if dtype == torch.bfloat16 and not given.tokens:
        raise ProbeError("The network computes in torch.bfloat16, which numpy does not have. Give model.float().")
    # Half precision has not each whole number, so tokens are kept in float64.
    advice = "Give smaller numbers, or the network in {}."
    x = converted(torch.as_tensor(given.inputs), "The inputs", advice, dtype=torch.float64 if given.tokens else dtype)
    alike = _alike(opened.model, x[:FIRST], given.lengths[:FIRST])
    opened = opened if alike is opened.model else dataclasses.replace(opened, model=alike)
    layers = seen_layers(opened.model, x[:FIRST], study.layers, tolerance=study.tolerance)
    readout, said = _answer(study, opened.model, x, given)
    if study.tolerance is not None:
        said |= {"recomputed states may differ from the network's own by": f"{study.tolerance:g} of max(1, |value|)"}
    read, head = _head(readout, opened, x[:FIRST], given, study.tolerance)
    return Subject(
        Network(one.name or opened.name, one.role, opened.model, one.pair),
        x,
        given.lengths,
        given.concepts,
        layers,
        readout,
        read,
        head,
        allowed=study.valid,
        symbols=symbols_of(study.symbols, x, given.lengths, tokens),
        programs=study.programs,
        fixed_inputs=study.fixed_inputs,
        card={**opened.card, **said},
        seed=study.seed,
        tolerance=study.tolerance,
    )


@torch.no_grad()
def _alike(model: torch.nn.Module, x: Tensor, lengths: np.ndarray) -> torch.nn.Module:
    """Return a network that starts every call alike, or raise where it cannot be run or has a weight of NaN."""
    wrong = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise ProbeError(
            f"The weight {wrong[0]!r} holds NaN or infinity, so that nothing the network computes is a number. Leave "
            "it out, or give its weights from before that happened."
        )
    shape = f"(batch, time, feature) = (..., {', '.join(map(str, x.shape[1:]))})"
    with calling("Running the network on the first inputs", f"It is called with {shape}; give inputs that it reads."):
        return starting_alike(model, packed(model, x, lengths))


def _check_exchange(readout: Readout | None, concepts: Mapping[str, Known], lengths: np.ndarray) -> None:
    """Raise if states cannot be patched after the step that the readout names."""
    step = None if readout is None else readout.interchange_step
    if readout is None or step is None:
        return
    if (long := int((lengths >= -step).sum())) < LEAST_SEQUENCES:
        raise ProbeError(
            f"interchange_step={step}: {several(long, 'sequence')} have so many steps; at least {LEAST_SEQUENCES} "
            f"must. The longest has {lengths.max()}."
        )
    if step < -1 and concepts[readout.concept].function is None and readout.combine is None:
        raise ProbeError(
            f"interchange_step={step}: nothing says how {readout.concept!r} changes when more is read, because it "
            "is an array. Give combine, or the concept as a function, or interchange_step=-1."
        )


def _answer(study: Study, model: torch.nn.Module, x: Tensor, given: _Given) -> tuple[Readout | None, dict[str, str]]:
    """Return what a network answers, by the study or by its own output, and what the page says of its output."""
    readout = study.readout
    if is_bare(model) if readout is None else not readout.is_own_output:
        return readout, {}
    wants = "It is called with sequences of one length, without padding."
    try:
        with calling("Running the network on one of the sequences", wants):
            layers = seen_layers(model, x[:FIRST], tolerance=study.tolerance)
            own = own_output(model, x, given.lengths, layers, tolerance=study.tolerance)
        readout = readout or answering(own, given.concepts)
        whole = taken(own, readout, given.concepts[readout.concept])
    except ProbeError as error:
        if study.readout is None:
            return None, {OUTPUT: f"not taken as its answer. {error}"}
        raise ProbeError(
            f"The readout has neither weight, function nor output, so the network's own output is its answer. {error}"
        ) from error
    return whole, {OUTPUT: in_words(own, whole, given.concepts[whole.concept])}


def _of_one_answer(subjects: list[Subject]) -> list[Subject]:
    """Return networks whose own outputs answer one concept; without their readouts where they do not."""
    answered = {f"“{one.readout.concept}”" if one.readout else "no concept": one.network.name for one in subjects}
    if len(answered) == 1:
        return subjects
    said = listed([f"that of {name!r} answers {concept}" for concept, name in answered.items()])
    why = f"not taken as its answer. All networks of a study must answer the same concept; {said}."
    return [
        dataclasses.replace(one, readout=None, read=None, head=None, card={**one.card, OUTPUT: why})
        for one in subjects
    ]


def _head(
    readout: Readout | None, opened: Opened, few: Tensor, given: _Given, tolerance: float | None
) -> tuple[Layer | None, Head | None]:
    if readout is None or readout.output is not None:
        return None, None
    named = None if readout.layer is None else [readout.layer]
    read = seen_layers(opened.model, few, named, tolerance=tolerance)[-1]
    units = read.size(read.output)
    return read, heads.build(readout, given.concepts[readout.concept], opened, units, len(given.lengths))


def _array(given: Any) -> tuple[np.ndarray, bool]:
    """Return inputs as numbers, (batch, time, feature), and whether they are token ids, (batch, time)."""
    if isinstance(given, Tensor):  # numpy has no bfloat16
        given = (given.float() if given.dtype == torch.bfloat16 else given).detach().cpu()
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ProbeError(
            f"The inputs are a {type(given).__name__} of parts that differ in length. Pad them to one array, (batch, "
            "time, feature), such as torch.nn.utils.rnn.pad_sequence(x, batch_first=True), and give their lengths."
        ) from error
    tokens = array.ndim == 2 and array.dtype.kind in "iu" and array.size > 0
    array = array[:, :, None] if tokens else array
    check_axes(array)
    return (array.astype(np.float64) if array.dtype != np.float32 else array), tokens


def _lengths(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    batch, time = shape[:2]
    if given is None:
        return np.full(batch, time)
    lengths = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    check_lengths(lengths, batch, time)
    return lengths.astype(int)
