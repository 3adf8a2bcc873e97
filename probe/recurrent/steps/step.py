"""`Step`: a recurrence that torch does not have, as one step and its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import ProbeError

#: A state: a tensor, or tuples, lists and dicts of tensors, (batch, ...) each.
State = Any


class Step(ABC):
    """How a module that reads whole sequences runs one step: `(x_t, state) -> (y_t, state')`.

    One is made for each call of the module, with the module as its argument; so `inputs` may keep what the call
    brings beside the sequence, such as a mask or elapsed times.

    Attributes:
        module: the module that is called.
        names: what parts of the state are called, by their paths: `state` is a state of one tensor, `state[1]` a part
            of a tuple or list, `state.memory` of a dict. A part without a name is called by its path.
        gauges: the paths of parts that only say in which units a step computes: edited alone they move no output.
    """

    names: ClassVar[Mapping[str, str]] = {}
    gauges: ClassVar[tuple[str, ...]] = ()
    #: Whether the zeros of `initial` are taken in float64, as a module in float64 hands them on.
    in_float64 = False
    #: Whether the call goes on from what an earlier one left where no argument of the call shows it.
    resumes = False
    #: Whether it holds what one call of a cell in a loop was, and runs nothing: a `LoopStep`.
    of_one_call = False

    def __init__(self, module: nn.Module) -> None:
        self.module: Any = module

    @abstractmethod
    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return what the module reads step by step, (batch, time, feature), given what it is called with.

        Raises:
            ProbeError: this call cannot be run step by step; say why.
        """

    @abstractmethod
    def initial(self, batch: int) -> State:
        """Return the state before the first step, (batch, ...) each part; it is asked after `inputs`, if at all.

        `inspect` asks it of a module that is not called.
        """

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the module returns at one step, (batch, unit), and the next state.

        Where the module returns a part of the state itself, return that very tensor: an edit then moves both.

        Args:
            x: (batch, feature).
            state: as `initial` gives it; left as it is.
        """

    def outputs(self, returned: Any) -> Tensor:
        """Return what the module returned at each step, (batch, time, unit); by default all of it, or its first part.

        Args:
            returned: what its call returned.
        """
        return returned[0] if isinstance(returned, (tuple, list)) else returned

    def final(self, returned: Any) -> State | None:
        """Return the state after the last step, where the module returned it: it is compared too. None where not."""
        return None

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return what the module would have returned with other outputs; by default these in place of its own.

        Args:
            returned: what its call returned.
            outputs: (batch, time, unit).
            state: the state after the last step.

        Raises:
            ProbeError: it returned more tensors, of which nobody says what they would have been.
        """
        if isinstance(returned, Tensor):
            return outputs
        others = returned[1:]
        if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(others)):
            raise ProbeError(
                f"{type(self.module).__name__} returned more than outputs, and {type(self).__name__} does not say "
                "what an edited run returns there. Write its method `returned`."
            )
        return type(returned)((outputs, *others))


def begin(adapter: Step, batch: int) -> State:
    """Return the state before the first step, in the type that the module hands on."""
    state = adapter.initial(batch)
    return _wide(state) if adapter.in_float64 else state


def settle(adapter: Step, x: Tensor) -> None:
    """Find out in which type the module hands its state on, given what it reads, (batch, time, feature)."""
    adapter.in_float64 = x.dtype == torch.float64 and _is_wide(adapter, x)


@torch.no_grad()
def _is_wide(adapter: Step, x: Tensor) -> bool:
    state = adapter.initial(len(x))
    if not x.shape[1] or all(part.dtype != torch.float32 for part in leaves(state).values()):
        return False
    try:
        with torch.random.fork_rng(devices=[]):
            after = adapter.step(x[:, 0], _wide(state))[1]
    except (RuntimeError, TypeError):
        return False
    return [part.dtype for part in leaves(after).values()] == [part.dtype for part in leaves(_wide(state)).values()]


def _wide(state: State) -> State:
    """Return a state with its float32 parts in float64."""
    return pytree.tree_map(lambda part: part.double() if part.dtype == torch.float32 else part, state)


def flat(nest: Any) -> list[Any]:
    """Return the leaves of a nest; of the usual ones without pytree, which takes ten times as long."""
    if isinstance(nest, Tensor):
        return [nest]
    return list(nest) if _is_plain(nest) else pytree.tree_leaves(nest)


def _is_plain(nest: Any) -> bool:
    return type(nest) in (tuple, list) and {*map(type, nest)} == {Tensor}


def same_form(one: Any, two: Any) -> bool:
    """Return whether two nests have the same containers, with leaves in the same places."""
    if (isinstance(one, Tensor) and isinstance(two, Tensor)) or (_is_plain(one) and _is_plain(two)):
        return isinstance(one, Tensor) or (type(one) is type(two) and len(one) == len(two))
    return pytree.tree_structure(one) == pytree.tree_structure(two)


def leaves(state: State) -> dict[str, Tensor]:
    """Return the parts of a state by their paths: `state`, `state[1]`, `state.memory`.

    Raises:
        ProbeError: a part is no tensor.
    """
    if isinstance(state, Tensor):
        return {"state": state}
    if _is_plain(state):
        return {f"state[{place}]": part for place, part in enumerate(state)}
    found = {}
    for path, leaf in pytree.tree_flatten_with_path(state)[0]:
        name = "state" + "".join(map(_written, path))
        if not isinstance(leaf, Tensor):
            raise ProbeError(f"The part {name} of a state is a {type(leaf).__name__}; a state is made of tensors.")
        found[name] = leaf
    return found


def _written(key: Any) -> str:
    if isinstance(key, pytree.SequenceKey):
        return f"[{key.idx}]"
    return f".{key.key}" if isinstance(key, pytree.MappingKey) else f".{key.name}"


def rebuilt(state: State, values: list[Tensor]) -> State:
    """Return a state of the same form with other tensors, in the order of `leaves`."""
    return pytree.tree_unflatten(values, pytree.tree_structure(state))
