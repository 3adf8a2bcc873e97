"""The TOML reader of a study file; a Python file that defines `study` is read too."""

from __future__ import annotations

import dataclasses
import glob
import tomllib
from collections.abc import Mapping, Sequence
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

#: Arguments of `probe.load`, where a file leaves a choice open.
CHOICES: Mapping[str, Any] = {
    **dict.fromkeys(("gate_activation", "activation", "reset", "gate_order"), str),
    "forget_bias": int | float,
    "names": dict,
    "memory": int,
}
#: What each table of a study file may have.
KEYS = {
    "": ("title", "seed", "questions", "network", "inputs", "concepts", "readout", "programs"),
    "network": ("file", "module", "name", "layer", "call", "controls", "tolerance", *CHOICES),
    "inputs": ("file", "key", "lengths", "groups", "valid", "symbols", "fixed"),
    "readout": tuple(one.name for one in dataclasses.fields(Readout)),
}
#: What a readout gets as it stands in the file.
_GIVEN = ("weight", "bias", "kind", "layer", "answers", "interchange_step", "output")
CONCEPT = ("file", "key", "function", "kind", "description")
#: What is checked where it is used; of all others a text is wanted, or what `TYPES` says.
FREE = (*KEYS[""], "controls", "tolerance", "symbols", "fixed", "transposed", "interchange_step", "steps")
TYPES = {
    **dict.fromkeys(FREE, object),
    "answers": list,
    **dict.fromkeys(("layer", "groups"), str | list),
    "output": int | str,
    "key": str | list,
    **CHOICES,
}
#: What a message calls a type.
WORDS = {
    str: "a text",
    int: "a whole number",
    int | float: "a number",
    int | str: 'a place in a tuple, or a name, such as "logits"',
    list: 'a list, such as ["rnn[0]"]',
    str | list: "a text, or several in brackets",
    dict: 'texts, such as {"old" = "new", "left_out" = ""}',
}


def read_study(path: Path, seed: int | None = None) -> Study:
    """Return the study in a file; paths in it are relative to its folder."""
    if path.suffix not in (".toml", ".py"):
        raise ProbeError(
            f"{str(path)!r} ends in {path.suffix!r}; give a .toml file, or a .py file that defines study."
        )
    if not path.is_file():
        raise ProbeError(f"There is no study {str(path)!r}. Give the path of one; rnn-probe new-study writes one.")
    study = _of_toml(path) if path.suffix == ".toml" else vars(load_file(path)).get("study")
    if not isinstance(study, Study):
        found = "no study" if study is None else f"study as a {type(study).__name__}"
        raise ProbeError(f"{str(path)!r} defines {found}; it must hold study = probe.Study(...).")
    return study if seed is None else dataclasses.replace(study, seed=seed)


def _of_toml(path: Path) -> Study:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ProbeError(
            f"{str(path)!r} is no TOML ({error}). Mend the line, or write a new one: rnn-probe new-study."
        ) from error
    folder = path.parent
    for name, keys in KEYS.items():
        _check(_table(content, name) if name else content, keys, name)
    network, inputs = _table(content, "network"), _table(content, "inputs")
    given, lengths = _inputs(folder, inputs)
    valid, call = inputs.get("valid"), network.get("call")
    return Study(
        networks=_networks(folder, network),
        inputs=given,
        concepts={name: _concept(folder, name, one, lengths) for name, one in _table(content, "concepts").items()},
        lengths=lengths,
        groups=_groups(folder, inputs.get("groups")),
        symbols=inputs.get("symbols"),
        valid=None if valid is None else load_function(valid, folder, "inputs.valid"),
        call=None if call is None else load_function(call, folder, "network.call"),
        name=network.get("name"),
        layer=network.get("layer"),
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


def _check(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Raise if a table has a key that it may not have, or under one what that may not be."""
    for key, found in table.items():
        if key not in keys:
            raise ProbeError((f"Under [{where}]: " if where else "The study: ") + unknown("key", key, keys))
        kind = TYPES.get(key, str)
        right = isinstance(found, kind) and (kind is object or not isinstance(found, bool))
        if right and key in ("names", "layer", "key"):
            parts: Any = found.values() if isinstance(found, dict) else found
            right = all(isinstance(one, str) for one in parts)
        if not right:
            raise ProbeError(f"{key} under [{where}] is {str(found)[:60]!r}; it must be {WORDS[kind]}.")


def _text(table: Mapping[str, Any], where: str, key: str) -> str:
    """Return a text that must be there."""
    found = table.get(key)
    if not isinstance(found, str) or not found.strip():
        raise ProbeError(f"{key} under [{where}] is missing; it must be a text, such as a file's path.")
    return found


def _choices(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `probe.load` under [network]; an empty name leaves an array out."""
    given = {name: network[name] for name in CHOICES if name in network}
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


def _groups(folder: Path, given: Any) -> Any:
    """Return the group of each sequence: what the table holds itself, or an array in a file."""
    return read_array(folder / given, what="inputs.groups").values if isinstance(given, str) else given


def _given(folder: Path, table: Mapping[str, Any], where: str) -> Given:
    """Return the array that a table's `file` names, and `key` in an archive or a table of columns."""
    path = folder / _text(table, where, "file")
    if not path.is_file():
        raise ProbeError(f"{where}: there is no file {str(path)!r}. Paths in a study are relative to its own folder.")
    return read_array(path, table.get("key"), where)


def _concept(folder: Path, name: str, table: Any, lengths: np.ndarray | None) -> Concept:
    where = f"concepts.{name}"
    _check(_table({where: table}, where), CONCEPT, where)
    if ("file" in table) == ("function" in table):
        raise ProbeError(f"[{where}] must have either file (an array (batch, time)) or function ('study.py:{name}').")
    if "file" in table:
        values: Any = _aligned(_given(folder, table, where), lengths, where)
    else:
        values = load_function(_text(table, where, "function"), folder, where)
    return Concept(values, table.get("kind"), str(table.get("description", "")))


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
    combine, function = table.get("combine"), table.get("function")
    if combine is not None and combine not in COMBINES and ":" in combine:
        combine = load_function(combine, folder, "readout.combine")
    return Readout(
        concept=_text(table, "readout", "concept"),
        **{name: table.get(name) for name in _GIVEN},
        transposed=table.get("transposed"),
        function=None if function is None else load_function(function, folder, "readout.function"),
        combine=combine,
        steps=table.get("steps", LAST),
    )
