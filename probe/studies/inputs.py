"""The inputs, lengths, concepts and groups of a study: read from a file or an array, and checked once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, check_has_numbers
from ..methods.probing.groups import NEARLY_EQUAL, check_folds, group_codes, near_copies
from ..methods.probing.targets import FOLDS
from ..storage.input_files import check_axes, check_finite, check_lengths, read_array
from ..subjects.alphabet import fixed_of
from ..subjects.concepts import Known, resolve

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True, eq=False)
class Given:
    """What all networks of a study share, read and checked once."""

    inputs: np.ndarray
    lengths: np.ndarray
    concepts: Mapping[str, Known]
    lengths_said: bool
    tokens: bool
    groups: np.ndarray | None


def read(study: Study) -> Given:
    """Return the inputs of a study with what is aligned to them, or raise `ProbeError` where a part does not fit."""
    read_in = read_array(Path(study.inputs)) if isinstance(study.inputs, (str, os.PathLike)) else None
    inputs, tokens = _array(study.inputs if read_in is None else read_in.values)
    ends = read_in.lengths if study.lengths is None and read_in is not None else study.lengths
    lengths = _lengths(ends, inputs.shape)
    check_finite(inputs, lengths)
    values = np.where((np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None], inputs, 0)
    concepts = {name: resolve(name, one, values, lengths) for name, one in study.concepts.items()}
    if study.fixed_inputs is not None:
        _ = fixed_of(study.fixed_inputs, inputs.shape[2])
    groups = groups_of(study, len(values))
    _warn_of_copies(values, lengths, groups)
    return Given(values, lengths, concepts, ends is not None, tokens, groups)


def groups_of(study: Study, batch: int) -> np.ndarray | None:
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
