"""A study from a file: a TOML file that names everything, or a Python file that defines `study`."""

from __future__ import annotations

import tokenize
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProbeError, unknown
from .concepts import Concept
from .functions import load_file, load_function
from .readouts import COMBINES, Readout
from .study import Study

#: What each table of a study file may have.
KEYS = {
    "": ("title", "seed", "network", "inputs", "concepts", "readout", "programs"),
    "network": ("file", "name", "nonlinearity", "layers"),
    "inputs": ("file", "key", "lengths", "fixed"),
    "readout": ("concept", "weight", "bias", "function", "kind", "answers", "layer", "combine"),
}
CONCEPT = ("file", "key", "function", "kind", "description")


def read_study(path: Path, seed: int | None = None) -> Study:
    """Return the study in a file; paths in it are relative to its folder.

    Args:
        path: a .toml file, or a .py file that defines `study`, which is run.
        seed: instead of the file's own, or None.

    Raises:
        ProbeError: the file is missing, damaged or names what does not exist.
    """
    if path.suffix not in (".toml", ".py"):
        raise ProbeError(
            f"{str(path)!r} ends in {path.suffix!r}; a study is a .toml file, or a .py file that defines study."
        )
    if not path.is_file():
        raise ProbeError(f"There is no study {str(path)!r}. Give the path of one; rnn-probe new-study writes one.")
    study = _of_python(path) if path.suffix == ".py" else _of_toml(path)
    if seed is None:
        return study
    import dataclasses

    return dataclasses.replace(study, seed=seed)


def _of_python(path: Path) -> Study:
    found = vars(load_file(path)).get("study")
    if not isinstance(found, Study):
        raise ProbeError(
            f"{str(path)!r} defines {'no study' if found is None else f'study as a {type(found).__name__}'}; it "
            "must hold "
            "study = probe.Study(...)."
        )
    return found


def _of_toml(path: Path) -> Study:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ProbeError(
            f"{str(path)!r} is no TOML ({error}). Mend the line, or write a new one: rnn-probe new-study."
        ) from error
    folder = path.parent
    for name, keys in KEYS.items():
        _check(content if not name else _table(content, name), keys, name)
    network, inputs = _table(content, "network"), _table(content, "inputs")
    return Study(
        network=folder / _text(network, "network", "file"),
        inputs=array(folder, inputs, "inputs"),
        concepts={name: _concept(folder, name, one) for name, one in _table(content, "concepts").items()},
        lengths=None
        if "lengths" not in inputs
        else _read(folder / _text(inputs, "inputs", "lengths"), None, "inputs.lengths"),
        name=_optional(network, "network", "name"),
        nonlinearity=_optional(network, "network", "nonlinearity"),
        layers=_names(network, "network", "layers"),
        readout=_readout(folder, _table(content, "readout")) if "readout" in content else None,
        programs={
            name: load_function(_text({name: one}, "programs", name), folder, f"programs.{name}")
            for name, one in _table(content, "programs").items()
        },
        fixed_inputs=inputs.get("fixed"),
        title=str(content.get("title", "")),
        seed=content.get("seed", 0),
    )


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, Mapping):
        raise ProbeError(f"{name} is a {type(found).__name__}; it must be a table: [{name}] on a line of its own.")
    return found


def _check(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ProbeError((f"Under [{where}]: " if where else "The study: ") + unknown("key", key, keys))


def _text(table: Mapping[str, Any], where: str, key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str) or not found.strip():
        given = "is missing" if found is None else f"is {str(found)[:60]!r}"
        raise ProbeError(f"{key} under [{where}] {given}; it must be a text, such as a file's path.")
    return found


def _optional(table: Mapping[str, Any], where: str, key: str) -> str | None:
    if key not in table:
        return None
    if not isinstance(table[key], str):
        raise ProbeError(f"{key} under [{where}] is {str(table[key])[:60]!r}; it must be a text.")
    return table[key]


def _names(table: Mapping[str, Any], where: str, key: str) -> list[str] | None:
    found = table.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise ProbeError(
            f'{key} under [{where}] is {str(found)[:60]!r}; it must be names in brackets: {key} = ["rnn[0]"].'
        )
    return found


def array(folder: Path, table: Mapping[str, Any], where: str) -> np.ndarray:
    """Return the array that a table's `file`, and `key` of an archive, name.

    Raises:
        ProbeError: there is none, or it cannot be read.
    """
    return _read(folder / _text(table, where, "file"), _optional(table, where, "key"), where)


def _read(path: Path, key: str | None, where: str) -> np.ndarray:
    if not path.is_file():
        raise ProbeError(f"{where}: there is no file {str(path)!r}. Paths in a study are relative to its own folder.")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise ProbeError(
            f"{where}: {str(path)!r} cannot be read ({error}). Give a .npy file that numpy.save wrote, or a .npz "
            "with key =."
        ) from error
    if isinstance(found, np.ndarray):
        return found
    with found:
        names = list(found.files)
        if key is None and len(names) != 1:
            raise ProbeError(f"{where}: {path.name!r} is an archive of {', '.join(names)}; say which with key =.")
        chosen = names[0] if key is None else key
        if chosen not in names:
            raise ProbeError(f"{where}: " + unknown("array", chosen, names))
        try:
            return found[chosen]
        except ValueError as error:
            raise ProbeError(
                f"{where}: {chosen!r} in {path.name!r} holds Python objects; save numbers or texts."
            ) from error


def _concept(folder: Path, name: str, table: Any) -> Concept:
    if not isinstance(table, Mapping):
        raise ProbeError(
            f"concepts.{name} is a {type(table).__name__}; it must be a table: [concepts.{name}] with file or "
            "function."
        )
    _check(table, CONCEPT, f"concepts.{name}")
    where = f"concepts.{name}"
    if ("file" in table) == ("function" in table):
        raise ProbeError(f"[{where}] must have either file (an array (batch, time)) or function ('study.py:{name}').")
    values: Any = (
        array(folder, table, where)
        if "file" in table
        else load_function(_text(table, where, "function"), folder, where)
    )
    return Concept(values, _optional(table, where, "kind"), str(table.get("description", "")))


def _readout(folder: Path, table: Mapping[str, Any]) -> Readout:
    combine = _optional(table, "readout", "combine")
    if combine is not None and combine not in COMBINES:
        combine = load_function(combine, folder, "readout.combine") if ":" in combine else combine
    function = _optional(table, "readout", "function")
    answers = table.get("answers")
    if answers is not None and not isinstance(answers, list):
        raise ProbeError(f"answers under [readout] is {str(answers)[:60]!r}; it must be a list, one for each score.")
    return Readout(
        concept=_text(table, "readout", "concept"),
        weight=_optional(table, "readout", "weight"),
        bias=_optional(table, "readout", "bias"),
        function=None if function is None else load_function(function, folder, "readout.function"),
        kind=_optional(table, "readout", "kind"),
        answers=answers,
        layer=_optional(table, "readout", "layer"),
        combine=combine,
    )
