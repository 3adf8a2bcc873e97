"""Checks a study's parts, and returns its networks as subjects: each reads the inputs, and has a working readout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import NAMES, read_as
from ..errors import ProbeError, about, check_has_numbers, several
from ..evidence.measurements import Network
from ..evidence.words import listed
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recurrent.finding import find_layers
from ..recurrent.inspection import described
from ..recurrent.layers import Layer
from ..recurrent.signals import converted
from ..storage.input_files import check_features
from ..subjects.alphabet import symbols_of
from ..subjects.concepts import Known
from ..subjects.functions import calling
from ..subjects.networks.copies import starting_alike
from ..subjects.networks.network_file import Opened, open_network
from ..subjects.networks.seen import seen_layers
from ..subjects.own_output import answering, in_words, is_bare, own_output, taken
from ..subjects.readouts import Readout, build_head
from ..subjects.states import packed
from ..subjects.subject import Subject
from ..subjects.token_ids import reading_tokens
from .inputs import Given, groups_of, read
from .networks import Named, named

if TYPE_CHECKING:
    from .study import Study

#: The roles of networks that are of one kind and size in a study.
ALIKE = ("trained", "own initialisation", "random weights", "template")
#: What a network's card calls the sentence on its output.
OUTPUT = "its output"
#: On so many sequences each network is tried before it is studied.
FIRST = 2


def prepare(study: Study) -> list[Subject]:
    """Check all parts of a study, and return its networks: the trained ones first, then those beside them."""
    if isinstance(study.networks, tuple) and all(isinstance(one, Subject) for one in study.networks):
        groups = groups_of(study, len(study.networks[0].x))
        return [one if groups is None else dataclasses.replace(one, groups=groups) for one in study.networks]
    given = read(study)
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
    what, kind = described(layer), getattr(layer.module, "nonlinearity", "")
    name = f"{what.cell}{kind and f' ({kind})'} of {several(what.units, 'unit')}"
    return name if what.projected is None else f"{name} projected to {what.projected}"


def _subject(study: Study, given: Given, one: Named) -> Subject:
    opened = open_network(one.given, study.name, lengths_said=given.lengths_said)
    opened, tokens = _reading(opened, one, given)
    dtype = next((parameter.dtype for parameter in opened.model.parameters()), torch.float32)
    if dtype == torch.bfloat16 and not given.tokens:
        raise ProbeError("The network computes in torch.bfloat16, which numpy does not have. Give model.float().")
    # Half precision has not each whole number, so tokens are kept in float64.
    advice = "Give smaller numbers, or the network in {}."
    x = converted(torch.as_tensor(given.inputs), "The inputs", advice, dtype=torch.float64 if given.tokens else dtype)
    alike = _alike(opened.model, x[:FIRST], given.lengths[:FIRST])
    opened = opened if alike is opened.model else dataclasses.replace(opened, model=alike)
    seen = cache(partial(seen_layers, opened.model, x[:FIRST], tolerance=study.tolerance))
    layers = seen(None if study.layer is None else tuple(read_as("layer", study.layer, NAMES)))
    readout, said = _answer(study, opened.model, x, given, seen)
    if study.tolerance is not None:
        said |= {"recomputed states may differ from the network's own by": f"{study.tolerance:g} of max(1, |value|)"}
    read = head = None
    if readout is not None and readout.output is None:
        read = seen(None if readout.layer is None else (readout.layer,))[-1]
        units, concept = read.size(read.output), given.concepts[readout.concept]
        head = build_head(readout, concept, opened, units, len(given.lengths))
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
        groups=given.groups,
        symbols=symbols_of(study.symbols, x, given.lengths, tokens),
        programs=study.programs,
        fixed_inputs=study.fixed_inputs,
        card={**opened.card, **said},
        seed=study.seed,
        tolerance=study.tolerance,
    )


def _reading(opened: Opened, one: Named, given: Given) -> tuple[Opened, int | None]:
    """Return a network that reads the inputs, and how many tokens it embeds where they are token ids."""
    reads, tokens = find_layers(opened.model)[0].inputs, None
    try:
        if given.tokens:
            model, embedding, tokens = reading_tokens(opened.model, given.inputs[:, :, 0].astype(int))
            card = {"token ids": f"read by {embedding!r}, an embedding of {tokens:,} tokens"}
            opened = dataclasses.replace(opened, model=model, card={**opened.card, **card})
        elif one.given is not opened.model or isinstance(opened.model, nn.RNNBase):
            check_features(given.inputs, reads)
    except ProbeError as error:
        raise ProbeError(f"{error} {_before_it(opened, reads)}".rstrip()) from error
    return opened, tokens


def _before_it(opened: Opened, features: int) -> str:
    """Return what of a file may stand before its recurrence, with what to do; "" where nothing does by its sizes."""
    arrays = [repr(name) for name, array in opened.tensors.items() if array.dim() > 1 and features in array.shape]
    if not arrays:
        return ""
    return (
        f"The file also holds {listed(arrays[:3])}, which may stand before the recurrence, as an embedding does; of "
        "a file alone a study runs only the recurrence. To study the whole network, name its module beside the file: "
        'module = "net.py:Net" under [network] (in Python: probe.load(path, into=net), and the study gets net).'
    )


@torch.no_grad()
def _alike(model: nn.Module, x: Tensor, lengths: np.ndarray) -> nn.Module:
    """Return a network that starts every call alike, or raise where it cannot be run or has a weight of NaN."""
    for name, value in model.named_parameters():
        check_has_numbers(value, f"The weight {name!r}")
    wrong = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise ProbeError(
            f"The weight {wrong[0]!r} holds NaN or infinity, so that nothing the network computes is a number. Leave "
            "it out, or give its weights from before that happened."
        )
    shape = f"(batch, time, feature) = (..., {', '.join(map(str, x.shape[1:]))})"
    with calling("Running the network on the first inputs", f"It is called with {shape}; give inputs that it reads."):
        try:
            return starting_alike(model, packed(model, x, lengths))
        except Exception as error:
            if x.is_floating_point() and (why := _wants_tokens(model, x)):
                raise ProbeError(why) from error
            raise


def _wants_tokens(model: nn.Module, x: Tensor) -> str:
    """Return why numbers are no inputs of a network that embeds token ids; empty where it has no embedding."""
    embedding = next((name for name, module in model.named_modules() if isinstance(module, nn.Embedding)), None)
    if embedding is None:
        return ""
    one_hot = bool(((x == 0) | (x == 1)).all() and (x.sum(2) <= 1).all()) and x.shape[2] > 1
    given = "one-hot vectors" if one_hot else "numbers"
    advice = "inputs.argmax(2)" if one_hot else "inputs[:, :, 0].astype(int)"
    return (
        f"The network reads token ids by {embedding!r}, an embedding, and cannot be run on the inputs, which are "
        f"{given} (batch, time, feature) of {several(x.shape[2], 'feature')}. Give ids, whole numbers (batch, time), "
        f"such as {advice}."
    )


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


def _answer(
    study: Study, model: nn.Module, x: Tensor, given: Given, layers: Callable[[None], tuple[Layer, ...]]
) -> tuple[Readout | None, dict[str, str]]:
    """Return what a network answers, by the study or by its own output, and what the page says of its output.

    All layers of the network are `layers(None)`; nobody looks for them where its output is not read.
    """
    readout = study.readout
    if is_bare(model) if readout is None else not readout.is_own_output:
        return readout, {}
    wants = "It is called with sequences of one length, without padding."
    try:
        with calling("Running the network on one of the sequences", wants):
            own = own_output(model, x, given.lengths, layers(None), tolerance=study.tolerance)
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
