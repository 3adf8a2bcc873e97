"""Computes the weights of torch layers under weight norm, spectral norm or weight dropout, as eval() does.

Weight norm keeps `_g` and `_v` (`parametrizations.weight_hh_l0.original0` and `original1`), spectral norm `_orig`,
`_u` and `_v`, pruning `_orig` and `_mask`. Reference: torch/nn/utils.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found
from . import torch_names

_WEIGHT = r"(?P<weight>(?:weight|bias)_(?:ih|hh|hr)(?:_l\d+(?:_reverse)?)?)"
_NEW = re.compile(
    rf"(?:(?P<module>.*)\.)?parametrizations\.{_WEIGHT}\.(?P<part>original|original0|original1|0\._u|0\._v)"
)
_OLD = re.compile(rf"(?:(?P<module>.*)\.)?{_WEIGHT}_(?P<part>g|v|u|orig|mask)")
_PARTS = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules of torch whose weights have torch's names, wrapped or not.

    Args:
        tensors: the arrays by name.
        choices: as of torch's own names.

    Raises:
        ProbeError: what a weight is computed from is missing, or does not fit.
    """
    wrapped: dict[str, dict[str, str]] = {}
    for name in tensors:
        if match := _NEW.fullmatch(name) or _OLD.fullmatch(name):
            weight = f"{match['module']}.{match['weight']}" if match["module"] else match["weight"]
            wrapped.setdefault(weight, {})[_PARTS.get(match["part"], match["part"])] = name
    if not wrapped:
        return torch_names.find(tensors, choices)
    parts = {name for own in wrapped.values() for name in own.values()}
    plain = {name: tensor for name, tensor in tensors.items() if name not in parts}
    for weight, own in wrapped.items():
        plain[weight] = _weight(weight, {part: tensors[name] for part, name in own.items()})
        choices.assume(f"{weight}: from {', '.join(own.values())}, as an evaluation computes it")
    found = []
    for one in torch_names.find(plain, choices):
        arrays = tuple(array for name in one.arrays for array in wrapped.get(name, {"": name}).values())
        found.append(replace(one, arrays=arrays))
    return found


def _weight(name: str, parts: Mapping[str, Tensor]) -> Tensor:
    makers: dict[frozenset[str], Callable[..., Tensor]] = {
        frozenset({"g", "v"}): _normed,
        frozenset({"orig", "u", "v"}): _spectral,
        frozenset({"orig", "u"}): _without_v,
        frozenset({"orig", "mask"}): lambda orig, mask: orig * mask,
    }
    make = makers.get(frozenset(parts))
    try:
        if make is None:
            raise ValueError(f"there is {', '.join(parts)}")
        return make(**parts)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ProbeError(
            f"{name!r} cannot be computed from what the file has ({reason}): weight norm has g and v, "
            "spectral norm orig, u and v, pruning orig and mask. Take the wrapper off before you save, with "
            "torch's remove_parametrizations or prune.remove."
        ) from error


def _normed(g: Tensor, v: Tensor) -> Tensor:
    if g.dim() == 0 and v.dim() == 2:
        return v * (g / v.norm())
    # One length for each row, or for each column.
    shapes = [[len(v), 1], [1, v.shape[-1]]] if v.dim() == 2 else []
    if list(g.shape) not in shapes:
        raise ValueError(f"g of shape {tuple(g.shape)} and v of shape {tuple(v.shape)}")
    return v * (g / v.norm(dim=1 - shapes.index(list(g.shape)), keepdim=True))


def _spectral(orig: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return orig / torch.dot(u, torch.mv(orig, v))


def _without_v(orig: Tensor, u: Tensor) -> Tensor:
    return _spectral(orig, u, torch.nn.functional.normalize(torch.mv(orig.T, u), dim=0, eps=1e-12))
