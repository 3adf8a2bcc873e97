"""`probe.load`: opens a file of weights of any known framework and returns its recurrent modules."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..arguments import checked_arguments
from ..errors import ProbeError, another_cell
from ..storage.files import as_path
from .checkpoint import Checkpoint, Source
from .choices import Choices, Open
from .detect import open_path
from .formats.keras_files import KerasModel
from .formats.onnx_file import OnnxModel
from .formats.safetensors_file import Converted
from .initial import check_initial
from .into_module import fill, unwrapped, without_prefix
from .layer_spec import Found
from .layouts import (
    flax_names,
    haiku_names,
    keras_layers,
    keras_weights,
    onnx_nodes,
    own_metadata,
    tf1_names,
    torch_wrapped,
)
from .readers import ERRORS, Contents, listed
from .unusable import check_usable, last_word

#: The most bytes that loading a file may take at its peak, unless more are asked for.
MEMORY = 8_000_000_000


@checked_arguments()
def load(
    path: str | os.PathLike[str],
    *,
    into: nn.Module | None = None,
    names: Mapping[str, str | None] | None = None,
    forget_bias: float | None = None,
    gate_activation: str | None = None,
    activation: str | None = None,
    reset: str | None = None,
    gate_order: str | None = None,
    memory: int = MEMORY,
) -> Checkpoint:
    """Return the recurrent networks of a file that another program wrote, each the same network or none.

    Read are PyTorch (state_dicts, checkpoints with one, TorchScript), safetensors, numpy (.npz, .npy, a folder of
    them), pickles of arrays, Keras 2 and 3 (needs `rnn-probe[keras]`), TensorFlow (without TensorFlow), ONNX (needs
    `rnn-probe[onnx]`), Flax (needs `rnn-probe[flax]`), Haiku, and folders of `rnn-probe convert`. No code of a file
    runs. Layers are found by names and shapes. Where a file does not say all that decides what a layer computes, the
    argument that does is demanded; one that decides nothing in a file is refused.

    Args:
        path: a file, the folder of a SavedModel or of .npy files, or a TensorFlow checkpoint without its ending.
        into: a module of yours that takes the arrays by their names instead, all of them; it is changed only if all
            fit, and returned modules are its own.
        names: what arrays are to be called, by their name in the file, where they are not recognised, such as
            `{"my_w": "encoder.weight_ih_l0"}`; None leaves an array or a layer out; a `*` stands for any letters.
        forget_bias: what an LSTM cell of TensorFlow 1 adds to its forget gate at run time; no checkpoint
            says it.
        gate_activation: of gates, where a file of weights alone does not say it: `sigmoid`, `hard_sigmoid_keras2`,
            ...
        activation: of a plain RNN's state, or of a gated layer's candidate, where the file does not say it.
        reset: where a GRU without biases resets, `before` or `after` the product.
        gate_order: how the gates follow each other in arrays with torch's names, such as `i o f g` or `z r n`:
            where it is not torch's order, and wherever `names=` gave them these names.
        memory: the most bytes that loading may take at its peak. Numbers lie in memory up to three times: as they
            were read, in torch's order, and in their module.

    Returns:
        The modules by name, all other arrays, and where they came from.

    Raises:
        ProbeError: the file is missing, damaged, hostile or of another kind; a choice is missing or decides nothing;
            or a layer computes what no cell here computes.
    """
    given = {
        "forget_bias": forget_bias,
        "gate_activation": gate_activation,
        "activation": activation,
        "reset": reset,
        "gate_order": gate_order,
    }
    choices = Choices(given, _renames(names))
    return _load(as_path(path), into, names or {}, choices, memory)


def survey(path: str | os.PathLike[str], given: Mapping[str, Any]) -> tuple[Checkpoint, tuple[Open, ...]]:
    """Return what `load` would find in a file, and the choices that it would demand.

    Where there are any, the modules only tell their names and sizes: they are not the networks of the file.

    Args:
        path: as of `load`.
        given: arguments of `load` by name, all but `into`.

    Raises:
        ProbeError: as of `load`, but for a choice that is missing.
    """
    more = dict(given)
    names, memory = more.pop("names", None), more.pop("memory", MEMORY)
    choices = Choices(more, _renames(names), survey=True)
    return _load(as_path(path), None, names or {}, choices, memory), tuple(choices.open)


def _load(
    path: Path, into: nn.Module | None, names: Mapping[str, str | None], choices: Choices, memory: int
) -> Checkpoint:
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise ProbeError(f"memory={memory!r} must be a number of bytes, 1 or more, such as {MEMORY}.")
    if not isinstance(into, nn.Module | None):
        raise ProbeError(f"into= is a {type(into).__name__}; give a torch.nn.Module, which takes the file's arrays.")
    contents = open_path(path, memory)
    what = f"{str(path)!r}, a file of the kind {contents.format!r}"
    called, skipped = _renamed(contents, names)
    if into is not None:
        choices.check_all_taken(what + " loaded into a module")
        found = _filled(contents, called, into, choices, skipped)
    else:
        found = _loaded(contents, called, choices, skipped, what, renamed=any(names.values()))
    return replace(found, source=replace(found.source, path=path))


def _loaded(
    contents: Contents,
    called: Mapping[str, str],
    choices: Choices,
    skipped: frozenset[str],
    what: str,
    *,
    renamed: bool,
) -> Checkpoint:
    found = _found(contents, called, choices, None if renamed else skipped)
    layers = [tuple(called.get(name, name) for name in one.arrays) for one in found]
    check_usable(layers, contents.left_out, skipped)
    for one in found:
        if not choices.renamed.keys().isdisjoint(one.arrays):
            order = f" and the gates in the order {one.gate_order}" if one.gate_order else ""
            choices.assume(
                f"{one.name or 'the network'}: it computes what a {one.layout} computes, with arrays in its "
                f"layout{order}, as names= calls them"
            )
    if not found:
        raise ProbeError(
            f"There are no weights of a recurrent network in {what}. {_likely(contents)}Known are torch's names "
            "(NETWORK.weight_ih_l0 and NETWORK.weight_hh_l0), Keras's (LAYER/kernel and LAYER/recurrent_kernel) and "
            f"TensorFlow 1's (basic_lstm_cell/kernel); there is {listed(contents.tensors)}. Say with names= what "
            "they are called there, such as names={'my_array': 'encoder.weight_ih_l0'}, and with gate_order= how the "
            f"gates of a cell written by hand follow each other in them. {another_cell()}"
        )
    choices.check_all_taken(what)
    checkpoint = _checkpoint(contents, called, found, choices)
    if contents.description is None:
        # What a file says of its layers itself has been represented, or refused.
        kept = set(called.values())
        check_initial(checkpoint.recurrent, {name: one for name, one in checkpoint.tensors.items() if name in kept})
    return checkpoint


def _likely(contents: Contents) -> str:
    """Return what in a file looks like a recurrent layer all the same, sentences, or ""."""
    loops = onnx_nodes.loops(contents.description) if isinstance(contents.description, OnnxModel) else ""
    named = [name for name in contents.tensors if re.search(r"lstm|gru|rnn", name, re.IGNORECASE)]
    if loops or not named:
        return loops
    return (
        f"The names of {len(named)} arrays are of a recurrent layer ({listed(named, 3)}): their layout, or the cell "
        "that has such arrays, is not known here. "
    )


def _found(
    contents: Contents, called: Mapping[str, str], choices: Choices, skipped: frozenset[str] | None
) -> list[Found]:
    """Return the modules of a file."""
    description = contents.description
    if isinstance(description, Converted) and skipped is not None:
        return own_metadata.find(description, contents.tensors, choices, skipped)
    if isinstance(description, KerasModel) and description.config is not None and skipped is not None:
        return _find(keras_layers.find, contents, choices, skipped)
    if isinstance(description, OnnxModel) and skipped is not None:
        nodes = onnx_nodes.find(description, choices, skipped)
        if nodes:
            return nodes
    tensors = {new: contents.tensors[old] for new, old in called.items()}
    layouts: tuple[Callable[..., list[Found]], ...] = (
        torch_wrapped.find,
        keras_weights.find,
        tf1_names.find,
        flax_names.find,
        haiku_names.find,
    )
    layers: list[Found] = []
    for find in layouts:
        own = _find(find, tensors, choices)
        # An array belongs to one layer: torch's `lstm_cell.weight_ih` has a name that TensorFlow's cells could have.
        used = {name for one in own for name in one.arrays}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in used}
        layers += own
    return layers


def _find(find: Callable[..., list[Found]], *given: Any) -> list[Found]:
    """Return what a layout finds, and its own error where arrays have kinds of numbers or axes that it cannot use."""
    try:
        return find(*given)
    except ERRORS as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ProbeError(
            f"The arrays of a layer do not fit together ({reason}). The file is damaged, or of another kind; leave "
            "the layer's arrays out with names={'LAYER*': None}."
        ) from error


def _renames(names: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return the file's names by those that a caller gave, of arrays whose own names say nothing of what they are."""
    pairs = names.items() if isinstance(names, Mapping) else [] if names is None else [(None, names)]
    if not all(isinstance(old, str) and isinstance(new, str | None) for old, new in pairs):
        raise ProbeError(
            f"names={str(names)[:80]} must be a dict: what each array is to be called by its name in the file, or "
            "None to leave it out, such as {'my_array': 'encoder.weight_ih_l0'}."
        )
    return {new: old for old, new in (names or {}).items() if new and last_word(new) != last_word(old)}


def _renamed(contents: Contents, names: Mapping[str, str | None]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the file's names by those that a caller gave, without what is left out; and the names left out."""
    called: dict[str, str] = {name: name for name in contents.tensors}
    skipped: set[str] = set()
    for pattern, new in names.items():
        every = [*contents.tensors, *contents.left_out]
        matching = [name for name in every if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if new is None:
            skipped |= {pattern, *matching}
        elif matching != [pattern] or pattern not in contents.tensors:
            kind = contents.left_out.get(pattern)
            reason = f"that holds {kind}" if kind else "the file has no array of that name"
            raise ProbeError(f"names= calls {pattern!r} {new!r}, and {reason}; it has {listed(contents.tensors)}.")
        for name in matching:
            called.pop(name, None)
            if new is not None:
                called[new] = name
    if len(set(called.values())) < len(called):
        raise ProbeError("names= gives one array two names. Give each one name.")
    return called, frozenset(skipped)


def _checkpoint(contents: Contents, called: Mapping[str, str], found: list[Found], choices: Choices) -> Checkpoint:
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ProbeError(
            f"Two layers are called {twice!r}. Leave the arrays of one out, or rename them, with names=."
        )
    arrays = {one.name: tuple(called.get(name, name) for name in one.arrays) for one in found}
    used = {name for every in arrays.values() for name in every}
    source = Source(
        contents.framework,
        contents.format,
        {one.name: one.layout for one in found},
        {one.name: one.gate_order for one in found},
        tuple(choices.chosen),
        tuple(choices.assumed),
        contents.version,
    )
    rest = {name: tensor for name, tensor in contents.tensors.items() if name not in used}
    if isinstance(contents.description, Converted):
        rest = {contents.description.arrays.get(name, name): tensor for name, tensor in rest.items()}
    return Checkpoint({one.name: one.module for one in found}, rest, source, arrays, tuple(contents.left_out))


def _filled(
    contents: Contents, called: Mapping[str, str], into: nn.Module, choices: Choices, skipped: frozenset[str]
) -> Checkpoint:
    check_usable([tuple(called.values())], contents.left_out, skipped)
    tensors, prefix = without_prefix(into, unwrapped({new: contents.tensors[old] for new, old in called.items()}))
    if prefix:
        choices.assume(f"names in the file begin with {prefix!r}, and those of {type(into).__name__} do not")
    modules = fill(into, tensors)
    arrays = {
        name: tuple(f"{name}.{own}" if name else own for own in module.state_dict())
        for name, module in modules.items()
    }
    used = {name for every in arrays.values() for name in every}
    rest = {name: tensor for name, tensor in tensors.items() if name not in used}
    for name, every in arrays.items():
        if not choices.renamed.keys().isdisjoint(every):
            choices.assume(f"{name or 'the module'}: arrays that names= renamed are in the layout of the module")
    source = Source(contents.framework, contents.format, assumed=tuple(choices.assumed), version=contents.version)
    return Checkpoint(modules, rest, source, arrays)
