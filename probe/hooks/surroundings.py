"""Tells in which surroundings a module is called: a backward pass, a checkpoint, a function of autograd's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Set
from types import FrameType
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError


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


#: The backward classes that torch made, one for each function, and the code of all forwards at that time.
_known: tuple[list[Any], set[Any]] = [], set()


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
