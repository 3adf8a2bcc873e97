"""The symbols that a study's page writes for the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several


def symbols_of(given: Any, x: Tensor, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Return what stands for each input that occurs.

    Args:
        given: of `Study.symbols`.
        x: the inputs in the network's type.
        lengths: of the sequences.

    Raises:
        ProbeError: a symbol is no single character, stands for something else than an input, for the same one as
            another, or an input has none.
    """
    if given is None:
        return {}
    features = x.shape[2]
    if isinstance(given, str):
        if len(given) != features:
            raise ProbeError(
                f"symbols={given!r} has {several(len(given), 'character')} and the inputs "
                f"{several(features, 'feature')}; a text has one for each feature of one-hot inputs. Otherwise give "
                "a table: symbol = numbers."
            )
        given = dict(zip(given, np.eye(features).tolist(), strict=True))
    if not isinstance(given, Mapping):
        raise ProbeError(f"symbols is a {type(given).__name__}; give a text, or a table: symbol = numbers.")
    symbols: dict[str, np.ndarray] = {}
    for symbol, value in given.items():
        row = np.atleast_1d(floats(value))
        printed = isinstance(symbol, str) and len(symbol) == 1 and symbol.isprintable()
        if not printed or row.shape != (features,) or not np.isfinite(row).all():
            raise ProbeError(
                f"The symbol {str(symbol)[:20]!r} stands for {str(value)[:60]}; a symbol is one printed character, "
                f"and stands for {several(features, 'number')}."
            )
        symbols[symbol] = torch.as_tensor(row).to(x.dtype).numpy()
    rows = [tuple(row.tolist()) for row in symbols.values()]
    if len(set(rows)) < len(rows):
        raise ProbeError("Two symbols stand for the same input; give each input one.")
    for row, length in enumerate(lengths):
        for step, value in enumerate(x[row, :length].tolist()):
            if tuple(value) not in set(rows):
                raise ProbeError(
                    f"The input at sequence {row}, step {step} is {str(value)[:60]}, and no symbol stands for it; "
                    "name every input that occurs, or leave symbols out."
                )
    return symbols


def floats(value: Any) -> np.ndarray:
    """Return numbers as an array; NaN for what is none."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return np.full(1, np.nan)


def fixed_of(given: Any, features: int) -> np.ndarray:
    """Return inputs that are held fixed, (symbol, feature).

    Args:
        given: of `Study.fixed_inputs`.
        features: how many numbers an input has.

    Raises:
        ProbeError: they are something else.
    """
    if isinstance(given, Mapping):
        for name, value in given.items():
            row = np.atleast_1d(floats(value))
            if (
                not isinstance(name, str)
                or not name.strip()
                or row.shape != (features,)
                or not np.isfinite(row).all()
            ):
                raise ProbeError(
                    f"The fixed input {str(name)[:60]!r} is {str(value)[:60]}; a name, which is a text, stands for "
                    f"{several(features, 'finite number')}, as a step of the inputs has."
                )
        given = [np.atleast_1d(floats(value)) for value in given.values()]
    values = floats(given)
    if values.ndim != 2 or values.shape[1] != features or not np.isfinite(values).all() or not len(values):
        raise ProbeError(
            f"The fixed inputs have shape {values.shape}; they must be finite numbers, (symbol, {features}), as a "
            "step of the inputs has, or a table: name = numbers."
        )
    return values
