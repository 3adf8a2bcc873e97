"""A study after all checks: inputs of one shape, concepts as numbers, a working readout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError, several
from ...recurrent.layers import Layer, find_layers
from ...storage.input_files import check_axes, check_features, check_finite, check_lengths, read_array
from . import readouts
from .concepts import Known, resolve
from .functions import calling
from .network import Opened, open_network
from .readouts import Head, Readout
from .symbols import floats, symbols_of

if TYPE_CHECKING:
    from ..study import Study

#: With fewer sequences nothing can be held out; a category that stands in fewer is left out.
LEAST_SEQUENCES = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study whose parts have been checked.

    Attributes:
        study: the study as it was given.
        opened: the network.
        x: the inputs in the network's type, (batch, time, feature); zero at padding.
        lengths: how many steps each sequence has, (batch,).
        concepts: by name, in the order given.
        layers: the layers that are studied.
        read: the layer that the readout reads, or None.
        head: the readout's head, or None.
        symbols: symbol -> the input that it stands for, (feature,), in the network's type; may be empty.
    """

    study: Study
    opened: Opened
    x: Tensor
    lengths: np.ndarray
    concepts: dict[str, Known]
    layers: tuple[Layer, ...]
    read: Layer | None
    head: Head | None
    symbols: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self.study.seed

    @property
    def readout(self) -> Readout:
        """The readout.

        Raises:
            ProbeError: there is none.
        """
        if self.study.readout is None:
            raise ProbeError("The study has no readout; give one to study what its answers follow.")
        return self.study.readout

    @property
    def answered(self) -> Known:
        """The concept that the readout answers."""
        return self.concepts[self.readout.concept]

    @cached_property
    def valid(self) -> np.ndarray:
        """Which steps are data, (batch, time)."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]

    def allows(self, x: np.ndarray) -> bool:
        """Return whether a sequence can occur by the study's function `valid`; True if there is none.

        Args:
            x: the inputs of the sequence, (time, feature).

        Raises:
            ProbeError: the study's function fails, or returns something that is neither true nor false.
        """
        return _allows(self.study, x, "a spliced sequence")

    @property
    def ragged(self) -> bool:
        """Whether sequences differ in length."""
        return bool((self.lengths != self.x.shape[1]).any())


def prepare(study: Study) -> Prepared:
    """Check all parts of a study.

    Raises:
        ProbeError: a part does not fit; the message says which, and what would fit.
    """
    read_in = read_array(Path(study.inputs)) if isinstance(study.inputs, (str, os.PathLike)) else None
    inputs = _array(study.inputs if read_in is None else read_in.values)
    ends = read_in.lengths if study.lengths is None and read_in is not None else study.lengths
    opened = open_network(study.network, study.name, lengths_said=ends is not None)
    opened.model.eval()
    layers = find_layers(opened.model, study.layers)
    lengths = _lengths(ends, inputs.shape)
    reads_inputs = study.network is not opened.model or isinstance(opened.model, torch.nn.RNNBase)
    if reads_inputs:
        check_features(inputs, find_layers(opened.model)[0].inputs)
    check_finite(inputs, lengths)
    values = np.where((np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None], inputs, 0)
    dtype = next((parameter.dtype for parameter in opened.model.parameters()), torch.float32)
    concepts = {name: resolve(name, one, values, lengths) for name, one in study.concepts.items()}
    if study.fixed_inputs is not None:
        _ = fixed_of(study.fixed_inputs, inputs.shape[2])
    for row, length in enumerate(lengths if study.valid is not None else ()):
        if not _allows(study, values[row, :length], f"sequence {row}"):
            raise ProbeError(f"valid says that sequence {row} of the inputs cannot occur; one of the two is wrong.")
    read, head = _readout(study, opened, layers, concepts, len(inputs))
    _check_exchange(study, concepts, lengths)
    x = torch.as_tensor(values).to(dtype)
    symbols = symbols_of(study.symbols, x, lengths)
    return Prepared(study, opened, x, lengths, concepts, layers, read, head, symbols)


def _allows(study: Study, x: np.ndarray, where: str) -> bool:
    if study.valid is None:
        return True
    wants = (
        "It is called with the inputs of one sequence, a numpy array (time, feature), and must return True or False."
    )
    with calling(f"The function valid on {where}", wants):
        possible: Any = study.valid(x.copy())
    if not isinstance(possible, (bool, np.bool_)):
        raise ProbeError(f"The function valid returned {str(possible)[:60]} on {where}. {wants}")
    return bool(possible)


def _check_exchange(study: Study, concepts: dict[str, Known], lengths: np.ndarray) -> None:
    """Raise if states cannot be patched after the step that the readout names."""
    readout = study.readout
    if readout is None or readout.interchange_step is None:
        return
    step, long = readout.interchange_step, int((lengths >= -readout.interchange_step).sum())
    if long < LEAST_SEQUENCES:
        raise ProbeError(
            f"interchange_step={step}: {several(long, 'sequence')} have so many steps; at least {LEAST_SEQUENCES} "
            f"must. The longest has {lengths.max()}."
        )
    if step < -1 and concepts[readout.concept].function is None and readout.combine is None:
        raise ProbeError(
            f"interchange_step={step}: nothing says how {readout.concept!r} changes when more is read, because it "
            "is an array. Give combine, or the concept as a function, or interchange_step=-1."
        )


def _readout(
    study: Study, opened: Opened, layers: Sequence[Layer], concepts: dict[str, Known], rows: int
) -> tuple[Layer | None, Head | None]:
    if study.readout is None:
        return None, None
    every = find_layers(opened.model)
    named = study.readout.layer
    read = find_layers(opened.model, [named])[0] if named is not None else every[-1]
    from ...recurrent.signals import Signal

    units = read.size(Signal.HIDDEN_STATE)
    return read, readouts.build(study.readout, concepts[study.readout.concept], opened, units, rows)


def fixed_of(given: Any, features: int) -> np.ndarray:
    """Return inputs that are held fixed, (symbol, feature).

    Raises:
        ProbeError: they are something else.
    """
    values = floats(given)
    if values.ndim != 2 or values.shape[1] != features or not np.isfinite(values).all() or not len(values):
        raise ProbeError(
            f"The fixed inputs have shape {values.shape}; they must be finite numbers, (symbol, {features}), as a "
            "step of the inputs has."
        )
    return values


def _array(given: Any) -> np.ndarray:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    check_axes(array)
    return array.astype(np.float64) if array.dtype != np.float32 else array


def _lengths(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    batch, time = shape[:2]
    if given is None:
        return np.full(batch, time)
    lengths = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    check_lengths(lengths, batch, time)
    return lengths.astype(int)
