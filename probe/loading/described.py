"""Writes a recurrent module as JSON values (class and options, no code) and builds it again from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..recurrent.custom import CustomGRU, CustomLSTM, CustomModule, CustomRNN
from .layer_spec import DTYPES
from .modules import Backwards, BothWays, Masked

_STACKS = (nn.LSTM, nn.GRU, nn.RNN)
_CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_CUSTOM = (CustomLSTM, CustomGRU, CustomRNN)
#: Modules around others: their options, and what they hold.
_AROUND: Mapping[type[nn.Module], tuple[tuple[str, ...], tuple[str, ...]]] = {
    Backwards: (("restored",), ("module",)),
    BothWays: (("merge",), ("forward_module", "backward_module")),
    Masked: (("by", "zeros"), ("module",)),
}
_CLASSES = {kind.__name__: kind for kind in (*_STACKS, *_CELLS, *_CUSTOM, *_AROUND)}
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
#: Arguments of torch's modules that no description has.
_OWN = frozenset(("batch_first", "device", "dtype"))
#: So many modules one inside another a description may have, and so many layers a stack.
_DEEPEST, _MOST_LAYERS = 5, 1000


def describe(module: nn.Module) -> dict[str, Any]:
    """Return a recurrent module without its numbers: class, options, dtype, the modules in it.

    Raises:
        ProbeError: it is of a class that has no description.
    """
    kind: Any = type(module)
    if kind not in _CLASSES.values():
        raise ProbeError(
            f"A {kind.__name__} cannot be written; {', '.join(_CLASSES)} can. Save its state_dict with torch.save, "
            "and load it with probe.load(path, into=model)."
        )
    if kind in _AROUND:
        options, held = _AROUND[kind]
        inside = {name: describe(getattr(module, name)) for name in held}
        return {
            "class": kind.__name__,
            "options": {name: getattr(module, name) for name in options},
            "modules": inside,
        }
    (dtype,) = {str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}
    return {"class": kind.__name__, "dtype": dtype, "options": _options(module)}


def _options(module: Any) -> dict[str, Any]:
    found = {"input_size": module.input_size, "hidden_size": module.hidden_size, "bias": module.bias}
    if isinstance(module, CustomModule):
        return found | dict(module.options) | {"learned_initial_state": "h_0" in module.state_dict()}
    if isinstance(module, nn.RNNBase):
        found |= {"num_layers": module.num_layers, "bidirectional": module.bidirectional}
    if isinstance(module, nn.LSTM):
        found |= {"proj_size": module.proj_size}
    if isinstance(module, (nn.RNN, nn.RNNCell)):
        found |= {"nonlinearity": module.nonlinearity}
    return found


def blank(described: Any) -> nn.Module:
    """Return the module of a description without memory for its numbers, on the device `meta`, batch first.

    Raises:
        ProbeError: the description is none.
    """
    with torch.device("meta"):
        return _made(described, 0).eval()


def build(described: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the module of a description with its numbers, batch first, in evaluation mode.

    Args:
        described: what `describe` returned.
        tensors: by the names of its state_dict.

    Raises:
        ProbeError: the description is none, or the tensors are not those of such a module.
    """
    made = blank(described)
    wanted = {name: (tuple(one.shape), one.dtype) for name, one in made.state_dict().items()}
    found = {name: (tuple(one.shape), one.dtype) for name, one in tensors.items()}
    if wanted != found:
        name = next(name for name in [*wanted, *found] if wanted.get(name) != found.get(name))
        raise ProbeError(
            f"The configuration describes {_shape(wanted.get(name))} as {name!r}, and the weights hold "
            f"{_shape(found.get(name))}. The two files do not belong together; convert the original anew."
        )
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ProbeError(f"{name!r} holds values that are not finite. The file is damaged; convert anew.")
    made = made.to_empty(device="cpu")
    made.load_state_dict(dict(tensors), strict=True)
    return made


def _made(described: Any, depth: int) -> nn.Module:
    if not isinstance(described, Mapping) or not isinstance(described.get("options"), Mapping) or depth > _DEEPEST:
        raise ProbeError(f"A network is described as {str(described)[:80]!r}; it must have a class and options.")
    name = described.get("class")
    if not isinstance(name, str) or name not in _CLASSES:
        raise ProbeError(unknown("class of recurrent modules", name, _CLASSES))
    kind: Any = _CLASSES[name]
    options = dict(described["options"])
    try:
        if kind in _AROUND:
            inside = described.get("modules")
            if not isinstance(inside, Mapping) or tuple(inside) != _AROUND[kind][1]:
                raise ProbeError(f"A {name} is described with other modules in it than {_AROUND[kind][1]}.")
            return kind(*(_made(one, depth + 1) for one in inside.values()), **options)
        if not _OWN.isdisjoint(options):
            raise ValueError(f"{', '.join(sorted(_OWN))} are no options here")
        if any(isinstance(value, int) and not -1 < value < 2**31 for value in options.values()):
            raise ValueError("a size that no network has")
        if options.get("num_layers", 1) > _MOST_LAYERS:
            raise ValueError(f"more than {_MOST_LAYERS} layers")
        if kind not in _CELLS:
            options["batch_first"] = True
        return kind(**options).to(_DTYPES[str(described.get("dtype"))])
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ProbeError(
            f"A {name} with the options {str(options)[:200]} cannot be made ({type(error).__name__}: {error}). The "
            "configuration is damaged; convert the original anew."
        ) from error


def _shape(found: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "nothing" if found is None else f"{found[0]} of {str(found[1]).removeprefix('torch.')}"
