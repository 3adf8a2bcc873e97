"""Writes a converted network: a folder of model.safetensors and config.json that leaves nothing open.

model.safetensors   the networks' weights by torch's names, gates in torch's order, and all other arrays; its metadata
                    say class and options of each network, and where it came from
config.json         the same once more, for the hub: the keyword arguments of `Networks`
README.md           a model card

`probe.load` reads the folder, and the Hugging Face hub shows it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError
from ..recurrent.inspection import inspect
from ..recurrent.named_network import named_network
from ..storage.files import as_path, is_unfinished, remove, write_atomically
from ..storage.tensor_files import OURS, about_of, as_bytes
from .checkpoint import Checkpoint
from .described import blank, describe
from .formats.converted_folder import CARD, CONFIG, WEIGHTS, read_config
from .readers import Budget

#: What a network that was saved alone is called in the folder.
ALONE = "rnn"
_EMPTY = nn.Module()
#: The most bytes that a configuration takes.
_CONFIG_BYTES = 100_000_000


class Networks(nn.Module):
    """The networks and other arrays of a converted folder as one module, whose state_dict is `model.safetensors`.

    With `class Mine(Networks, huggingface_hub.PyTorchModelHubMixin)` the hub's own `Mine.from_pretrained(folder)`
    reads the folder; `probe.load` needs no hub. A network is `model.get_submodule(name)`.

    Args:
        networks: by name, what `described.describe` returned.
        arrays: shape and dtype of every other array by name.
        source: where they came from.
        library_name: who wrote the folder.

    Raises:
        ProbeError: a network's description is none.
    """

    def __init__(
        self,
        networks: Mapping[str, Any],
        arrays: Mapping[str, Any],
        source: Mapping[str, Any],
        library_name: str = OURS,
    ) -> None:
        super().__init__()
        self.source = dict(source)
        for described in networks.values():
            place, last = self._place(described["key"])
            place.add_module(last, blank(described).to_empty(device="cpu"))
        for described in arrays.values():
            place, last = self._place(described["key"])
            dtype = getattr(torch, described["dtype"])
            place.register_buffer(last, torch.zeros(described["shape"], dtype=dtype))

    def _place(self, key: str) -> tuple[nn.Module, str]:
        """Return the module in which a dotted key ends, and its last word."""
        *words, last = key.split(".")
        place: nn.Module = self
        for word in words:
            if word not in place._modules:
                place.add_module(word, nn.Module())
            place = place.get_submodule(word)
        return place, last


def keys_of(names: Iterable[str]) -> list[str]:
    """Return a key of a state_dict for each name: the name, unless a module could not hold it beside the others.

    Args:
        names: of networks and arrays; the first come first.
    """
    found: list[str] = []
    taken: set[str] = set()
    # What something lies in.
    around: set[str] = set()
    for name in names:
        words = (name or ALONE).split(".")
        key = ".".join(word if word and not hasattr(_EMPTY, word) else f"{word}_" for word in words)
        if not _fits(key, taken, around):
            flat = "other." + key.replace(".", "/")
            number = 2
            key = flat
            while not _fits(key, taken, around):
                key, number = f"{flat}_{number}", number + 1
        found.append(key)
        taken.add(key)
        words = key.split(".")
        around |= {".".join(words[:end]) for end in range(1, len(words))}
    return found


def _fits(key: str, taken: set[str], around: set[str]) -> bool:
    words = key.split(".")
    inside = any(".".join(words[:end]) in taken for end in range(1, len(words) + 1))
    return not inside and key not in around


def convert(checkpoint: Checkpoint, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the networks of a checkpoint and all its other arrays into a folder, and return the weights' path.

    Args:
        checkpoint: what `probe.load` returned.
        folder: made where it is missing.
        overwrite: replace what an earlier conversion wrote there.

    Raises:
        ProbeError: a network is of a class that has no description, the folder holds something else, or a file cannot
            be written.
    """
    folder = as_path(folder)
    recurrent, tensors = checkpoint.recurrent, checkpoint.tensors
    keys = iter(keys_of([*recurrent, *tensors]))
    networks = {name: {"key": next(keys), **describe(module)} for name, module in recurrent.items()}
    arrays = {
        name: {"key": next(keys), "shape": list(one.shape), "dtype": str(one.dtype).removeprefix("torch.")}
        for name, one in tensors.items()
    }
    state = {
        f"{networks[name]['key']}.{own}": tensor
        for name, module in recurrent.items()
        for own, tensor in module.state_dict().items()
    }
    state |= {arrays[name]["key"]: tensor for name, tensor in tensors.items()}
    source = checkpoint.source
    told = source.facts() | {
        "file": "" if source.path is None else source.path.name,
        "layouts": dict(source.layouts),
        "gate_orders": dict(source.gate_orders),
    }
    about = {"networks": networks, "arrays": arrays, "source": told}
    # What the hub's own reader would refuse is not written.
    _ = Networks(**about)
    text = json.dumps({"library_name": OURS} | about, indent=2, ensure_ascii=False) + "\n"
    data = as_bytes(state, about)
    _check_folder(folder, data, overwrite=overwrite)
    # config.json goes first and comes last: where it exists, the weights that it describes are there.
    remove(folder / CONFIG)
    path = write_atomically(folder / WEIGHTS, data)
    write_atomically(folder / CARD, _card(checkpoint))
    write_atomically(folder / CONFIG, text)
    return path


def _check_folder(folder: Path, data: bytes, *, overwrite: bool) -> None:
    """Raise ProbeError where weights may not be written into a folder."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ProbeError(f"{str(folder)!r} is a file. Give a folder.")
    names = {file.name for file in folder.iterdir() if not is_unfinished(file)}
    weights = folder / WEIGHTS
    # What the same conversion left that was killed, or whose disk was full, is taken up.
    if not names or (names <= {WEIGHTS, CARD} and weights.is_file() and weights.read_bytes() == data):
        return
    if read_config(folder, Budget(folder / CONFIG, _CONFIG_BYTES)) is None and not _is_ours(weights):
        raise ProbeError(f"{str(folder)!r} is a folder with other things in it. Give a new one.")
    if not overwrite:
        raise ProbeError(f"{str(folder)!r} holds a converted network. Give another folder, or --overwrite.")


def _is_ours(weights: Path) -> bool:
    try:
        return "networks" in (about_of(weights) or ())
    except (OSError, ValueError):
        return False


def _card(checkpoint: Checkpoint) -> str:
    """Return a model card: the hub's lines at the top, then what is in the folder."""
    source = checkpoint.source
    lines = ["---", f"library_name: {OURS}", "tags:", "- recurrent-neural-network", "---", ""]
    of = "" if source.path is None else f" of `{source.path.name}`"
    lines += [f"Recurrent networks{of} ({source.format}), converted by {OURS}.", ""]
    for name, module in checkpoint.recurrent.items():
        lines += [f"- `{name or ALONE}`: {type(module).__name__}"]
        lines += [f"    - `{layer}`" for layer in inspect(named_network(name, module)).layers]
    notes = [f"- chosen: {sentence}" for sentence in source.chosen]
    notes += [f"- assumed: {sentence}" for sentence in source.assumed]
    lines += ["", *notes] if notes else []
    lines += ["", "```python", "import probe", "", 'networks = probe.load("this folder").recurrent', "```"]
    return "\n".join(lines) + "\n"
