"""Refuses what cannot be recorded or edited: unusual dtypes, meta tensors, tracing, types that are too narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ..errors import ProbeError

if TYPE_CHECKING:
    from .layers import Layer

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]

_TENSOR: Any = Tensor
_IS_META = attrgetter("is_meta")
_DENSE = "It reads dense tensors of floating-point numbers."


def check_call(layer: Layer, given: Iterable[object]) -> None:
    """Raise ProbeError where a layer was called with tensors, or in surroundings, in which its run cannot be opened.

    Args:
        layer: any layer of the module called.
        given: its input and states; whatever is no tensor is passed over.
    """
    tensors = [value for value in given if isinstance(value, Tensor)]
    parameters = _parameters(layer.module)
    weight = _floating(parameters)
    _check_surroundings(layer, [*tensors, *parameters])
    for tensor in tensors:
        kind = _kind(tensor)
        if kind is not None:
            raise ProbeError(f"Layer {layer.name!r} was called with {kind}. {_DENSE}")
        if weight is not None and tensor.device != weight.device:
            raise ProbeError(
                f"Layer {layer.name!r} was called with numbers on {tensor.device}; its weights are on "
                f"{weight.device}. Move the model or its input with .to(device)."
            )
    _refuse_types(layer, weight, tensors, returned=False)


def check_types(layer: Layer, tensors: Iterable[Tensor], *, returned: bool) -> None:
    """Raise ProbeError where tensors have another type than the layer's weights.

    Args:
        layer: any layer of the module called.
        tensors: what it was called with, or what it returned.
        returned: which of the two.
    """
    _refuse_types(layer, _floating(_parameters(layer.module)), tensors, returned=returned)


def _floating(parameters: Iterable[Tensor]) -> Tensor | None:
    for one in parameters:
        if one.is_floating_point():
            return one
    return None


def _refuse_types(layer: Layer, weight: Tensor | None, tensors: Iterable[Tensor], *, returned: bool) -> None:
    kind = None if weight is None else weight.dtype
    other = [tensor.dtype for tensor in tensors if tensor.dtype != kind]
    if weight is None or not other:
        return
    if returned:
        raise ProbeError(
            f"Layer {layer.name!r} returned {_name(other[0])} numbers; its weights are {_name(weight.dtype)}. Take "
            "away what changes the type of its output, such as a hook."
        )
    raise ProbeError(
        f"Layer {layer.name!r} was called with {_name(other[0])} numbers; its weights are {_name(weight.dtype)}. "
        f"Give the model and its input one type: model.to(torch.{_name(other[0])})."
    )


def _parameters(module: nn.Module) -> list[Tensor]:
    """Return what `module.parameters()` yields, shared ones as often as they occur; that takes ten times as long."""
    own = [one for one in module._parameters.values() if one is not None]
    return own + [one for part in module._modules.values() if part is not None for one in _parameters(part)]


def transformed(tensors: Sequence[Tensor]) -> bool:
    """Return whether tensors carry more than numbers, as in vmap, torch.func.grad and forward-mode derivatives."""
    if any(map(_functorch.is_functorch_wrapped_tensor, tensors)):
        return True
    return forward_ad._current_level >= 0 and any(
        forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors
    )


def autocast_type(tensor: Tensor) -> torch.dtype | None:
    """Return the type in which torch.autocast computes with a tensor of another type, or None."""
    device = tensor.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    computed = torch.get_autocast_dtype(device)
    return computed if tensor.is_floating_point() and tensor.dtype != computed else None


def check_plain(layer: Layer, tensors: Sequence[Tensor]) -> None:
    """Raise ProbeError where tensors carry more than numbers.

    Args:
        layer: the layer that was called with them.
        tensors: its input and states.
    """
    if transformed(tensors):
        raise ProbeError(
            f"Layer {layer.name!r} was called inside a transform of torch.func or forward-mode differentiation, "
            "where tensors carry more than numbers. Call the model outside; gradient_of= gives derivatives."
        )


def _check_surroundings(layer: Layer, tensors: Sequence[Tensor]) -> None:
    """Raise where torch does something else with the numbers than a module's call does by itself."""
    check_plain(layer, tensors)
    if torch._C._get_tracing_state() is not None or any(map(_holds_no_numbers, {*map(type, tensors)})):
        raise ProbeError(
            f"Layer {layer.name!r} was called to make a graph of the model (torch.jit.trace, torch.export, fake "
            "tensors), where there are no numbers to read or edit. Call the model itself."
        )
    if any(map(_IS_META, tensors)):
        raise ProbeError(
            f"Layer {layer.name!r} is on the meta device, where there are no numbers to read or edit. Give the model "
            "its weights, and its input, on a real device."
        )
    for tensor in tensors if torch._C._is_any_autocast_enabled() else ():
        computed = autocast_type(tensor)
        if computed is not None:
            raise ProbeError(
                f"Layer {layer.name!r} was called under torch.autocast, which computes some operations in "
                f"{_name(computed)} where numbers are {_name(tensor.dtype)}. Record and edit outside it, or in one "
                f"type: model.to(torch.{_name(computed)})."
            )


def _holds_no_numbers(kind: Any) -> bool:
    """Return whether tensors of a type stand for some elsewhere, or not there: fake ones, traced ones, DTensors."""
    return kind.__torch_dispatch__ is not _TENSOR.__torch_dispatch__


def _kind(tensor: Tensor) -> str | None:
    """Return what is unusual about a tensor, after "with", or None."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_quantized:
        return "a quantized tensor"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})"
    if not tensor.is_floating_point():
        return f"{_name(tensor.dtype)} numbers"
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def converted(
    value: Tensor,
    what: object,
    advice: str,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return a tensor in another type and place.

    Args:
        value: numbers.
        what: what it is, for the message, where it becomes a text.
        advice: what else can be done, a sentence; `{}` in it stands for a type that holds the numbers.
        dtype: the type, or None for the same.
        device: the place, or None for the same.

    Raises:
        ProbeError: a finite number becomes infinite in this type, or a complex one real.
    """
    if dtype is not None and value.is_complex() and not dtype.is_complex:
        raise ProbeError(f"{what} holds complex numbers, and {_name(dtype)} holds none. Give real ones.")
    found = value.to(device=device, dtype=dtype)
    floats = value.is_floating_point() or value.is_complex()
    if found.dtype == value.dtype or (floats and torch.promote_types(found.dtype, value.dtype) == found.dtype):
        return found
    if not bool(found.detach().isinf().any()):
        return found
    given, new = (torch.view_as_real(one) if one.is_complex() else one for one in (value.detach(), found.detach()))
    lost = new.isinf().to(given.device) & given.isfinite()
    if not bool(lost.any()):
        return found
    most = float(given[lost].abs().max())
    wide = torch.float32 if most <= torch.finfo(torch.float32).max else torch.float64
    limit = torch.finfo(found.dtype).max
    raise ProbeError(
        f"{what} holds {most:.6g}, and {_name(found.dtype)} holds at most {limit:.6g}: it would become infinite. "
        f"{advice.format(f'torch.{_name(wide)}')}"
    )
