"""Finds recurrent layers by MXNet gluon's names, such as `lstm0_l0_i2h_weight`.

Arrays, gates and cells are torch's under other names. Reference: MXNet 1.9, gluon/rnn/rnn_layer.py and rnn_cell.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ..choices import Choices
from ..layer_spec import Found
from ..layouts import torch_names

_ARRAY = r"(?P<side>i2h|h2h|h2r)_(?P<part>weight|bias)"
_NAMES = (
    re.compile(rf"(?:(?P<net>.*?)[._])??(?P<way>[lr])(?P<level>\d+)_{_ARRAY}"),
    re.compile(rf"(?:(?P<net>.*)\.)?_unfused\.(?P<level>\d+)(?:\.(?P<way>[lr])_cell)?\.{_ARRAY}"),
    re.compile(rf"(?:(?P<net>.*)[._])?{_ARRAY}"),
)
_SIDES = {"i2h": "ih", "h2h": "hh", "h2r": "hr"}


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as gluon names them.

    Args:
        tensors: the arrays by name.
        choices: as of torch's own names.

    Raises:
        ProbeError: as of torch's own names, in these.
    """
    renamed: dict[str, str] = {}
    for name in tensors:
        match = next((found for pattern in _NAMES if (found := pattern.fullmatch(name))), None)
        if match is not None:
            parts = match.groupdict()
            back = "_reverse" if parts.get("way") == "r" else ""
            own = f"{match['part']}_{_SIDES[match['side']]}_l{parts.get('level') or 0}{back}"
            renamed[f"{match['net']}.{own}" if match["net"] else own] = name
    found = torch_names.find({new: tensors[old] for new, old in renamed.items()}, choices)
    return [
        replace(
            one,
            arrays=tuple(renamed[name] for name in one.arrays),
            layout=f"gluon {type(one.module).__name__}",
        )
        for one in found
    ]
