"""Writes a first study file (TOML) for a file of weights, with comments for what only its owner knows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import ProbeError
from ..loading.checkpoint import Checkpoint
from ..loading.choices import Open
from ..loading.load import survey
from ..recurrent.inspection import inspect
from ..recurrent.named_network import named_network
from ..storage.files import write_atomically
from ..subjects.readouts import KERNELS

#: How a weight's name ends, and its bias's beside it.
_BIASES = (("weight", "bias"), ("kernel", "bias"), ("w", "b"), ("W", "b"))

#: What arrays are called that are a head's, and an embedding's: only a guess, which the file says.
_HEADS = ("fc", "head", "out", "dense", "linear", "decoder", "lin")
_HEAD_STARTS = ("proj", "logit", "classif", "softmax", "output", "readout")
_EMBEDDINGS = ("emb", "lookup", "wte")


def new_study(
    file: Path, out: Path, *, given: Mapping[str, Any] = MappingProxyType({}), overwrite: bool = False
) -> Path:
    """Write a commented study file for a file of weights, and return its path."""
    if out.suffix != ".toml":
        raise ProbeError(f"{str(out)!r} ends in {out.suffix!r}; a study is written as .toml.")
    if os.path.lexists(out) and not overwrite:
        raise ProbeError(f"{str(out)!r} exists. Give another path with -o, or --overwrite to replace it.")
    return write_atomically(out, text(file, out, given))


def text(path: Path, out: Path, given: Mapping[str, Any]) -> str:
    """Return the lines of a study file."""
    found, left_open = survey(path, given)
    relative = Path(os.path.relpath(path.resolve(), out.resolve().parent)).as_posix()
    first = next(iter(found.recurrent))
    layers = inspect(named_network(first, found.recurrent[first])).layers
    features, top = layers[0].inputs, layers[-1]
    units = top.projected or top.units
    lines = [
        "# A study of one network, for: rnn-probe report " + out.name + " -o report",
        "# Paths are relative to this file. What is marked FILL IN only you know.",
        "",
        'title = ""                 # of the page',
        "seed = 0                   # of everything that is drawn",
        "",
        "[network]",
        f"file = {_quoted(relative)}",
        *_choices(given, left_open),
        *_networks(found),
        f"# layer = {json.dumps([layer.name for layer in layers], ensure_ascii=False)}   # all unless given",
        "",
        "[inputs]",
        f'file = "inputs.npy"        # FILL IN: floats (batch, time, {features}), also .npz',
        "#                            or .csv, with the columns sequence, step and one for each feature",
        '# lengths = "lengths.npy"  # whole numbers (batch,), where sequences are shorter than the time axis',
        '# valid = "study.py:valid"  # which sequences can occur: from one (time, feature) to True or False',
        '# symbols = "abc"          # a character for each feature of one-hot inputs; for others {a = [1.0, 0.5]}',
        *_fixed(features),
        "",
        "[concepts.NAME]            # FILL IN: what its states may hold; as many as you like, a table each",
        'file = "concept.npy"       # (batch, time): numbers, NaN where undefined; or texts, which are categories',
        '# function = "study.py:concept"   # instead of file: from one sequence (time, feature) to one value a step',
        '# kind = "categorical"     # of whole numbers that are names',
        '# description = "..."',
        "",
        "# Without a readout nothing can be said on what the network uses, only on what can be read.",
        "# [readout]",
        '# concept = "NAME"         # whose value at the last step is the right answer',
        *_head(found, units),
        '# combine = "added"        # the right answer after a patch, if the concept is an array; or "replaced"',
        "# interchange_step = -4    # after which step states are patched, -1 the last; else in the middle",
        '# steps = "every"          # after which steps it answers: "last" unless given, or "every"',
        "",
        "# [programs]               # what it might compute instead: one sequence (a tuple of steps) -> an answer",
        '# rival = "study.py:rival"',
    ]
    return "\n".join(lines) + "\n"


def _fixed(features: int) -> list[str]:
    """Return the line on inputs that are held fixed: an example where it fits, else what to write."""
    if features <= 4:
        return [f"# fixed = [{json.dumps([0.0] * features)}]   # to look for fixed points under"]
    return [
        "# Fixed points are looked for under the mean of many different inputs, or under what fixed = names: a list "
        f"of lists of {features} numbers"
    ]


def _networks(found: Checkpoint) -> list[str]:
    """Return the lines on the networks of a file, and which of them is meant."""
    lines = [f"# {found.source}. Networks in it:"]
    for name, module in found.recurrent.items():
        lines.append(f"#   {name or '(saved alone)'}: {type(module).__name__}")
        lines += [f"#     {layer}" for layer in inspect(named_network(name, module)).layers]
    first = _quoted(next(iter(found.recurrent)))
    one = len(found.recurrent) == 1
    return [*lines, f"# name = {first}" if one else f"name = {first}   # FILL IN which of them"]


def _choices(given: Mapping[str, Any], left_open: Sequence[Open]) -> list[str]:
    """Return the lines on what decides what the file leaves open."""
    lines: list[str] = []
    for name, value in given.items():
        if name == "names":
            pairs = ", ".join(f"{_quoted(old)} = {_quoted(new or '')}" for old, new in value.items())
            lines.append(f"names = {{{pairs}}}")
        else:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    for argument in dict.fromkeys(one.argument for one in left_open):
        mine = [one for one in left_open if one.argument == argument]
        lines += [f"# {one.layer}: {one.why}." for one in mine]
        lines.append(f"# {argument} = ...   # FILL IN, without the #; usual are {mine[0].usual}")
    return lines


def _head(found: Checkpoint, units: int) -> list[str]:
    """Return the lines on a head, with the arrays of the file that could be one."""
    framework = found.source.framework
    ways = [False] * (framework not in KERNELS) + [True] * (framework != "PyTorch")
    shapes = {name: tuple(one.shape) for name, one in found.tensors.items() if one.dim() == 2}
    weights = [(name, kernel) for kernel in ways for name, shape in shapes.items() if shape[1 - kernel] == units]
    weights.sort(key=lambda one: _unlike_a_head(one[0]))
    if not weights:
        axes = " or ".join(f"({units}, score)" if kernel else f"(score, {units})" for kernel in ways)
        return [
            f"# the file has no array {axes} that could be a linear head's weight; a function is possible:",
            '# function = "study.py:scores"   # from last hidden states, a tensor (sequence, unit), to scores',
        ]
    name, kernel = weights[0]
    scores = shapes[name][kernel]
    said = f"(unit, score) = ({units}, {scores})" if kernel else f"(score, unit) = ({scores}, {units})"
    others = ", ".join(one for one in dict.fromkeys(one for one, _ in weights) if one != name)
    more = f"; by their sizes also {others}" if others else ""
    lines = [f"# weight = {_quoted(name)}   # could be: {said}{more}"]
    for end, other in _BIASES:
        bias = name.removesuffix(end) + other
        if name.endswith(end) and bias in found.tensors and tuple(found.tensors[bias].shape) == (scores,):
            lines.append(f"# bias = {_quoted(bias)}")
    lines.append("# answers = [0, 1]         # what each score stands for, in order; 0, 1, 2, ... unless given")
    return lines


def _unlike_a_head(name: str) -> int:
    """Return 0 where an array is called like a head, 2 where it is called like an embedding, else 1."""
    parts = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if any(part.startswith(_EMBEDDINGS) for part in parts):
        return 2
    return 0 if any(part in _HEADS or part.startswith(_HEAD_STARTS) for part in parts) else 1


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
