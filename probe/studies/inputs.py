"""The inputs, lengths, concepts and groups of a study: read from a file or an array, and checked once."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, check_has_numbers, several
from ..evidence.words import listed
from ..methods.probing.groups import NEARLY_EQUAL, check_folds, group_codes, near_copies
from ..methods.probing.targets import FOLDS
from ..storage.input_files import check_axes, check_finite, check_lengths, read_array
from ..subjects.alphabet import fixed_of
from ..subjects.blocks import Blocks, at_ends
from ..subjects.concepts import Concept, Known, check_given, is_function, resolve
from ..subjects.networks.called import CALL

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True, eq=False)
class Given:
    """What all networks of a study share, read and checked once.

    Attributes:
        inputs: (batch, time, feature); zero at padding. In blocks, an input is that of a state.
        lengths: how many inputs each sequence has, (batch,).
        lengths_said: whether the study says these.
        tokens: whether the inputs are token ids.
        groups: the number of each sequence's group, (batch,), or None.
        blocks: which inputs belong to a state, or None where each has one.
        own_time: how many inputs the longest sequences have, before they are put in blocks.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    lengths_said: bool
    tokens: bool
    groups: np.ndarray | None
    blocks: Blocks | None = None
    own_time: int = 0


def read(study: Study) -> Given:
    """Return the inputs of a study with their lengths and groups, or raise `ProbeError` where a part does not fit."""
    read_in = read_array(Path(study.inputs)) if isinstance(study.inputs, (str, os.PathLike)) else None
    inputs, tokens = _array(study.inputs if read_in is None else read_in.values)
    ends = read_in.lengths if study.lengths is None and read_in is not None else study.lengths
    lengths = _lengths(ends, inputs.shape)
    check_finite(inputs, lengths)
    values = np.where((np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None], inputs, 0)
    if study.fixed_inputs is not None:
        _ = fixed_of(study.fixed_inputs, inputs.shape[2])
    return Given(values, lengths, ends is not None, tokens, groups_of(study, len(values)), None, inputs.shape[1])


def in_blocks(given: Given, blocks: Blocks | None) -> Given:
    """Return the inputs in blocks, an input for each state; as they are where there are none.

    Raises:
        ProbeError: a sequence has no whole block.
    """
    if blocks is None:
        return given
    lengths = blocks.states(given.lengths)
    if (short := int((lengths < 1).sum())) > 0:
        raise ProbeError(
            f"The network's first state reads {several(blocks.ends[0] + 1, 'input')}, and "
            f"{several(short, 'sequence')} have fewer. Leave them out."
        )
    inputs = blocks.joined(given.inputs)
    inputs[np.arange(inputs.shape[1]) >= lengths[:, None]] = 0
    return dataclasses.replace(given, inputs=inputs, lengths=lengths, blocks=blocks)


def concepts_of(study: Study, given: Given) -> tuple[dict[str, Known], dict[str, str]]:
    """Return the concepts of a study, and which of several values of each a state has, in words.

    Args:
        study: the study.
        given: its inputs, in blocks where a network has fewer states.

    Raises:
        ProbeError: a concept fits neither the inputs nor the states.
    """
    blocks = given.blocks
    if blocks is None:
        return {name: resolve(name, one, given.inputs, given.lengths) for name, one in study.concepts.items()}, {}
    inputs = blocks.parted(given.inputs)
    lengths = blocks.inputs(given.lengths)
    found, said = dict[str, Known](), list[str]()
    for name, one in study.concepts.items():
        shape = np.shape(one.values if isinstance(one, Concept) else one)
        if len(shape) == 2 and shape[1] == given.inputs.shape[1]:
            found[name] = resolve(name, one, given.inputs, given.lengths)
            said.append(f"“{name}” was given for each state")
        else:
            found[name] = at_ends(_of_inputs(name, one, inputs, lengths, given), blocks, given.lengths)
            said.append(f"of “{name}” a state has the value at the last of its inputs")
    return found, {"states": f"{blocks.said}; {listed(said)}"}


def _of_inputs(name: str, one: Any, inputs: np.ndarray, lengths: np.ndarray, given: Given) -> Known:
    """Return a concept that has a value for each input; inputs that make no whole block at the end are left out."""
    raw: Any = one.values if isinstance(one, Concept) else one
    if is_function(raw):
        return resolve(name, one, inputs, lengths)
    check_either(name, one, given)
    whole = np.array(raw, dtype=object) if isinstance(raw, (list, tuple)) else raw
    part = whole[:, : inputs.shape[1]]
    return resolve(name, dataclasses.replace(one, values=part) if isinstance(one, Concept) else part, inputs, lengths)


def check_either(name: str, concept: Any, given: Given) -> None:
    """Raise where a concept that is an array is aligned neither to the inputs nor, in blocks, to the states."""
    batch, states = given.inputs.shape[:2]
    if given.blocks is not None and np.shape(getattr(concept, "values", concept)) == (batch, states):
        return
    try:
        check_given(name, concept, (batch, given.own_time))
    except ProbeError as error:
        also = f" One for each state, ({batch}, {states}), is allowed as well." if given.blocks is not None else ""
        raise ProbeError(f"{error}{also}") from error


def groups_of(study: Study, batch: int) -> np.ndarray | None:
    """Return the number of each sequence's group, or None where no groups are given."""
    groups = group_codes(study.groups, batch)
    if groups is not None:
        check_folds(int(groups.max()) + 1, FOLDS, what="The sequences are")
    return groups


def warn_of_copies(given: Given) -> None:
    """Warn where sequences are nearly equal that may lie in different folds; of equal ones each state counts once."""
    values, lengths, groups = given.inputs, given.lengths, given.groups
    steps = (np.arange(values.shape[1]) < lengths[:, None]).astype(float)
    rows = np.unique(np.column_stack([steps, values.reshape(len(values), -1)]), axis=0, return_index=True)[1]
    part = np.arange(len(values)) if groups is None else groups
    near = int(near_copies([values[rows].reshape(len(rows), -1), steps[rows]], part[rows]).sum())
    if near:
        warnings.warn(f"{near} {NEARLY_EQUAL}", stacklevel=2)


def _array(given: Any) -> tuple[np.ndarray, bool]:
    """Return inputs as numbers, (batch, time, feature), and whether they are token ids, (batch, time)."""
    if isinstance(given, (Mapping, tuple)):
        raise ProbeError(_a_batch(given))
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


def _a_batch(given: Mapping[Any, Any] | tuple[Any, ...]) -> str:
    """Return what to write where a whole batch was given as the inputs."""
    items = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
    axes = {name: np.ndim(one) for name, one in items.items() if hasattr(one, "shape")}
    sequences = next((name for name, count in axes.items() if count > 1), None)
    lengths = next((name for name, count in axes.items() if count == 1), None)
    if sequences is None:
        return (
            f"The inputs are a {type(given).__name__}; give an array, (batch, time, feature), or ids (batch, time)."
        )
    parts = {name: "x" if name == sequences else "lengths" if name == lengths else "..." for name in items}
    inside = ", ".join(f"{name!r}: {part}" if isinstance(given, Mapping) else part for name, part in parts.items())
    batch = f"{{{inside}}}" if isinstance(given, Mapping) else f"({inside})"
    said = f", lengths=batch[{lengths!r}]" if lengths is not None else ""
    return (
        f"The inputs are a {type(given).__name__}, a whole batch. Give its sequences, and how the model is called: "
        f"probe.Study(model, batch[{sequences!r}], ...{said}, {CALL.format(f'model({batch})')})."
    )


def _lengths(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    batch, time = shape[:2]
    if given is None:
        return np.full(batch, time)
    check_has_numbers(given, "lengths")
    lengths = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    check_lengths(lengths, batch, time)
    return lengths.astype(int)
