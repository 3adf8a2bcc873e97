"""Where the state of a cell goes in, and where it comes out: what was registered, or what its calls show."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from ...errors import ProbeError
from ..signals import is_continuous
from .methods import MethodCell, steps_in
from .objects import closed, opened, others_differ
from .step import State, flat, same_form


@dataclass(frozen=True)
class Form:
    """Where a cell's state stands.

    Attributes:
        given: the arguments of its forward that hold the state; several make a tuple.
        returned: the items of what it returns that are the next state; None for all of it.
    """

    given: tuple[str, ...]
    returned: tuple[int, ...] | None

    def state_in(self, arguments: Mapping[str, Any]) -> State:
        """Return the state that a cell was called with, or None."""
        parts = [opened(arguments.get(name)) for name in self.given]
        if any(is_none(part, arguments) for part in parts):
            return None
        return tuple(parts) if len(parts) > 1 else parts[0]

    def state_out(self, returned: Any) -> State:
        """Return the next state in what a cell returned."""
        if self.returned is None:
            return opened(returned)
        parts = [opened(returned[item]) for item in self.returned]
        return tuple(parts) if len(parts) > 1 else parts[0]

    def placed(self, returned: Any, state: State) -> Any:
        """Return what a cell returned with another next state."""
        state = closed(state)
        if self.returned is None:
            return state
        items = list(returned)
        for item, part in zip(self.returned, state if len(self.returned) > 1 else (state,), strict=True):
            items[item] = part
        kind = type(returned)
        return kind(*items) if hasattr(returned, "_fields") else kind(items)


#: What `probe.register` was told of cells, by class.
registered_cells: dict[type[nn.Module], Form] = {}
#: What it was told of methods that are steps, by class: the method's name, and where its state stands or None.
registered_methods: dict[type[nn.Module], tuple[str, Form | None]] = {}
#: What was found out about modules that nobody registered.
_found: WeakIdKeyDictionary = WeakIdKeyDictionary()
#: Those that were called without a state while nothing told where it stands.
_unclear: WeakSet[nn.Module] = WeakSet()
#: In how many ways arguments are tried, and how many weights are copied for that.
_WAYS, _LARGE = 10, 2**26


def parameters_of(kind: type[nn.Module]) -> list[str]:
    """Return the names of the arguments that a class's forward takes, but for those of any number."""
    return names_of(kind.forward)


def names_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a method takes behind `self`, but for those of any number."""
    try:
        every = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return []
    return [one.name for one in every if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def method_of(module: nn.Module) -> tuple[str, Form | None] | None:
    """Return what somebody said of the method that is the step of a module's class."""
    return next((registered_methods[kind] for kind in type(module).__mro__ if kind in registered_methods), None)


def registered(module: nn.Module) -> bool:
    """Return whether somebody said that modules of this class, or the method that this stands for, are a cell."""
    if isinstance(module, MethodCell):
        told = method_of(module.owner)
        return told is not None and told[0] == module.method
    return not registered_cells.keys().isdisjoint(type(module).__mro__)


def is_told(module: nn.Module) -> bool:
    """Return whether somebody said where the state of a cell stands."""
    return _form_told(module) is not None


def _form_told(module: nn.Module) -> Form | None:
    """Return where the state of a cell stands, if somebody said that."""
    if isinstance(module, MethodCell):
        told = method_of(module.owner)
        return told[1] if told is not None and told[0] == module.method else None
    return next((registered_cells[kind] for kind in type(module).__mro__ if kind in registered_cells), None)


def may_be_a_cell(module: nn.Module) -> bool:
    """Return whether a module could be a cell, by what its forward takes: an input, and something else."""
    return not type(module).__module__.startswith("torch.") and len(parameters_of(type(module))) > 1


def bound(module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module was called with, by the names of its forward's arguments."""
    return _signature(type(module).forward).bind(module, *arguments, **keywords).arguments


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def form_of(module: nn.Module, given: Mapping[str, Any], returned: Any) -> Form | None:
    """Return where the state stands in a call of a module, or None where this call does not tell.

    What was registered counts; otherwise the state is what goes in behind the first argument and comes out in the
    same form, with the same shapes: several arguments that stand together before one alone. Of several parts that
    come out so it is the last: `y, h = cell(x, h)`. Where nothing goes in, a copy of the module tells what it takes
    back.

    Raises:
        ProbeError: an earlier call began with no state, and nothing told what it was.
    """
    found = _form_told(module) or _found.get(module)
    if found is not None:
        return found
    if isinstance(module, MethodCell) and first_of(given) is None and not registered(module):
        return None  # a method that a loop calls with a number, such as a layer's
    names = parameters_of(type(module))[1:]
    missing = [name for name in names if is_none(opened(given.get(name)), given)]
    found = _by_shape(_runs([name for name in names if name not in missing]), given, returned)
    kind = type(module).__name__
    if found is None and missing and tensors(opened(returned)):
        found = _by_trial(module, _runs(missing), given, returned)
    elif found is not None and module in _unclear:
        _unclear.discard(module)
        raise ProbeError(
            f"A {kind} was called first with something else than a state of the form that it returns, so that its "
            f"first step was passed over. Say where its state stands: {advice(module, found)}."
        )
    if found is None and tensors(opened(returned)):
        _unclear.add(module)
    if found is not None and not isinstance(module, MethodCell) and _reads_sequences(given, found, returned):
        raise ProbeError(
            f"A {kind} was called with {tuple(tensors(list(given.values()))[0].shape)} and returned as many steps "
            f"beside its state: it seems to run several steps in a call. {_or_a_method(module)}; if a call is one "
            f"step, say {advice(module, found)}."
        )
    if found is not None:
        _found[module] = found
    return found


def _or_a_method(module: nn.Module) -> str:
    """Return what to register of a module that runs several steps in a call, in words."""
    kind, name = type(module).__name__, next(iter(steps_in(module)), "its name")
    return (
        f"Where one step is a method that its loop calls, say probe.register({kind}, step={name!r}); otherwise write "
        f"a probe.Step of it, and probe.register({kind}, ItsStep)"
    )


def kind_said(module: nn.Module) -> str:
    """Return how `probe.register` is given what a loop calls: a class, or a class and its method."""
    if isinstance(module, MethodCell):
        return f"{type(module.owner).__name__}, step={module.method!r}"
    return type(module).__name__


def advice(module: nn.Module, found: Form | None = None) -> str:
    """Return the line of Python that says where the state of a cell stands, as far as that is known."""
    if found is None:
        return f"probe.register({kind_said(module)}, state=..., returns=...)"
    given = found.given[0] if len(found.given) == 1 else found.given
    out = found.returned[0] if found.returned is not None and len(found.returned) == 1 else found.returned
    return f"probe.register({kind_said(module)}, state={given!r}, returns={out!r})"


def advice_on(module: nn.Module) -> str:
    """Return the line of Python that says where the state of a module stands, as far as its calls have shown it."""
    return advice(module, _found.get(module))


def _reads_sequences(given: Mapping[str, Any], found: Form, returned: Any) -> bool:
    """Return whether a call seems to have run several steps: it returned a sequence beside a state that is none."""
    first, states = first_of(given), tensors(found.state_out(returned))
    if first is None or first.dim() != 3 or first.shape[1] < 2 or any(one.dim() != 2 for one in states):
        return False
    others = (one for one in tensors(returned) if not any(one is state for state in states))
    return any(one.dim() == 3 and one.shape[:2] == first.shape[:2] for one in others)


def _runs(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return arguments that stand together, the most first."""
    return [
        tuple(names[first : first + count])
        for count in range(len(names), 0, -1)
        for first in range(len(names) - count + 1)
    ]


def _by_shape(ways: Sequence[tuple[str, ...]], given: Mapping[str, Any], returned: Any) -> Form | None:
    # A first state may be one for all rows, zero, or a list where a tuple comes back.
    for fits in (alike, begins):
        for way in ways:
            state = Form(way, None).state_in(given)
            fitting = [one for one in _ways_out(returned, len(way)) if fits(state, one.state_out(returned))]
            if fitting and _has_rows_of(given, fitting[-1].state_out(returned)):
                return Form(way, fitting[-1].returned)
    return None


def _by_trial(
    module: nn.Module, ways: Sequence[tuple[str, ...]], given: Mapping[str, Any], returned: Any
) -> Form | None:
    """Return what a module takes back of what it returned, where that changes what it returns next."""
    copied = _copied(module) if len(ways) <= _WAYS else None
    if copied is None:
        return None
    returned = opened(returned)
    first = [_copy(one) for one in tensors(returned)]
    for way in ways:
        for out in reversed(list(_ways_out(returned, len(way)))):
            # Copies: a module that writes its state in place would write into that of the run.
            state = pytree.tree_map_only(Tensor, _copy, out.state_out(returned))
            parts = closed(state if len(way) > 1 else (state,))
            tried = tensors(state) and _has_rows_of(given, state)
            again = opened(_called(copied, {**given, **dict(zip(way, parts, strict=True))})) if tried else None
            taken = again is not None and alike(returned, again) and alike(state, out.state_out(again))
            if taken and any(not torch.equal(one, two) for one, two in zip(first, tensors(again), strict=True)):
                return Form(way, out.returned)
    return None


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone()


def _copied(module: nn.Module) -> nn.Module | None:
    """Return a copy of a module without hooks, or None where it is large or cannot be copied."""
    if sum(one.numel() for one in module.parameters()) > _LARGE:
        return None
    try:
        copied = copy.deepcopy(module)
    except (RuntimeError, TypeError):
        return None
    for one in copied.modules():
        one._forward_hooks.clear()
        one._forward_pre_hooks.clear()
    return copied


def begins_at_zero(module: nn.Module, form: Form, given: Mapping[str, Any], returned: Any) -> bool:
    """Return whether a module that is called without a state computes what it computes from zeros."""
    state = pytree.tree_map_only(Tensor, torch.zeros_like, form.state_out(returned))
    parts = closed(state if len(form.given) > 1 else (state,))
    copied = _copied(module)
    again = None if copied is None else _called(copied, {**given, **dict(zip(form.given, parts, strict=True))})
    pairs = zip(tensors(opened(returned)), tensors(opened(again)), strict=False)
    return again is not None and all(torch.allclose(one, two, atol=1e-6) for one, two in pairs)


def _called(module: nn.Module, given: Mapping[str, Any]) -> Any:
    """Return what a module returns, with no trace in the random numbers; None where it cannot take its arguments."""
    signature = inspect.signature(type(module).forward)
    call = inspect.BoundArguments(signature, {**given, next(iter(signature.parameters)): module})  # pyright: ignore
    devices = {one.device for one in tensors(list(given.values())) if one.is_cuda}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=list(devices)):
            return module.forward(*call.args[1:], **call.kwargs)
    except (AttributeError, AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return None


def _ways_out(returned: Any, arguments: int) -> Iterator[Form]:
    """Return where a state of some arguments may stand in what was returned: all of it last."""
    if isinstance(returned, (tuple, list)):
        count = len(returned)
        if arguments > 1:
            yield from (Form((), tuple(range(first, first + arguments))) for first in range(count - arguments + 1))
            return
        yield from (Form((), tuple(range(first, count))) for first in range(1, count - 1))
        yield from (Form((), (item,)) for item in range(count))
    if arguments == 1:
        yield Form((), None)


def alike(one: State, two: State) -> bool:
    """Return whether two nests hold tensors of the same shapes and types in the same places."""
    if not tensors(one) or not same_form(one, two):
        return False
    pairs = zip(flat(one), flat(two), strict=True)
    return all(
        isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
        for a, b in pairs
    )


def begins(one: State, two: State) -> bool:
    """Return whether a nest can be filled up to the shapes of another: as a first state (1, unit), (unit,) or 0.0."""
    before, after = pytree.tree_leaves(one), pytree.tree_leaves(two)
    fills = bool(after) and len(before) == len(after) and all(map(_fills, before, after))
    return fills and not others_differ(one, two)


def _fills(one: Any, two: Any) -> bool:
    if not isinstance(two, Tensor) or not is_continuous(two):
        return False
    if not isinstance(one, Tensor):
        return type(one) in (int, float) and one == 0
    own, shape = one.dtype == two.dtype and one.dim() <= two.dim(), one.shape
    ends = two.shape[two.dim() - len(shape) :]
    return (
        own and all(size in (1, whole) for size, whole in zip(shape, ends, strict=True)) and shape[-1:] == ends[-1:]
    )


def filled(one: State, two: State) -> State:
    """Return a state in the form and the shapes of another."""
    values = [
        before.expand_as(after) if isinstance(before, Tensor) else torch.full_like(after, before)
        for before, after in zip(pytree.tree_leaves(one), pytree.tree_leaves(two), strict=True)
    ]
    return pytree.tree_unflatten(values, pytree.tree_structure(two))


def _has_rows_of(given: Mapping[str, Any], state: State) -> bool:
    """Return whether a state has the batch first, as the first argument of a cell has it."""
    first = first_of(given)
    return first is None or first.dim() < 2 or all(one.dim() > 0 and len(one) == len(first) for one in tensors(state))


def is_none(state: State, given: Mapping[str, Any]) -> bool:
    """Return whether an argument of a cell, with its objects opened, is no state.

    So are None, tensors without a number beside an input that has some, and zeros of other rows than the input's:
    snntorch's neurons are called first with what they kept of the batch before.
    """
    if state is None:
        return True
    leaves, first = flat(state), first_of(given)
    if first is None or not leaves or not all(isinstance(one, Tensor) for one in leaves):
        return False
    if not any(one.numel() for one in leaves):
        return first.numel() > 0
    other = first.dim() > 1 and all(one.dim() > 1 and len(one) not in (1, len(first)) for one in leaves)
    return other and not any(bool(one.any()) for one in leaves)


def first_of(given: Mapping[str, Any]) -> Tensor | None:
    """Return the first argument behind the module, where it is a tensor."""
    first = list(given.values())[1:2]
    return first[0] if first and isinstance(first[0], Tensor) else None


def said(state: State) -> str:
    """Return the form of a state, in words."""
    shapes = pytree.tree_map(lambda one: tuple(one.shape) if isinstance(one, Tensor) else one, state)
    return f"{type(state).__name__} {shapes}" if isinstance(state, (tuple, list, dict)) else f"{shapes}"


def tensors(nest: Any) -> list[Tensor]:
    """Return the floating or complex tensors in a nest."""
    return [one for one in flat(nest) if isinstance(one, Tensor) and is_continuous(one)]
