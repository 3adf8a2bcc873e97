"""A first study file for a checkpoint: what is in it, and what only its owner knows."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import ProbeError
from ..files import write_atomically
from ..inspection import inspect
from ..network_files import held
from .loading import File, open_file


def new_study(file: Path, out: Path, *, nonlinearity: str | None = None, overwrite: bool = False) -> Path:
    """Write a commented study file for a file of weights, and return its path.

    Args:
        file: the weights.
        out: where the study goes, a .toml file.
        nonlinearity: of a plain RNN in the file.
        overwrite: replace a file that is there.

    Raises:
        ProbeError: the weights cannot be read, or the study's file exists.
    """
    if out.suffix != ".toml":
        raise ProbeError(f"{str(out)!r} ends in {out.suffix!r}; a study is written as .toml.")
    if os.path.lexists(out) and not overwrite:
        raise ProbeError(f"{str(out)!r} exists. Give another path with -o, or --overwrite to replace it.")
    return write_atomically(out, text(file, out, open_file(file, nonlinearity), nonlinearity))


def text(path: Path, out: Path, found: File, nonlinearity: str | None = None) -> str:
    """Return the lines of a study file.

    Args:
        path: of the weights.
        out: where the study will lie, which paths in it are relative to.
        found: what the file of weights holds.
        nonlinearity: of a plain RNN.
    """
    relative = Path(os.path.relpath(path.resolve(), out.resolve().parent)).as_posix()
    first = next(iter(found.recurrent))
    layers = inspect(held(first, found.recurrent[first])).layers
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
        f"# {found.source}. Networks in it:",
    ]
    for name, module in found.recurrent.items():
        lines.append(f"#   {name or '(saved alone)'}: {type(module).__name__}")
        lines += [f"#     {layer}" for layer in inspect(held(name, module)).layers]
    chosen = len(found.recurrent) > 1
    lines.append(
        f"{'' if chosen else '# '}name = {_quoted(first)}" + ("   # FILL IN which of them" if chosen else "")
    )
    if nonlinearity is not None:
        lines.append(f"nonlinearity = {_quoted(nonlinearity)}")
    lines += [
        f"# layers = {json.dumps([layer.name for layer in layers], ensure_ascii=False)}   # all unless given",
        "",
        "[inputs]",
        f'file = "inputs.npy"        # FILL IN: floats (batch, time, {features}); or a .npz with key =',
        '# lengths = "lengths.npy"  # whole numbers (batch,), where sequences are shorter than the time axis',
        f"# fixed = [{json.dumps([0.0] * features) if features <= 4 else '[...]'}]   # to look for fixed points "
        "under",
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
        '# combine = "added"        # of a concept that is an array: what exchanged states add; or "replaced"',
        "",
        "# [programs]               # what it might compute instead: one sequence (a tuple of steps) -> an answer",
        '# rival = "study.py:rival"',
    ]
    return "\n".join(lines) + "\n"


def _head(found: File, units: int) -> list[str]:
    """Return the lines on a head, with the arrays of the file that could be one."""
    weights = [name for name, one in found.tensors.items() if one.dim() == 2 and one.shape[1] == units]
    if not weights:
        return [
            f"# the file has no array (score, {units}) that could be a linear head's weight; a function is possible:",
            '# function = "study.py:scores"   # from last hidden states, a tensor (sequence, unit), to scores',
        ]
    name = weights[0]
    scores = len(found.tensors[name])
    bias = name.removesuffix("weight") + "bias"
    same = bias in found.tensors and tuple(found.tensors[bias].shape) == (scores,)
    lines = [f"# weight = {_quoted(name)}   # (score, unit) = ({scores}, {units}); could be: {', '.join(weights)}"]
    lines += [f"# bias = {_quoted(bias)}"] if same else []
    lines.append("# answers = [0, 1]         # what each score stands for, in order; 0, 1, 2, ... unless given")
    return lines


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
