"""With what, and in which surroundings, a module is called: calls are refused whose run cannot be opened.

These are tensors of unusual types, meta tensors, tracing, autocast and transforms; and what runs a part of the model
again in the backward pass, or in another thread than the context that should see it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence, Set
from contextvars import ContextVar
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ..errors import ProbeError
from .signals import name_of

if TYPE_CHECKING:
    from .layers import Layer

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]

_TENSOR: Any = Tensor
_IS_META = attrgetter("is_meta")
_DENSE = "It reads dense tensors of floating-point numbers."
#: The backward classes that torch made, one for each function, and the code of all forwards at that time.
_known: tuple[list[Any], set[Any]] = [], set()

#: The contexts that were entered in this thread or task, the outermost first: recordings, interventions, sweeps.
open_here: ContextVar[tuple[ReferenceType[Any], ...]] = ContextVar("rnn-probe's contexts", default=())


def contexts_here() -> list[Any]:
    """Return the contexts that answer in this thread or task, the outermost first; each follows its `modules`."""
    # What copies a context into another thread (asyncio.to_thread) does not take these along.
    here = threading.get_ident()
    return [one for each in open_here.get() if (one := each()) is not None and one.answers and one.thread == here]


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
            f"Layer {layer.name!r} returned {name_of(other[0])} numbers; its weights are {name_of(weight.dtype)}. "
            "Take away what changes the type of its output, such as a hook."
        )
    raise ProbeError(
        f"Layer {layer.name!r} was called with {name_of(other[0])} numbers; its weights are {name_of(weight.dtype)}. "
        f"Give the model and its input one type: model.to(torch.{name_of(other[0])})."
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
                f"{name_of(computed)} where numbers are {name_of(tensor.dtype)}. Record and edit outside it, or in "
                f"one type: model.to(torch.{name_of(computed)})."
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
        return f"{name_of(tensor.dtype)} numbers"
    return None


def in_backward() -> bool:
    """Return whether a backward pass is under way, in which checkpoints run their part again: nobody's call."""
    return torch._C._current_graph_task_id() != -1


def refuse_checkpoint(name: str, advice: str, *, under_autograd: bool, in_a_pass: bool) -> None:
    """Raise ProbeError in a call that a backward pass will make again, where no session would see it.

    Args:
        name: of the layer called.
        advice: what else can be done.
        under_autograd: whether the call, or its model's, is under autograd.
        in_a_pass: whether it is part of a forward pass of the model.
    """
    what = _checkpointed() if under_autograd else ""
    if what or ((under_autograd or not in_a_pass) and inside_a_function()):
        raise ProbeError(
            f"Layer {name!r} runs inside {what or 'a torch.autograd.Function'}, which runs it again in the backward "
            "pass, as it is. Turn that off, or call the model under torch.no_grad(), on inputs that require no "
            f"gradient{advice}."
        )


def _checkpointed() -> str:
    """Return the name of torch's checkpoints where one is running, somewhere below on the stack."""
    name = "torch.utils.checkpoint"
    return name if any(frame.f_globals.get("__name__") == name for frame in _frames()) else ""


def inside_a_function() -> bool:
    """Return whether a function of autograd's is running that may have a backward pass.

    Inside it autograd is off, whatever the mode of its caller: its context tells. A forward without one, as its
    context is set up later, may. torch 2.15 has no frame of its own there, so the one of the forward is looked for.
    """
    forwards = _forwards()
    running = (frame for frame in _frames() if frame.f_code in forwards)
    return any(_may_need_gradients(frame.f_locals.values()) for frame in running)


def _forwards() -> set[Any]:
    """Return the code of the forward of each function of autograd's, looked for anew where there is another one."""
    global _known  # noqa: PLW0603 (in one step, so that no thread sees half of it)
    made = torch.autograd.function.BackwardCFunction.__subclasses__()
    if made != _known[0]:
        kinds: list[Any] = [torch.autograd.Function]
        for kind in kinds:
            kinds += kind.__subclasses__()
        _known = made, {getattr(kind.forward, "__code__", None) for kind in kinds}
    return _known[1]


def _may_need_gradients(held: Iterable[Any]) -> bool:
    """Return whether a forward that holds these values, or its wrapper, was given a tensor that needs a gradient."""
    values = [one for value in held for one in (value if isinstance(value, tuple) else (value,))]
    contexts: list[Any] = [one for one in values if isinstance(one, torch.autograd.function.FunctionCtx)]
    return not contexts or any(any(one.needs_input_grad) for one in contexts)


def _frames() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_running(module: nn.Module) -> bool:
    """Return whether a module is being called, somewhere below on the stack, apart from the call that begins now."""
    calls = (frame for frame in _frames() if frame.f_code.co_name == "_call_impl")
    return sum(frame.f_locals.get("self") is module for frame in calls) > 1


def helping(model: nn.Module, name: str, thread: int, before: Set[threading.Thread]) -> str:
    """Return why a call of a layer in this thread is an error: it is part of a call of the model in another one.

    A thread is at work for it where it began after that call did, or where that call waits for something, unless it
    calls the model itself. Otherwise the call is nobody's business, and nothing is returned.

    Args:
        model: the model.
        name: of the layer called.
        thread: in which the model's call is under way.
        before: the threads that were there when that began.
    """
    here, other = threading.current_thread(), sys._current_frames().get(thread)
    waits = other is not None and other.f_code.co_filename == threading.__file__
    calls = (frame for frame in _frames() if frame.f_code.co_name == "_call_impl")
    if here.ident == thread or (here in before and not waits) or any(f.f_locals.get("self") is model for f in calls):
        return ""
    return (
        f"Layer {name!r} was called in the thread {here.name!r} while a call of the model in another thread was "
        "under way, which seems to have asked for it: a context records and edits its own thread alone. While the "
        "model is recorded or edited, let it call its layers without a thread of its own."
    )
