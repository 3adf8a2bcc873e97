"""Sets torch's forward hooks, and tells each open record, watch or intervene context which calls are its own.

Nothing is put into a model. So a copy of it, a file of it and another thread's call of it know nothing of a context,
and what an interrupted context leaves behind cannot act: the hooks ask the sessions, and a session that is over or
gone does not answer. A call that sessions see is a `Visit`, which they read and change one after the other.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from types import MethodType
from typing import Any
from weakref import ReferenceType, WeakMethod, ref

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torchs

from ..edits.kinds import Edit
from ..edits.resolve import Placed, by_place
from ..errors import ProbeError
from ..recurrent.again.engine import Changes, run_again
from ..recurrent.calls import Call, drops_out, read_call, read_loop, replaced_forward
from ..recurrent.finding import whole_module
from ..recurrent.global_state import grad_mode_kept
from ..recurrent.layers import Layer, LoopLayer, StepLayer, own_forward, refusal
from ..recurrent.rounding import check
from ..recurrent.runs import Run, Trace, reconstruct
from ..recurrent.steps import trails
from ..recurrent.steps.forms import tensors
from ..recurrent.steps.methods import MethodCell, is_inside
from ..recurrent.steps.objects import Given
from ..recurrent.surroundings import (
    contexts_here,
    helping,
    in_backward,
    inside_a_function,
    is_running,
    open_here,
    refuse_checkpoint,
)
from .sequences import Numbering


class Session:
    """One open context: its model, the modules that it listens to, and where their calls stand.

    A session answers in the thread or asyncio task that entered it, and in tasks that this one starts.

    Args:
        model: the model; its forward passes begin and end where it is called.
        layers: whose modules' calls it sees.

    Attributes:
        elsewhere: how many calls of each of its modules came from other threads or tasks.
        answers: whether it was entered, and has not ended.
        thread: which entered it.
        unread: modules that were called and could be cells, but nothing told what their state is.
        by_pass: whether calls are numbered anew in each forward pass of the model.
    """

    by_pass = True

    def __init__(self, model: nn.Module, layers: Iterable[Layer]) -> None:
        self.model = model
        self.modules: dict[nn.Module, tuple[Layer, ...]] = {}
        known = {layer: layer for layer in layers}
        for layer in known:
            self.modules[layer.module] = (*self.modules.get(layer.module, ()), layer)
        # A layer's signals and sizes are looked up once: the same object stands wherever the layer does.
        self._whole = {
            module: tuple(known.get(one, one) for one in whole_module(own[0])) for module, own in self.modules.items()
        }
        self._read: dict[nn.Module, tuple[tuple[Any, ...], Call]] = {}
        self.elsewhere: dict[nn.Module, int] = dict.fromkeys(self.modules, 0)
        # A bare cell has no forward pass: each of its calls is a step.
        self.of_a_cell = any(one[0].is_cell for module, one in self.modules.items() if module is model)
        self._passes, self._states, self.unread = 0, dict[nn.Module, Tensor](), set[nn.Module]()
        self.answers = self._over = self._follows = False
        self._refusal: Exception | None = None
        self._given = dict[nn.Module, Given]()
        self._steps, self._steps_before = dict[nn.Module, int](), dict[nn.Module, dict[nn.Module, int]]()
        cells = [one for one, layers in self.modules.items() if layers[0].is_cell]
        # Weakly: a session that an interrupt left must be gone with its last reference.
        self.numbers = Numbering(cells, self.by_pass, WeakMethod(self.counts), WeakMethod(self._follow))

    def __enter__(self) -> Session:
        self._under_autograd = torch.is_grad_enabled()
        self.thread = threading.get_ident()
        _add(self)
        if self.numbers.has_cells:
            self._follow()
        open_here.set((*open_here.get(), ref(self)))
        self.answers = True  # last: until here an interrupt leaves a session that never answers
        return self

    def __exit__(self, *error: object) -> None:
        if self._follows:
            trails.stop(self)
        self.answers, self._over, self._follows, self._refusal = False, True, False, None
        open_here.set(tuple(one for one in open_here.get() if _alive(one)))
        _remove_the_dead()

    def _follow(self) -> None:
        """Follow from now on what loops do to states between two calls."""
        if not self._follows:
            self._follows = True
            trails.follow(self)

    def refuse(self, error: Exception) -> None:
        """Keep the first error of a call: the model may catch it, and go on. A cell's comes to the caller's loop."""
        self._refusal = self._refusal or (None if self.of_a_cell else error)

    def settle(self) -> None:
        """Raise the first error of a call that somebody caught."""
        error, self._refusal = self._refusal, None
        if error is not None:
            raise error

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call, each where it acts.

        Args:
            visit: the call.
            number: the number of the sequence that the call begins or goes on with.
            step: at which step of it the call begins; None where it stands alone.
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

    def hand_on(self, visit: Visit) -> None:
        """Note what the caller of a module gets, after all sessions have read and changed it."""

    def begin(self) -> None:
        """Note that a pass of the model begins."""

    def end(self, output: Any) -> None:
        """Note that it has returned."""

    def failed(self) -> None:
        """Note that it has raised."""

    def _fail(self) -> None:
        self.numbers.fail_pass()
        self.failed()

    def called_elsewhere(self, module: nn.Module, *, own: bool) -> None:
        """Note a call in another thread or task, with sessions of its own or not; an error if a pass asked for it."""
        self.elsewhere[module] += 1
        layer = self.modules[module][0]
        if not own and self._passes and (why := helping(self.model, layer.name, self.thread, self._threads)):
            self.refuse(ProbeError(why))  # that thread may have nobody to tell

    def before(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Note that a module is called."""
        if module is self.model and not self.of_a_cell:
            if self._passes and not is_running(module):
                self._passes, self._refusal = 0, None  # an interrupt ended it, and somebody caught that
                self._fail()
            self._threads = self._threads if self._passes else {*threading.enumerate()}  # before others see a pass
            self._passes += 1
            if self._passes == 1:
                self.numbers.begin_pass()
                self._returned = False
                self._under_autograd = torch.is_grad_enabled() or inside_a_function()
                self.begin()
        if module in self._whole:
            self._before_own(module, arguments)

    @trails.aside
    def _before_own(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        whole = self._whole[module]
        if isinstance(whole[0], LoopLayer):
            self._steps_before[module] = dict(self._steps)
            self._given[module] = Given(arguments[1:])
        elif arguments and not module._forward_pre_hooks and not isinstance(whole[0], StepLayer):
            # What cannot be opened is said before the module itself fails on it.
            self._read[module] = arguments, read_call(whole, arguments, {})
            self.given(whole, self._read[module][1])
        self._states.pop(module, None)
        if drops_out(module):
            self._states[module] = torch.get_rng_state()

    def returned(self, module: nn.Module, output: Any) -> None:
        """Note that a module has returned."""
        if module is self.model and self._passes == 1:
            self.settle()
            self._returned = True
            self.end(output)
            self.numbers.end_pass()

    def left(self, module: nn.Module) -> None:
        """Note that a call of a module is over, with or without an error."""
        if module is self.model and self._passes:
            self._passes -= 1
            if not self._passes and not self._returned:
                if self._refusal is sys.exc_info()[1]:
                    self._refusal = None  # nobody caught it
                self._fail()

    @property
    def needs_graph(self) -> bool:
        """Whether what it makes of a call belongs to autograd's graph where the caller has one."""
        return True

    def refuse_checkpoint(self, layer: Layer, advice: str = "") -> None:
        """Raise ProbeError in a call that a backward pass will make again; `advice` says what else can be done."""
        under_autograd = self._under_autograd or torch.is_grad_enabled()
        refuse_checkpoint(layer.name, advice, under_autograd=under_autograd, in_a_pass=bool(self._passes))

    def visit(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Visit | None:
        """Return a call of one of its modules; None where it may be a cell, and nothing tells what its state is."""
        if isinstance(layer := self._whole[module][0], LoopLayer):
            before = self._given.pop(module, None)
            call = None if self._looped(layer) else read_loop(layer, arguments, keywords, output, before)
            if call is None:
                self.unread.add(module)
                return None
            self._steps[module] = self._steps.get(module, 0) + 1
            return Visit(self._whole[module], arguments, keywords, output, None, call=call)
        given, call = self._read.pop(module, ((), None))
        # Of packed sequences it holds a copy, and a hook may have changed them in place since.
        call = call if given is arguments and not keywords and call is not None and call.packed is None else None
        return Visit(self._whole[module], arguments, keywords, output, self._states.get(module), call=call)

    def _looped(self, layer: LoopLayer) -> bool:
        """Return whether a call that ends now ran a cell inside it for several steps: then it is no cell itself.

        Of a method, which a loop calls for each step of what its module reads, one is enough.
        """
        before = self._steps_before.pop(layer.module, {})
        ran = {one: self._steps[one] - before.get(one, 0) for one in self._steps if one is not layer.module}
        looped = [one for one, count in ran.items() if count > 1 - isinstance(one, MethodCell)]
        return not layer.registered and any(is_inside(one, layer.module) for one in looped)

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
                raise ProbeError(f"A sweep runs in place of {what}. Wait for its end, or copy the model.")
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


class Visit:
    """One call of a recurrent module that has returned, and what sessions make of it.

    Attributes:
        layers: every layer of the module.
        call: what it was given.
        changes: what happens to each layer, by its place in the module; nothing where nobody changes anything.
        output: what the module's caller gets.
        tolerances: how far recomputed values may lie from the module's, see `rounding.check`; all must hold.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        output: Any,
        generator_state: Tensor | None,
        *,
        call: Call | None = None,
    ) -> None:
        self.layers, self.output = layers, output
        self.call = read_call(layers, arguments, keywords) if call is None else call
        self.changes: Mapping[int, Changes] = {}
        self.tolerances: set[float | None] = set()
        self._given = arguments, keywords, output, generator_state
        self._changed: Run | None = None

    @cached_property
    def clean(self) -> Run:
        """The call as the module ran it."""
        return reconstruct(self.layers, *self._given, call=self.call)

    @property
    def run(self) -> Run:
        """The call with all changes so far."""
        return self._changed or self.clean

    @property
    def returned(self) -> Any:
        """What the module returned."""
        return self._given[2]

    @property
    def replaced(self) -> bool:
        """Whether the module's caller gets something else than the module returned."""
        return self.output is not self.returned

    def change(self, changes: Mapping[int, Changes]) -> None:
        """Run the call again with changes, in place of those so far.

        Raises:
            ProbeError: the module computes something else than its weights say, so that nobody knows what it would
                have made of the changes.
        """
        lowest = min(self.layers[place].level for place in changes)
        for trace in self.clean.traces:
            if trace.layer.level >= lowest:
                self._check(trace)
        self.changes = changes
        self._changed = run_again(self.clean, changes)
        self.output = self._changed.output
        trails.inherit(tensors(self.output), tensors(self._given[2]))

    def _check(self, trace: Trace) -> None:
        for tolerance in self.tolerances or {None}:
            check(trace, trace.opened, tolerance)


#: Returns the sessions that answer in this thread or task, the outermost first.
sessions: Callable[[], list[Session]] = contexts_here
#: The sessions of all threads.
_everywhere: list[ReferenceType[Session]] = []
#: Whose sessions replaced the forward of which modules.
_replaced: list[tuple[ReferenceType[Session], ReferenceType[nn.Module]]] = []
_lock = threading.RLock()
_TABLES: list[dict[int, Any]] = [torchs._global_forward_pre_hooks, torchs._global_forward_hooks]
if hasattr(os, "register_at_fork"):  # a child that was forked while a thread held the lock would wait for ever
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))


def _alive(one: ReferenceType[Session]) -> Session | None:
    session = one()
    return session if session is not None and session.answers else None


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


@contextmanager
def eager() -> Iterator[None]:
    """Run what torch.compile has wrapped as it was written: a compiled graph calls no hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and asking would load the compiler
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # The wrapper is called, too. Sessions know it from the module inside.
        warnings.filterwarnings("ignore", "Using `torch.compile\\(module\\)` when there are global hooks")
        yield


def hooks_before() -> list[Any]:
    """Return the forward hooks for all modules, of others, that see what a module returns before sessions do."""
    hooks = list(torchs._global_forward_hooks.values())
    return [hook for hook in (hooks[: hooks.index(_after)] if _after in hooks else hooks) if hook not in _HOOKS]


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


@grad_mode_kept
def _before(module: nn.Module, arguments: Any) -> None:
    if in_backward():
        return
    here = sessions()
    for session in here:
        try:
            session.before(module, arguments)
        except Exception as error:
            session.refuse(error)
            raise
    if len(_everywhere) > len(here):
        for session in filter(None, map(_alive, list(_everywhere))):
            if session not in here and module in session.modules:
                session.called_elsewhere(module, own=bool(here))


@grad_mode_kept
def _after(module: nn.Module, arguments: Any, *rest: Any) -> Any:
    here = [] if in_backward() else sessions()
    if not here:  # a hook that an interrupt left may have lost its keywords
        return None
    keywords, output = rest
    seeing = [session for session in here if module in session.modules]
    try:
        result = _go_through(seeing, module, arguments, keywords, output) if seeing else None
    except Exception as error:
        for session in seeing:
            session.refuse(error)
        raise
    for session in reversed(here):
        session.returned(module, output if result is None else result)
    return result


@trails.aside
def _go_through(seeing: Sequence[Session], module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
    """Return what the caller of a module gets in place of its output, where sessions change that; None where not."""
    visit = seeing[0].visit(module, arguments, keywords, output)
    if visit is None:
        return None
    with nullcontext() if not torch.is_grad_enabled() or any(one.needs_graph for one in seeing) else torch.no_grad():
        here = open_here.get()
        try:
            _ = open_here.set(())  # what a step of somebody's own calls is no call of the model
            places = [(session, *session.numbers.locate(visit)) for session in seeing]
            placed = [one for session, number, step in places for one in session.acting(visit, number, step)]
            edits = {layer: [one.edit for other, one in placed if other == layer] for layer, _ in placed}
            for session in seeing:
                session.expect(visit, edits)
            if placed:
                visit.change(by_place(placed))
            for session, number, step in places:
                session.read(visit, number, step)
            for session in seeing:
                session.numbers.hand_on(visit)
                session.hand_on(visit)
        finally:
            _ = open_here.set(here)
    return None if visit.output is output else visit.output


def _left(module: nn.Module, *_: Any) -> None:
    for session in [] if in_backward() else reversed(sessions()):
        session.left(module)


_HOOKS = (_before, _after, _left)
