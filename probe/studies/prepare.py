"""Checks a study's parts, and returns its networks: inputs of one shape, concepts as numbers, a working readout.

Networks are one, or many with a role and a pair each, as modules or as files of weights.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import NAMES, read_as
from ..errors import ProbeError, check_has_numbers, several, unknown
from ..evidence.measurements import FITTED_HEADS, ROLES, Network
from ..evidence.words import listed
from ..loading.checkpoint import Checkpoint
from ..methods.probing.groups import check_folds, group_codes
from ..methods.probing.near_copies import NEARLY_EQUAL, near_copies
from ..methods.probing.targets import FOLDS, LEAST_SEQUENCES
from ..recurrent.finding import find_layers
from ..recurrent.inspection import described
from ..recurrent.layers import Layer
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
from ..subjects.readouts import Readout
from ..subjects.states import packed
from ..subjects.subject import Subject

if TYPE_CHECKING:
    from .study import Study

#: The roles of networks that are of one kind and size in a study.
ALIKE = ("trained", "own initialisation", "random weights", "template")
#: What a network's card calls the sentence on its output.
OUTPUT = "its output"
#: On so many sequences each network is tried before it is studied.
FIRST = 2
_WANTED = (
    "give one network (a torch module, what probe.load returned, or the path of a file of weights), a list of them, "
    "several probe.evidence.Network, or a table: role -> networks, paths or a pattern such as 'trained/*.safetensors'"
)
_NETWORK = (nn.Module, Checkpoint, str, os.PathLike)
#: The roles of which each network of one belongs to one of the other.
INITIAL = ("trained", "own initialisation")
#: The roles that a table of networks may give; a study makes the other controls itself.
GIVEN = tuple(role for role in ROLES if role not in ("null", *FITTED_HEADS))


@dataclass(frozen=True, eq=False)
class Named:
    """A network as it was given, with its role; the name in tables and the pair are empty where it has none."""

    given: Any
    role: str = "trained"
    name: str = ""
    pair: str = ""


@dataclass(frozen=True, eq=False)
class _Given:
    """What all networks of a study share, read and checked once."""

    inputs: np.ndarray
    lengths: np.ndarray
    concepts: Mapping[str, Known]
    lengths_said: bool
    tokens: bool
    groups: np.ndarray | None


def prepare(study: Study) -> list[Subject]:
    """Check all parts of a study, and return its networks: the trained ones first, then those beside them."""
    if isinstance(study.networks, tuple) and all(isinstance(one, Subject) for one in study.networks):
        groups = _groups(study, len(study.networks[0].x))
        return [one if groups is None else dataclasses.replace(one, groups=groups) for one in study.networks]
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
    groups = _groups(study, len(values))
    _warn_of_copies(values, lengths, groups)
    return _Given(values, lengths, concepts, ends is not None, tokens, groups)


def _groups(study: Study, batch: int) -> np.ndarray | None:
    """Return the number of each sequence's group, or None where no groups are given."""
    groups = group_codes(study.groups, batch)
    if groups is not None:
        check_folds(int(groups.max()) + 1, FOLDS, what="The sequences are")
    return groups


def _warn_of_copies(values: np.ndarray, lengths: np.ndarray, groups: np.ndarray | None) -> None:
    """Warn where sequences are nearly equal that may lie in different folds; of equal ones each state counts once."""
    steps = (np.arange(values.shape[1]) < lengths[:, None]).astype(float)
    rows = np.unique(np.column_stack([steps, values.reshape(len(values), -1)]), axis=0, return_index=True)[1]
    part = np.arange(len(values)) if groups is None else groups
    near = int(near_copies([values[rows].reshape(len(rows), -1), steps[rows]], part[rows]).sum())
    if near:
        warnings.warn(f"{near} {NEARLY_EQUAL}", stacklevel=2)


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


def _subject(study: Study, given: _Given, one: Named) -> Subject:
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
    names = None if study.layer is None else read_as("layer", study.layer, NAMES)
    layers = seen_layers(opened.model, x[:FIRST], names, tolerance=study.tolerance)
    readout, said = _answer(study, opened.model, x, given)
    if study.tolerance is not None:
        said |= {"recomputed states may differ from the network's own by": f"{study.tolerance:g} of max(1, |value|)"}
    read = head = None
    if readout is not None and readout.output is None:
        reads = None if readout.layer is None else [readout.layer]
        read = seen_layers(opened.model, x[:FIRST], reads, tolerance=study.tolerance)[-1]
        units, concept = read.size(read.output), given.concepts[readout.concept]
        head = heads.build(readout, concept, opened, units, len(given.lengths))
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


def _reading(opened: Opened, one: Named, given: _Given) -> tuple[Opened, int | None]:
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


def _answer(study: Study, model: nn.Module, x: Tensor, given: _Given) -> tuple[Readout | None, dict[str, str]]:
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


def _array(given: Any) -> tuple[np.ndarray, bool]:
    """Return inputs as numbers, (batch, time, feature), and whether they are token ids, (batch, time)."""
    check_has_numbers(given, "The inputs")
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
    check_has_numbers(given, "lengths")
    lengths = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    check_lengths(lengths, batch, time)
    return lengths.astype(int)


def named(networks: Any) -> list[Named]:
    """Return the networks of a study, the trained ones first.

    Networks of a table are paired by the name of their file, or by their place where they are modules.
    """
    if isinstance(networks, Mapping) and not _is_state_dict(networks):
        alone = len(networks) == 1
        found = [one for role, given in networks.items() for one in _of_role(role, given, alone=alone)]
    elif isinstance(networks, (list, tuple)) and any(isinstance(one, Network) for one in networks):
        found = _of_list(networks)
    elif isinstance(networks, _NETWORK) and not (isinstance(networks, nn.ModuleList) or _is_pattern(networks)):
        found = [Named(networks)]
    else:
        found = _of_role("trained", networks)
    paired = _paired(found)
    _check(paired)
    return sorted(paired, key=lambda one: one.role != "trained")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin what an error says with the network that it is about, of many."""
    try:
        yield
    except ProbeError as error:
        raise type(error)(f"{what}: {error}" if what else str(error)) from error.__cause__ or error


def _paired(found: Sequence[Named]) -> list[Named]:
    """Give each trained network without a pair one of its own, which its controls share; a single one is pair 0."""
    single = sum(one.role == "trained" for one in found) == 1
    paired = INITIAL if single else ("trained",)
    return [
        dataclasses.replace(one, pair="0" if single else one.name) if one.role in paired and not one.pair else one
        for one in found
    ]


def _is_pattern(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike)) and glob.has_magic(os.fspath(given)) and not Path(given).exists()


def _of_list(networks: Sequence[Any]) -> list[Named]:
    """Return networks of which each says its role."""
    for one in networks:
        if not isinstance(one, Network):
            raise ProbeError(
                f"One of the networks is a {type(one).__name__} beside probe.evidence.Network; {_wanted(one)}."
            )
    return [Named(one.model, one.role, one.name, str(one.pair)) for one in networks]


def _is_state_dict(given: Any) -> bool:
    return isinstance(given, Mapping) and any(isinstance(one, Tensor) for one in given.values())


def _wanted(given: Any) -> str:
    """Return what a network may be, and of a state_dict how it becomes one."""
    if not _is_state_dict(given):
        return _WANTED
    return (
        "a state_dict is no network yet. Load it into its module, model.load_state_dict(...), and give the module; "
        "or save it, torch.save(state_dict, 'weights.pt'), and give the path"
    )


def _of_role(role: Any, given: Any, *, alone: bool = True) -> list[Named]:
    """Return the networks of a role, each by its file or its place; a single one has no place where it is alone."""
    if role not in GIVEN:
        raise ProbeError(unknown("role of a network", role, GIVEN))
    if _is_pattern(given):
        paths = sorted(glob.glob(os.fspath(given)))
        if not paths:
            raise ProbeError(f"The pattern {str(given)!r} of the {role} networks matches no file.")
        given = paths
    several = list(given) if isinstance(given, (list, tuple, nn.ModuleList)) else [given]
    for one in several:
        if not isinstance(one, _NETWORK):
            raise ProbeError(f"One of the {role} networks is a {type(one).__name__}; {_wanted(one)}.")
    numbered = len(several) > 1 or not alone
    called = [_stem(one) or str(place) * numbered for place, one in enumerate(several)]
    return [Named(one, role, *name_and_pair(role, name)) for one, name in zip(several, called, strict=True)]


def name_and_pair(role: str, called: str) -> tuple[str, str]:
    """Return what tables call a network, and what it is paired by."""
    name = called if role == "trained" else f"{called}/{role}" if called else role
    return name, "" if role in ("planted", "other") else called


def _stem(given: Any) -> str:
    """Return the name of a network's file without its ending; empty where there is none."""
    path = given.source.path if isinstance(given, Checkpoint) else given
    return Path(path).stem if isinstance(path, (str, os.PathLike)) else ""


def _check(networks: Sequence[Named]) -> None:
    if not any(one.role == "trained" for one in networks):
        roles = ", ".join(dict.fromkeys(one.role for one in networks)) or "none"
        raise ProbeError(
            f"No network of the study is trained (roles: {roles}); a study asks what training made. It holds "
            f"{len(networks)}: {_WANTED}."
        )
    pairs, names = [(one.role, one.pair) for one in networks if one.pair], [one.name for one in networks]
    advice = "give each its own: files of different names, or probe.evidence.Network(name, role, module, pair)"
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise ProbeError(f"Two {pair[0]} networks have the pair {pair[1]!r}; {advice}.")
    for name in names if len(names) > 1 else ():
        if not name or names.count(name) > 1:
            raise ProbeError(f"Two networks are called {name!r}, or one has no name; {advice}.")
    trained, initial = ([pair for role, pair in pairs if role == wanted] for wanted in INITIAL)
    alone = sorted(set(trained) ^ set(initial)) if initial else []
    if alone:
        raise ProbeError(
            f"Of the pair {alone[0]!r} one of the trained network and its own initialisation is missing. Trained "
            f"networks have the pairs {listed(trained[:8])}, initialisations {listed(initial[:8])}. Give both the "
            "same pair (in a table the same place, or files of the same name), and each trained network one, or none."
        )
