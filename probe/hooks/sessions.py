"""Sets torch's forward hooks, and tells each open record, watch or intervene context which calls are its own.

Nothing is put into a model. So a copy of it, a file of it and another thread's call of it know nothing of a context,
and what an interrupted context leaves behind cannot act: the hooks ask the sessions, and a session that is over or
gone does not answer.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from types import FrameType, MethodType, TracebackType
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torchs

from ..edits.kinds import Edit
from ..edits.resolve import Placed, by_place
from ..errors import ProbeError
from ..recurrent.calls import Call, drops_out, read_call, replaced_forward
from ..recurrent.layers import Layer, own_forward, whole_module
from ..recurrent.runs import Run
from ..recurrent.sequences import Sequences
from .visits import Visit, refusal


class Session:
    """One open context: its model, the modules that it listens to, and where their calls stand.

    A session answers in the thread or asyncio task that entered it, and in tasks that this one starts.

    Args:
        model: the model; its forward passes begin and end where it is called.
        layers: whose modules' calls it sees.

    Attributes:
        elsewhere: how many calls of each of its modules came from other threads or tasks.
    """

    def __init__(self, model: nn.Module, layers: Iterable[Layer]) -> None:
        self.model = model
        self.modules: dict[nn.Module, tuple[Layer, ...]] = {}
        for layer in layers:
            self.modules[layer.module] = (*self.modules.get(layer.module, ()), layer)
        self._whole = {module: whole_module(layers[0]) for module, layers in self.modules.items()}
        self._read: dict[nn.Module, tuple[tuple[Any, ...], Call]] = {}
        self.elsewhere: dict[nn.Module, int] = dict.fromkeys(self.modules, 0)
        # A bare cell has no forward pass: each of its calls is a step.
        self.of_a_cell = isinstance(model, nn.RNNCellBase) and model in self.modules
        self._passes = 0
        self._states: dict[nn.Module, Tensor] = {}
        self._free: dict[nn.Module, Run] = {}
        self._alive = self._over = False
        self._renumber()

    def __enter__(self) -> Session:
        self._under_autograd = torch.is_grad_enabled()
        self.thread = threading.get_ident()
        _add(self)
        _open_here.set((*_open_here.get(), ref(self)))
        self._alive = True  # last: until here an interrupt leaves a session that never answers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alive, self._over = False, True
        _open_here.set(tuple(one for one in _open_here.get() if _alive(one)))
        _remove_the_dead()

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call, each where it acts.

        Args:
            visit: the call.
            number: the number of the call, or of a cell's sequence, within the forward pass.
            step: of a cell, the call's step in its sequence; None otherwise.
        """
        return ()

    def counts(self, module: nn.Module) -> bool:
        """Return whether what it does to a cell depends on the numbers of sequences and steps."""
        return False

    def given(self, layers: tuple[Layer, ...], call: Call) -> None:
        """Note what a module is called with; not where only its own hooks or keywords say that."""

    def expect(self, visit: Visit, edits: Mapping[Layer, Sequence[Edit]]) -> None:
        """Note that a call is about to be run again with edits, and then read; raise where that cannot be done."""

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Read a call after all sessions have changed it."""

    def begin(self) -> None:
        """Note that a forward pass of the model begins."""

    def end(self, output: Any) -> None:
        """Note that a forward pass of the model has returned."""

    def failed(self) -> None:
        """Note that a forward pass of the model has raised."""

    def _renumber(self) -> None:
        self._counts: dict[nn.Module, int] = {}
        self._sequences: dict[nn.Module, Sequences] = {
            module: Sequences(strict=self.counts(module))
            for module in self.modules
            if isinstance(module, nn.RNNCellBase)
        }

    def before(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Note that a module is called."""
        if module is self.model and not self.of_a_cell:
            if self._passes and not _runs(module):
                self._passes = 0  # an interrupt ended it, and somebody caught that
            self._passes += 1
            if self._passes == 1:
                self._renumber()
                self._returned = False
                self._under_autograd = torch.is_grad_enabled() or _inside_a_function()
                self.begin()
        if module in self.modules:
            if arguments and not module._forward_pre_hooks:
                # What cannot be opened is said before the module itself fails on it.
                self._read[module] = arguments, read_call(self._whole[module], arguments, {})
                self.given(self._whole[module], self._read[module][1])
            self._states.pop(module, None)
            if drops_out(module):
                self._states[module] = torch.get_rng_state()

    def returned(self, module: nn.Module, output: Any) -> None:
        """Note that a module has returned."""
        if module is self.model and self._passes == 1:
            self._returned = True
            self.end(output)
            self._renumber()

    def left(self, module: nn.Module) -> None:
        """Note that a call of a module is over, with or without an error."""
        if module is self.model and self._passes:
            self._passes -= 1
            if not self._passes and not self._returned:
                self._renumber()
                self.failed()

    def locate(self, visit: Visit) -> tuple[int, int | None]:
        """Return the number of a call within the forward pass, and of a cell the step in its sequence."""
        module = visit.layers[0].module
        if module in self._sequences:
            return self._sequences[module].locate(visit.layers[0], visit.call, visit.output)
        number = self._counts.get(module, 0)
        self._counts[module] = number + 1
        return number, None

    def hand_on(self, visit: Visit) -> None:
        """Note what a cell's caller gets, which it hands on to the next step."""
        module = visit.layers[0].module
        if module in self._sequences:
            self._sequences[module].replace(visit.layers[0], visit.call, visit.output)

    @property
    def needs_graph(self) -> bool:
        """Whether what it makes of a call belongs to autograd's graph where the caller has one."""
        return True

    def refuse_checkpoint(self, layer: Layer, advice: str = "") -> None:
        """Raise ProbeError in a call that a backward pass will make again, where no session would see it.

        Args:
            layer: the layer called.
            advice: what else can be done.
        """
        under_autograd = self._under_autograd or torch.is_grad_enabled()
        what = _checkpointed() if under_autograd else ""
        if what or ((under_autograd or not self._passes) and _inside_a_function()):
            raise ProbeError(
                f"Layer {layer.name!r} runs inside {what or 'a torch.autograd.Function'}, which runs it again in the "
                "backward pass, as it is. Turn that off, or call the model under torch.no_grad(), on inputs that "
                f"require no gradient{advice}."
            )

    def visit(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Visit:
        """Return a call of one of its modules."""
        given, call = self._read.pop(module, ((), None))
        # Of packed sequences it holds a copy, and a hook may have changed them in place since.
        call = call if given is arguments and not keywords and call is not None and call.packed is None else None
        visit = Visit(self._whole[module], arguments, keywords, output, self._states.get(module), call=call)
        if module in self._free:
            visit.clean = self._free.pop(module)
        return visit

    @contextmanager
    def replacing(self, forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
        """Let functions run in place of modules' forwards for the calls that this session sees.

        Args:
            forwards: for each module what takes its arguments.

        Raises:
            ProbeError: a forward was replaced by somebody else.
        """
        for module in forwards:
            if own_forward(module):
                raise ProbeError(refusal(type(module).__name__, module))
            if "forward" in vars(module):
                what = f"a {type(module).__name__}, under way in another thread for instance"
                raise ProbeError(
                    f"A sweep or check=False runs in place of {what}. Wait for its end, or copy the model."
                )
        _replaced.extend((ref(self), ref(module)) for module in forwards)
        try:
            with ExitStack() as stack:
                for module, forward in forwards.items():  # bound to the module: a copy has its own
                    stack.enter_context(replaced_forward(module, MethodType(self._instead(module, forward), module)))
                yield
        finally:
            _put_back(forwards)

    def _instead(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def instead(one: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            if one is module and self in sessions():
                return forward(*arguments, **keywords)
            return type(one).forward(one, *arguments, **keywords)  # of a copy, in another thread, or too late

        vars(instead)["of_a_session"] = True
        return instead

    def ran(self, module: nn.Module, run: Run) -> None:
        """Take a run that a replaced forward made for what the module itself ran."""
        self._free[module] = run


#: The sessions that were entered in this thread or task, the outermost first.
_open_here: ContextVar[tuple[ReferenceType[Session], ...]] = ContextVar("rnn-probe's sessions", default=())
#: The sessions of all threads.
_everywhere: list[ReferenceType[Session]] = []
#: Whose sessions replaced the forward of which modules.
_replaced: list[tuple[ReferenceType[Session], ReferenceType[nn.Module]]] = []
_lock = threading.RLock()
_TABLES: list[dict[int, Any]] = [torchs._global_forward_pre_hooks, torchs._global_forward_hooks]
if hasattr(os, "register_at_fork"):
    # A child that was forked while another thread held the lock would wait for ever.
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))


def sessions() -> list[Session]:
    """Return the sessions that answer in this thread or task, the outermost first."""
    # What copies a context into another thread (asyncio.to_thread) does not take its sessions along.
    here = threading.get_ident()
    return [one for each in _open_here.get() if (one := _alive(each)) is not None and one.thread == here]


def _alive(one: ReferenceType[Session]) -> Session | None:
    session = one()
    return session if session is not None and session._alive else None


def _add(session: Session) -> None:
    with _lock:
        _remove_the_dead()
        _everywhere.append(ref(session))
        if not _installed():
            _remove()
            torchs.register_module_forward_pre_hook(_before)
            torchs.register_module_forward_hook(_after, with_kwargs=True)
            torchs.register_module_forward_hook(_left, always_call=True)


def _remove_the_dead() -> None:
    with _lock:
        # One that another thread is just entering does not answer yet, and must keep the hooks.
        _everywhere[:] = [one for one in _everywhere if (session := one()) is not None and not session._over]
        _put_back([module for one, whose in _replaced if not _alive(one) and (module := whose()) is not None])
        if not _everywhere:
            _remove()


def _put_back(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        vars(module).pop("forward", None)
    _replaced[:] = [pair for pair in _replaced if pair[1]() is not None and pair[1]() not in list(modules)]


def _installed() -> bool:
    """Return whether each hook is there once and whole: an interrupt may have left a part of them."""
    found = [hook for table in _TABLES for hook in table.values() if hook in _HOOKS]
    after = [number for number, hook in torchs._global_forward_hooks.items() if hook is _after]
    left = [number for number, hook in torchs._global_forward_hooks.items() if hook is _left]
    return (
        sorted(map(id, found)) == sorted(map(id, _HOOKS))
        and after[0] in torchs._global_forward_hooks_with_kwargs
        and left[0] in torchs._global_forward_hooks_always_called
    )


def _remove() -> None:
    for table in _TABLES:
        for number in [number for number, hook in table.items() if hook in _HOOKS]:
            # The hook last: where an interrupt comes between, it is found again.
            torchs._global_forward_hooks_with_kwargs.pop(number, None)
            torchs._global_forward_hooks_always_called.pop(number, None)
            del table[number]


def _in_backward() -> bool:
    """Return whether a backward pass is under way, in which checkpoints run their part again: nobody's call."""
    return torch._C._current_graph_task_id() != -1


def _before(module: nn.Module, arguments: Any) -> None:
    if _in_backward():
        return
    here = sessions()
    for session in here:
        session.before(module, arguments)
    if len(_everywhere) > len(here):
        for one in list(_everywhere):
            session = _alive(one)
            if session is not None and session not in here and module in session.modules:
                session.elsewhere[module] += 1


def _after(module: nn.Module, arguments: Any, *rest: Any) -> Any:
    here = [] if _in_backward() else sessions()
    if not here:  # a hook that an interrupt left may have lost its keywords
        return None
    keywords, output = rest
    seeing = [session for session in here if module in session.modules]
    result = None
    if seeing:
        visit = seeing[0].visit(module, arguments, keywords, output)
        with nullcontext() if any(session.needs_graph for session in seeing) else torch.no_grad():
            _go_through(visit, seeing)
        result = visit.output if visit.output is not output else None
    for session in reversed(here):
        session.returned(module, output if result is None else result)
    return result


def _go_through(visit: Visit, seeing: Sequence[Session]) -> None:
    places = [(session, *session.locate(visit)) for session in seeing]
    placed = [one for session, number, step in places for one in session.acting(visit, number, step)]
    edits: dict[Layer, list[Edit]] = {}
    for layer, one in placed:
        edits.setdefault(layer, []).append(one.edit)
    for session in seeing:
        session.expect(visit, edits)
    if placed:
        visit.change(by_place(placed))
    for session, number, step in places:
        session.read(visit, number, step)
    for session in seeing:
        session.hand_on(visit)


def _left(module: nn.Module, *_: Any) -> None:
    for session in [] if _in_backward() else reversed(sessions()):
        session.left(module)


_HOOKS = (_before, _after, _left)


def _checkpointed() -> str:
    """Return the name of torch's checkpoints where one is running, somewhere below on the stack."""
    name = "torch.utils.checkpoint"
    return name if any(frame.f_globals.get("__name__") == name for frame in _frames()) else ""


def _inside_a_function() -> bool:
    """Return whether a function of autograd's is running that may have a backward pass.

    Inside it autograd is off, whatever the mode of its caller: what it was given tells.
    """
    for frame in _frames():
        if frame.f_code.co_name == "apply" and frame.f_globals.get("__name__") == "torch.autograd.function":
            given = [*frame.f_locals["args"], *frame.f_locals["kwargs"].values()]
            if any(isinstance(one, Tensor) and one.requires_grad for one in given):
                return True
    return False


def _frames() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _runs(module: nn.Module) -> bool:
    """Return whether a module is being called, somewhere below on the stack, apart from the call that begins now."""
    calls = (frame for frame in _frames() if frame.f_code.co_name == "_call_impl")
    return sum(frame.f_locals.get("self") is module for frame in calls) > 1
