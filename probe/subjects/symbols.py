"""The symbols that a study's page writes for the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several

#: A token's name may have so many characters.
LONGEST = 30


def symbols_of(given: Any, x: Tensor, lengths: np.ndarray, tokens: int | None = None) -> dict[str, np.ndarray]:
    """Return what stands for each input that occurs.

    Args:
        given: of `Study.symbols`.
        x: the inputs in the network's type.
        lengths: of the sequences.
        tokens: how many token ids the network embeds; None where the inputs are none. A token may have a longer name,
            and where nothing is given it is called by its number.

    Raises:
        ProbeError: a symbol is no single character, stands for something else than an input, for the same one as
            another, or an input has none.
    """
    features = x.shape[2]
    if tokens is not None:
        given = _names_of_tokens(given, x, lengths, tokens)
    if given is None:
        return {}
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
        short = isinstance(symbol, str) and 1 <= len(symbol) <= (1 if tokens is None else LONGEST)
        printed = short and symbol.isprintable()
        if not printed or row.shape != (features,) or not np.isfinite(row).all():
            raise ProbeError(
                f"The symbol {str(symbol)[:20]!r} stands for {str(value)[:60]}; a symbol is "
                f"{'one printed character' if tokens is None else f'1 to {LONGEST} printed characters'}, and stands "
                f"for {several(features, 'number')}."
            )
        symbols[symbol] = torch.as_tensor(row).to(x.dtype).numpy()
    rows = {tuple(row.tolist()) for row in symbols.values()}
    if len(rows) < len(symbols):
        raise ProbeError("Two symbols stand for the same input; give each input one.")
    for row, length in enumerate(lengths):
        for step, value in enumerate(x[row, :length].tolist()):
            if tuple(value) not in rows:
                raise ProbeError(
                    f"The input at sequence {row}, step {step} is {str(value)[:60]}, and no symbol stands for it; "
                    "name every input that occurs, or leave symbols out."
                )
    return symbols


def _names_of_tokens(given: Any, x: Tensor, lengths: np.ndarray, tokens: int) -> Any:
    """Return a table symbol -> id, of a text or list that names ids in order; each id that occurs by its number."""
    if given is None:
        there = np.arange(x.shape[1]) < lengths[:, None]
        return {str(int(one)): one for one in np.unique(x[:, :, 0].numpy()[there])}
    if not isinstance(given, (str, list, tuple)):
        return given
    if len(given) > tokens or len(set(map(str, given))) < len(given):
        raise ProbeError(
            f"symbols names {several(len(given), 'token')}, {len(set(map(str, given)))} of them different, and the "
            f"network embeds {tokens}. Give each id a name of its own, in order, or a table: symbol = id."
        )
    return {one: place for place, one in enumerate(given)}


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
