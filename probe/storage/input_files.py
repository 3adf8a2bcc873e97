"""Reads a network's inputs: .npy, one array of an .npz, or a .csv with one row for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, several, unknown
from .damaged import ERRORS, reason

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: The columns of a table that say where a row belongs.
PLACES = ("sequence", "step")
_ADVICE = (
    "Give a .npy file that numpy.save wrote, an .npz file that numpy.savez wrote, or a .csv file with the columns "
    "sequence and step, and one for each feature"
)


@dataclass(frozen=True, eq=False)
class Given:
    """An array of a file.

    Attributes:
        values: of .npy and .npz as it is; of .csv (batch, time, column), zero or "" where a sequence has ended.
        lengths: how many steps each sequence has, (batch,), where the file says it: of .csv.
        columns: of .csv, the names of the last axis.
    """

    values: np.ndarray
    lengths: np.ndarray | None = None
    columns: tuple[str, ...] = ()


def read_array(path: Path, key: str | Sequence[str] | None = None, what: str = "The inputs") -> Given:
    """Return the array of a file; nothing pickled is opened."""
    if not path.is_file():
        raise ProbeError(f"{what}: there is no file {str(path)!r}. {_ADVICE}.")
    if path.suffix.lower() == ".csv":
        return _of_table(path, [key] if isinstance(key, str) else key, what)
    if key is not None and not isinstance(key, str):
        raise ProbeError(f"{what}: several columns, {list(key)}, are those of a .csv file; {str(path)!r} is none.")
    return _of_numpy(path, key, what)


def check_axes(values: np.ndarray, what: str = "The inputs", features: int | str = "feature") -> None:
    """Raise ProbeError where inputs are no numbers, (batch, time, feature); for the message, how many are read."""
    if values.dtype.kind not in "fiub" or values.ndim != 3 or 0 in values.shape:
        hint = ""
        if values.ndim == 2:
            hint = " Of one number a step make x[:, :, None]; tokens must be embedded first."
        raise ProbeError(
            f"{what} are {values.dtype} of shape {values.shape}; they must be numbers, (batch, time, {features}), "
            f"with at least one of each.{hint}"
        )


def check_features(values: np.ndarray, features: int, what: str = "The inputs") -> None:
    """Raise ProbeError where a network reads another number of features at a step."""
    if values.shape[2] != features:
        raise ProbeError(
            f"{what} have shape {values.shape}; the network reads {several(features, 'feature')} a step, so they "
            f"must be (batch, time, {features})."
        )


def check_lengths(lengths: np.ndarray, batch: int, time: int) -> None:
    """Raise ProbeError where lengths are not how many steps each sequence has."""
    import numpy as np

    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ProbeError(
            f"The lengths are {lengths.dtype} of shape {lengths.shape}; they must be whole numbers, one for each of "
            f"the {batch} sequences."
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > time))
    if len(wrong):
        raise ProbeError(
            f"Sequence {wrong[0]} has the length {lengths[wrong[0]]}; the inputs have {time} steps, so it must be 1 "
            f"to {time}. Leave empty sequences out."
        )


def check_finite(values: np.ndarray, lengths: np.ndarray, what: str = "The inputs") -> None:
    """Raise ProbeError where inputs that are no padding are no finite numbers."""
    import numpy as np

    valid = np.arange(values.shape[1]) < lengths[:, None]
    wrong = np.argwhere(~np.isfinite(values).all(2) & valid)
    if len(wrong):
        row, step = wrong[0]
        value = values[row, step][~np.isfinite(values[row, step])][0]
        raise ProbeError(
            f"{what} are {value} at sequence {row}, step {step} ({several(len(wrong), 'step')} in all). Give finite "
            "numbers; where shorter sequences are padded, give their lengths."
        )


def _of_numpy(path: Path, key: str | None, what: str) -> Given:
    import numpy as np

    try:
        # Opened here: of a damaged file numpy would leave it open.
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                return Given(found[_chosen(path, key, list(found.files), what)])
            if key is not None:
                raise ProbeError(f"{what}: {str(path)!r} is one array without names; leave out {key!r}.")
            return Given(found)
    except ERRORS as error:
        raise ProbeError(f"{what}: {str(path)!r} cannot be read ({reason(error)}). {_ADVICE}.") from error


def _chosen(path: Path, key: str | None, names: list[str], what: str) -> str:
    if key is None and len(names) != 1:
        listed = ", ".join(map(repr, names)) or "nothing"
        raise ProbeError(f"{what}: {str(path)!r} is an archive of {listed}. Say which array with key=.")
    chosen = names[0] if key is None else key
    if chosen not in names:
        raise ProbeError(f"{what}, in {str(path)!r}: " + unknown("array", chosen, names))
    return chosen


def _of_table(path: Path, keys: Sequence[str] | None, what: str) -> Given:
    import numpy as np
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except ERRORS as error:
        raise ProbeError(f"{what}: {str(path)!r} cannot be read ({error}). {_ADVICE}.") from error
    missing = [name for name in PLACES if name not in table.columns]
    if missing:
        raise ProbeError(
            f"{what}: {str(path)!r} has no column {missing[0]!r}; it has {', '.join(map(repr, table.columns))}. "
            f"{_ADVICE}."
        )
    columns = [str(name) for name in table.columns if name not in PLACES]
    wrong = [key for key in keys or () if key not in columns]
    if wrong:
        raise ProbeError(f"{what}, in {str(path)!r}: " + unknown("column", wrong[0], columns))
    columns = columns if keys is None else list(keys)
    if not columns or table.empty:
        raise ProbeError(f"{what}: {str(path)!r} has {several(len(table), 'row')} and no feature in them. {_ADVICE}.")
    rows, lengths = _places(path, table, what)
    values: Any = table[columns].to_numpy()
    if values.dtype == object:
        values = values.astype(str)
    array = np.zeros((len(lengths), int(lengths.max()), len(columns)), values.dtype)
    array[rows] = values
    return Given(array, lengths, tuple(columns))


def _places(path: Path, table: pd.DataFrame, what: str) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return for each row its sequence, in order of appearance, and its step, from 0; and the lengths."""
    import numpy as np

    sequences: Any = table["sequence"]
    steps: Any = table["step"]
    if sequences.isna().any() or not np.issubdtype(steps.dtype, np.integer):
        raise ProbeError(
            f"{what}: {str(path)!r} must name its sequence and its step, a whole number, in every row; the column "
            f"step is of {steps.dtype}."
        )
    numbers, names = sequences.factorize()
    steps = steps.to_numpy() - int(steps.min())
    lengths = np.bincount(numbers)
    # As many rows as steps, each once: none is left out, and none comes twice.
    order = np.lexsort((steps, numbers))
    expected = np.concatenate([np.arange(length) for length in lengths])
    wrong = np.flatnonzero(steps[order] != expected)
    if len(wrong):
        row = order[wrong[0]]
        raise ProbeError(
            f"{what}: in {str(path)!r} the steps of sequence {names[numbers[row]]!r} are not one after the other, "
            f"each once, from the table's first step, {int(table['step'].min())}; see step "
            f"{table['step'].iloc[row]}."
        )
    return (numbers, steps), lengths
