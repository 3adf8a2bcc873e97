"""`load(into=model)`: puts the arrays of a file into a module of the caller, all of them by name or none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.layers import OwnModule
from .readers import listed

#: What wrappers put before every name.
_WRAPPED = ("module.", "_orig_mod.")


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return arrays without the `module.` or `_orig_mod.` that all names begin with."""
    for start in _WRAPPED:
        if tensors and all(name.startswith(start) for name in tensors):
            tensors = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def without_prefix(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return arrays by the module's names, and the prefix that all of these have in the file, such as `model.`.

    It is empty where the names are the same, or where none fits. Other arrays keep their names.

    Raises:
        ProbeError: several prefixes fit.
    """
    wanted = list(model.state_dict())
    if not wanted or set(wanted) <= set(tensors):
        return dict(tensors), ""
    starts = [name.removesuffix(wanted[0]) for name in tensors if name.endswith(f".{wanted[0]}")]
    fitting = [start for start in starts if all(start + name in tensors for name in wanted)]
    if len(fitting) > 1:
        raise ProbeError(
            f"The file holds all arrays of {type(model).__name__} {len(fitting)} times, below {listed(fitting)}: one "
            "of them may be a copy with averaged weights. Leave out all but one, such as "
            f"names={{{f'{fitting[1]}*'!r}: None}}."
        )
    ours = {f"{fitting[0]}{name}": name for name in wanted} if fitting else {}
    if not {*wanted}.isdisjoint({*tensors} - {*ours}):  # an array beside them has the name of one of them
        return dict(tensors), ""
    return {ours.get(name, name): tensor for name, tensor in tensors.items()}, "".join(fitting)


@torch.no_grad()
def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """Copy arrays into a module's parameters and buffers of the same names.

    Args:
        model: changed in place, if everything fits.
        tensors: by the names of its state_dict.

    Returns:
        Its recurrent modules by name.

    Raises:
        ProbeError: names are missing or too many, or an array has another shape or kind of number; the module is then
            unchanged.
    """
    state = model.state_dict()
    missing, extra = [name for name in state if name not in tensors], [name for name in tensors if name not in state]
    if missing or extra:
        raise ProbeError(
            f"The file and {type(model).__name__} hold different arrays. Missing in the file: {listed(missing)}. "
            f"Not in the module: {listed(extra)}. Say with names= what the file's arrays are called in the module, "
            "or leave them out with None."
        )
    for name, tensor in tensors.items():
        wanted = state[name]
        if tensor.shape != wanted.shape or tensor.is_floating_point() != wanted.is_floating_point():
            raise ProbeError(
                f"{name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype} in the file; "
                f"{type(model).__name__} has {tuple(wanted.shape)} of {wanted.dtype}. The file is of another network."
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all() and not torch.isinf(tensor).any():
            raise ProbeError(
                f"{name!r} holds values that are no numbers (NaN). The training broke, or the file is damaged."
            )
    for name, tensor in tensors.items():
        # copy_, not assign=True: tensors of a file lie at any address, and a kernel may sum in another order there.
        state[name].copy_(tensor)
    kinds = (nn.RNNBase, nn.RNNCellBase, OwnModule)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
