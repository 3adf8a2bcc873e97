"""Finds the recurrent layers of PaddlePaddle, which stores every weight of a layer twice.

`lstm.weight_ih_l0_reverse` stands there again as `lstm.0.cell_bw.weight_ih`. Gates and cells are torch's.
Reference: PaddlePaddle 2.6, python/paddle/nn/layer/rnn.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found
from ..layouts import torch_names

_AGAIN = re.compile(r"(?P<start>(?:.*\.)?)(?P<level>\d+)\.cell(?P<way>_fw|_bw)?\.(?P<part>(?:weight|bias)_(?:ih|hh))")


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose weights stand there once more in a cell.

    Args:
        tensors: the arrays by name.
        choices: as of torch's own names.

    Raises:
        ProbeError: the two are not the same, or as of torch's own names.
    """
    again: dict[str, list[str]] = {}
    for name in tensors:
        match = _AGAIN.fullmatch(name)
        back = "_reverse" if match and match["way"] == "_bw" else ""
        own = f"{match['start']}{match['part']}_l{match['level']}{back}" if match else ""
        if own in tensors:
            if tensors[own].shape != tensors[name].shape or not bool((tensors[own] == tensors[name]).all()):
                raise ProbeError(
                    f"{own!r} and {name!r} are one weight in PaddlePaddle, and differ in this file. Leave one of the "
                    f"two out: names={{{name!r}: None}}."
                )
            again.setdefault(own, []).append(name)
    networks = {own.rpartition(".")[0] for own in again}
    copies = {name for names in again.values() for name in names}
    kept = {
        name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] in networks and name not in copies
    }
    found = torch_names.find(kept, choices)
    return [
        replace(
            one,
            arrays=tuple(array for name in one.arrays for array in (name, *again.get(name, ()))),
            layout=f"PaddlePaddle {type(one.module).__name__}",
        )
        for one in found
    ]
