"""Checks a study's parts, and returns its networks as subjects: each reads the inputs, and has a working readout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ..arguments import NAMES, read_as
from ..errors import ProbeError, about, several
from ..evidence.measurements import Network
from ..evidence.words import listed
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recurrent.inspection import described
from ..recurrent.layers import Layer
from ..subjects.alphabet import symbols_of
from ..subjects.blocks import OfInputs, OfSteps
from ..subjects.concepts import Known, is_function, try_on
from ..subjects.functions import calling
from ..subjects.networks.network_file import Opened
from ..subjects.networks.seen import seen_layers
from ..subjects.own_output import SAID_OF_OUTPUT, Task, is_bare, own_answer
from ..subjects.readouts import Readout, build_head
from ..subjects.subject import Subject
from .inputs import Given, check_either, concepts_of, groups_of, in_blocks, read, warn_of_copies
from .networks import Named, named
from .opening import FIRST, as_tensor, opening

if TYPE_CHECKING:
    from .study import Study

#: The roles of networks that are of one kind and size in a study.
ALIKE = ("trained", "own initialisation", "random weights", "template")


def prepare(study: Study) -> list[Subject]:
    """Check all parts of a study, and return its networks: the trained ones first, then those beside them."""
    if isinstance(study.networks, tuple) and all(isinstance(one, Subject) for one in study.networks):
        groups = groups_of(study, len(study.networks[0].x))
        return [one if groups is None else dataclasses.replace(one, groups=groups) for one in study.networks]
    raw = read(study)
    warn_of_copies(raw)
    networks, subjects = named(study.networks), list[Subject]()
    first, blocks = opening(study, raw, networks[0])
    given = in_blocks(raw, blocks)
    concepts, said = concepts_of(study, given)
    for place, one in enumerate(networks):
        with about(f"The network {one.name!r}" if len(networks) > 1 else ""):
            ready, own = opening(study, raw, one) if place else (first, blocks)
            if own != blocks:
                raise ProbeError(
                    f"Its states read other inputs than those of {networks[0].name!r}, and all networks of a study "
                    "share their states' values. Give it a study of its own."
                )
            ready = dataclasses.replace(ready, card={**ready.card, **said})
            subjects.append(_subject(study, given, concepts, one, ready))
    _check_alike(subjects)
    subjects = subjects if study.readout is not None else _of_one_answer(subjects)
    for row, length in enumerate(given.lengths if study.valid is not None else ()):
        if not subjects[0].allows(given.inputs[row, :length], f"sequence {row}"):
            raise ProbeError(f"valid says that sequence {row} of the inputs cannot occur; one of the two is wrong.")
    _check_exchange(study.readout, concepts, given.lengths)
    return subjects


def check(study: Study) -> None:
    """Raise what can be known of a study before anything is measured.

    Its arrays are read, and its first network and its functions are tried on the first sequences.
    """
    if isinstance(study.networks, tuple) and all(isinstance(one, Subject) for one in study.networks):
        return
    raw, networks = read(study), named(study.networks)
    with about(f"The network {networks[0].name!r}" if len(networks) > 1 else ""):
        _, blocks = opening(study, raw, networks[0])
    given = in_blocks(raw, blocks)
    for name, one in study.concepts.items():
        if not is_function(getattr(one, "values", one)):
            check_either(name, one, given)
        try_on(name, one, raw.inputs[:FIRST], raw.lengths[:FIRST])


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


def _subject(study: Study, given: Given, concepts: Mapping[str, Known], one: Named, opened: Opened) -> Subject:
    model, blocks = opened.model, given.blocks
    x = as_tensor(given, model)
    seen = cache(partial(seen_layers, model, x[:FIRST], tolerance=study.tolerance))
    layers = seen(None if study.layer is None else tuple(read_as("layer", study.layer, NAMES)))
    readout, model, said = _answer(study, model, Task(x, given.lengths, concepts), seen)
    if study.tolerance is not None:
        said |= {"recomputed states may differ from the network's own by": f"{study.tolerance:g} of max(1, |value|)"}
    read = head = None
    if readout is not None and readout.functions is None:
        read = seen(None if readout.layer is None else (readout.layer,))[-1]
        head = build_head(readout, concepts[readout.concept], opened, read.size(read.output), len(given.lengths))
    valid, programs = study.valid, study.programs
    if blocks is not None:
        valid = None if valid is None else OfInputs(valid, blocks)
        programs = {name: OfSteps(program, blocks) for name, program in programs.items()}
    return Subject(
        Network(one.name or opened.name, one.role, model, one.pair),
        x,
        given.lengths,
        concepts,
        layers,
        readout,
        read,
        head,
        allowed=valid,
        groups=given.groups,
        symbols=symbols_of(study.symbols, x, given.lengths, opened.tokens) if blocks is None else {},
        programs=programs,
        fixed_inputs=study.fixed_inputs,
        card={**opened.card, **said},
        seed=study.seed,
        tolerance=study.tolerance,
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
    study: Study, model: nn.Module, task: Task, layers: Callable[[None], tuple[Layer, ...]]
) -> tuple[Readout | None, nn.Module, dict[str, str]]:
    """Return what a network answers, by the study or by its own output, and what the page says of its output.

    With it comes the network, as one that returns the item of its output that is the answer. All layers of the
    network are `layers(None)`; nobody looks for them where its output is not read.
    """
    readout = study.readout
    if is_bare(model) if readout is None else not readout.is_own_output:
        return readout, model, {}
    wants = "It is called with sequences of one length, without padding."
    try:
        with calling("Running the network on one of the sequences", wants):
            found = own_answer(model, task, layers(None), readout, tolerance=study.tolerance)
    except ProbeError as error:
        if study.readout is None:
            return None, model, {SAID_OF_OUTPUT: f"not taken as its answer. {error}"}
        raise ProbeError(
            f"The readout has neither weight nor function, so what the network returns is its answer. {error}"
        ) from error
    return found.readout, found.model, {SAID_OF_OUTPUT: found.said}


def _of_one_answer(subjects: list[Subject]) -> list[Subject]:
    """Return networks whose own outputs answer one concept; without their readouts where they do not."""
    answered = {f"“{one.readout.concept}”" if one.readout else "no concept": one.network.name for one in subjects}
    if len(answered) == 1:
        return subjects
    said = listed([f"that of {name!r} answers {concept}" for concept, name in answered.items()])
    why = f"not taken as its answer. All networks of a study must answer the same concept; {said}."
    return [
        dataclasses.replace(one, readout=None, read=None, head=None, card={**one.card, SAID_OF_OUTPUT: why})
        for one in subjects
    ]
