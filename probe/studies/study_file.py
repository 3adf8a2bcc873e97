"""The TOML reader of a study file; a Python file that defines `study` is read too."""

from __future__ import annotations

import dataclasses
import glob
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..errors import ProbeError, unknown
from ..evidence.measurements import Network
from ..loading.load import load
from ..storage.input_files import Given, read_array
from ..subjects.concepts import Concept
from ..subjects.functions import calling, load_file, load_function
from ..subjects.readouts import COMBINES, LAST, Readout
from .networks import name_and_pair
from .study import Study

#: Arguments of `probe.load`, where a file leaves a choice open, and what each must be.
CHOICES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "forget_bias": ((int, float), "a number, such as 1.0"),
    "gate_activation": ((str,), "a text, such as 'sigmoid'"),
    "activation": ((str,), "a text, such as 'tanh'"),
    "reset": ((str,), "a text, 'before' or 'after'"),
    "gate_order": ((str,), "a text, such as 'i o f g'"),
    "names": ((dict,), 'texts, such as {"old" = "new", "left_out" = ""}'),
    "memory": ((int,), "a whole number of bytes"),
}
#: What each table of a study file may have.
KEYS = {
    "": ("title", "seed", "questions", "network", "inputs", "concepts", "readout", "programs"),
    "network": ("file", "module", "name", "layers", "controls", "tolerance", *CHOICES),
    "inputs": ("file", "key", "lengths", "valid", "symbols", "fixed"),
    "readout": (
        "concept",
        "weight",
        "bias",
        "transposed",
        "function",
        "kind",
        "answers",
        "layer",
        "combine",
        "interchange_step",
        "steps",
        "probability_of",
    ),
}
#: Where a message says an argument as Python does: the table and the key that say it in a study file.
SAID = {
    **dict.fromkeys(("name", "layers", "tolerance", *CHOICES), "network"),
    **dict.fromkeys(("lengths", "valid", "symbols", "fixed_inputs"), "inputs"),
    **dict.fromkeys(KEYS["readout"], "readout"),
    "programs": "programs",
    "key": "",
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
            f"{str(path)!r} ends in {path.suffix!r}; give a .toml file, or a .py file that defines study or "
            "report(folder, *, jobs), or a folder whose report.py defines the latter."
        )
    if not path.is_file():
        raise ProbeError(f"There is no study {str(path)!r}. Give the path of one; rnn-probe new-study writes one.")
    return study_of(load_file(path), path, seed) if path.suffix == ".py" else _seeded(_of_toml(path), seed)


def study_of(module: Any, path: Path, seed: int | None = None) -> Study:
    """Return the study that a Python file defines.

    Args:
        module: the file, run.
        path: of the file.
        seed: instead of the study's own, or None.

    Raises:
        ProbeError: it defines no `study`, or something else that is called so.
    """
    found = vars(module).get("study")
    if not isinstance(found, Study):
        raise ProbeError(
            f"{str(path)!r} defines {'no study' if found is None else f'study as a {type(found).__name__}'}; it "
            "must hold study = probe.Study(...), or define report(folder, *, jobs)."
        )
    return _seeded(found, seed)


def _seeded(study: Study, seed: int | None) -> Study:
    return study if seed is None else dataclasses.replace(study, seed=seed)


def in_the_file(message: str) -> str:
    """Return how the arguments of Python that a message names are said in a study's TOML file; empty if it does so.

    Args:
        message: of an error.
    """
    named = [name for name in SAID if re.search(rf"\b{name}=", message)]
    if not named or "under [" in message:
        return ""
    # A file's own table is what the message begins with.
    own = re.match(r"(inputs|concepts\.[^:,]+)[:,]", message)
    parts = []
    for name in named:
        table = (own[1] if own else "") if name == "key" else SAID[name]
        if table:
            parts.append(f"{name.removesuffix('_inputs')} = ..., under [{table}]")
    if not parts:
        return " In the study's file no key says which: give a .npy file, or an archive of one array."
    return f" In the study's file: {'; '.join(parts)}."


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
    given, lengths = _inputs(folder, inputs)
    valid = _optional(inputs, "inputs", "valid")
    return Study(
        networks=_networks(folder, network),
        inputs=given,
        concepts={name: _concept(folder, name, one, lengths) for name, one in _table(content, "concepts").items()},
        lengths=lengths,
        symbols=inputs.get("symbols"),
        valid=None if valid is None else load_function(valid, folder, "inputs.valid"),
        name=_optional(network, "network", "name"),
        layers=_names(network, "network", "layers"),
        readout=_readout(folder, _table(content, "readout")) if "readout" in content else None,
        programs={
            name: load_function(_text({name: one}, "programs", name), folder, f"programs.{name}")
            for name, one in _table(content, "programs").items()
        },
        fixed_inputs=inputs.get("fixed"),
        title=str(content.get("title", "")),
        seed=content.get("seed", 0),
        questions=content.get("questions"),
        tolerance=network.get("tolerance"),
    )


def _networks(folder: Path, network: Mapping[str, Any]) -> Any:
    """Return the network that a file names; several of them where it is a pattern or has controls."""
    choices, controls, made = _choices(network), _table(network, "controls"), "module" in network
    if made and "file" not in network:
        alone = next(iter([*choices, *(["controls"] if controls else [])]), None)
        if alone is not None:
            raise ProbeError(
                f"{alone} under [network] speaks of files of weights. Leave it out, or give file = beside module, "
                "whose arrays are loaded into the module."
            )
        return _module(folder, network)

    def loaded(path: Path) -> Any:
        if not made:
            return load(path, **choices)
        model = _module(folder, network)
        _ = load(path, into=model, **choices)
        return model

    file = _text(network, "network", "file")
    if not glob.has_magic(file) and not controls:
        return loaded(folder / file)
    paths = {"trained": _paths(folder, file, "file under [network]")} | {
        role: _paths(folder, _text(controls, "network.controls", role), f"{role} under [network.controls]")
        for role in controls
    }
    if not made:
        return {role: [loaded(path) for path in every] for role, every in paths.items()}
    named = [(role, path, *name_and_pair(role, path.stem)) for role, every in paths.items() for path in every]
    return [Network(name, role, loaded(path), pair) for role, path, name, pair in named]


def _paths(folder: Path, pattern: str, where: str) -> list[Path]:
    paths = sorted(Path(found) for found in glob.glob(str(folder / pattern)))
    if not paths:
        raise ProbeError(
            f"{where} is {pattern!r}, and no file is called so. Paths are relative to the study's folder."
        )
    return paths


def _module(folder: Path, network: Mapping[str, Any]) -> nn.Module:
    """Return a new module, made by the function or class that `module` names, or the one that it names itself."""
    named = _text(network, "network", "module")
    make = load_function(named, folder, "network.module")
    wants = "It is called without arguments and must return a torch.nn.Module."
    with calling(f"module = {named!r} under [network]", wants):
        found = make if isinstance(make, nn.Module) else make()
    if not isinstance(found, nn.Module):
        raise ProbeError(f"module = {named!r} under [network] returned a {type(found).__name__}. {wants}")
    return found


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


def _choices(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `probe.load` under [network]; an empty name leaves an array out."""
    given = {name: network[name] for name in CHOICES if name in network}
    for name, value in given.items():
        kinds, wanted = CHOICES[name]
        inside = value.values() if isinstance(value, dict) else ()
        right = isinstance(value, kinds) and not isinstance(value, bool)
        if not right or not all(isinstance(new, str) for new in inside):
            raise ProbeError(f"{name} under [network] is {str(value)[:60]!r}; it must be {wanted}.")
    if "forget_bias" in given:
        given["forget_bias"] = float(given["forget_bias"])
    if "names" in given:
        given["names"] = {old: new or None for old, new in given["names"].items()}
    return given


def _inputs(folder: Path, table: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inputs, and how many steps each sequence has where that is said."""
    given = _given(folder, table, "inputs")
    if "lengths" not in table:
        return given.values, given.lengths
    if given.lengths is not None:
        raise ProbeError("lengths under [inputs] is said by the .csv file itself. Leave it out.")
    return given.values, read_array(folder / _text(table, "inputs", "lengths"), what="inputs.lengths").values


def _key(table: Mapping[str, Any], where: str) -> str | list[str] | None:
    return _names(table, where, "key") if isinstance(table.get("key"), list) else _optional(table, where, "key")


def _given(folder: Path, table: Mapping[str, Any], where: str) -> Given:
    """Return the array that a table's `file` names, and `key` in an archive or a table of columns.

    Raises:
        ProbeError: there is none, or it cannot be read.
    """
    path = folder / _text(table, where, "file")
    if not path.is_file():
        raise ProbeError(f"{where}: there is no file {str(path)!r}. Paths in a study are relative to its own folder.")
    return read_array(path, _key(table, where), where)


def _concept(folder: Path, name: str, table: Any, lengths: np.ndarray | None) -> Concept:
    if not isinstance(table, Mapping):
        raise ProbeError(
            f"concepts.{name} is a {type(table).__name__}; it must be a table: [concepts.{name}] with file or "
            "function."
        )
    _check(table, CONCEPT, f"concepts.{name}")
    where = f"concepts.{name}"
    if ("file" in table) == ("function" in table):
        raise ProbeError(f"[{where}] must have either file (an array (batch, time)) or function ('study.py:{name}').")
    if "file" in table:
        values: Any = _aligned(_given(folder, table, where), lengths, where)
    else:
        values = load_function(_text(table, where, "function"), folder, where)
    return Concept(values, _optional(table, where, "kind"), str(table.get("description", "")))


def _aligned(given: Given, lengths: np.ndarray | None, where: str) -> np.ndarray:
    """Return the values of a concept, (batch, time), once they are known to be of the inputs' sequences."""
    if given.lengths is None:
        return given.values
    if len(given.columns) > 1:
        raise ProbeError(f"{where}: the file has the columns {', '.join(given.columns)}; say which with key =.")
    ends = np.full(len(given.lengths), given.values.shape[1]) if lengths is None else np.asarray(lengths)
    if ends.shape != given.lengths.shape or (ends != given.lengths).any():
        raise ProbeError(
            f"{where}: the file has {len(given.lengths)} sequences of {given.lengths.min()} to {given.lengths.max()} "
            f"steps, and the inputs have {len(ends)} of {ends.min()} to {ends.max()}. Give a row for each step of "
            "the inputs, sequences in the same order."
        )
    return given.values[:, :, 0]


def _readout(folder: Path, table: Mapping[str, Any]) -> Readout:
    combine = _optional(table, "readout", "combine")
    if combine is not None and combine not in COMBINES:
        combine = load_function(combine, folder, "readout.combine") if ":" in combine else combine
    function = _optional(table, "readout", "function")
    answers = table.get("answers")
    if answers is not None and not isinstance(answers, list):
        raise ProbeError(f"answers under [readout] is {str(answers)[:60]!r}; it must be a list, one for each score.")
    transposed = table.get("transposed")
    if transposed is not None and not isinstance(transposed, bool):
        raise ProbeError(f"transposed under [readout] is {str(transposed)[:60]!r}; it must be true or false.")
    steps = table.get("steps", LAST)
    numbers = isinstance(steps, list) and all(type(one) is int for one in steps)
    if not isinstance(steps, str) and not numbers:
        raise ProbeError(
            f'steps under [readout] is {str(steps)[:60]!r}; it must be "last", "every", or whole numbers in '
            "brackets, such as [1, 3]."
        )
    return Readout(
        concept=_text(table, "readout", "concept"),
        weight=_optional(table, "readout", "weight"),
        bias=_optional(table, "readout", "bias"),
        transposed=transposed,
        function=None if function is None else load_function(function, folder, "readout.function"),
        kind=_optional(table, "readout", "kind"),
        answers=answers,
        layer=_optional(table, "readout", "layer"),
        combine=combine,
        interchange_step=table.get("interchange_step"),
        steps=steps,
        probability_of=_symbols(table),
    )


def _symbols(table: Mapping[str, Any]) -> list[Any] | None:
    given = table.get("probability_of")
    if given is not None and not isinstance(given, list):
        raise ProbeError(f'probability_of under [readout] is {str(given)[:60]!r}; it must be a list, such as ["."].')
    return given
