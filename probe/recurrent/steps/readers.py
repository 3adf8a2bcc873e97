"""Follows a state that a layer handed on, to see whether anything that counts is computed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

#: What applies weights to a state, sums it up or makes shares of it, so that the result is a state no more.
_PRODUCTS = {"linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "vdot", "inner"}
_ADDED_PRODUCTS = {"einsum", "tensordot", "addmm", "addbmm", "baddbmm", "addmv", "cdist"}
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
_LAYERS = {"embedding", "scaled_dot_product_attention", "multi_head_attention_forward"}
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
_SUMS = {"sum", "mean", "prod", "amax", "amin", "max", "min", "norm", "std", "var", "logsumexp", "argmax", "argmin"}
_SHARES = {"sigmoid", "softmax", "log_softmax"}
MIXES = frozenset(_PRODUCTS | _ADDED_PRODUCTS | _CONVOLUTIONS | _LAYERS | _RECURRENT | _SUMS | _SHARES)
#: What takes numbers out of torch, where nothing is followed.
_LEAVES = {"item", "tolist", "numpy", "__array__", "__float__", "__int__", "__index__", "__complex__", "__dlpack__"}


class Place:
    """Where a program stands.

    Attributes:
        in_a_pass: whether the model runs, so that what it returns will tell what it read.
    """

    in_a_pass = False


class Watched:
    """A state that was handed on.

    Attributes:
        read: whether something that counts was computed from it.
        numbers: how many numbers it has.

    Args:
        place: where the program stands, from now on.
    """

    def __init__(self, place: Place) -> None:
        self.read, self.numbers, self._place = False, 0, place

    @property
    def in_a_pass(self) -> bool:
        """Whether the model runs."""
        return self._place.in_a_pass


class Readers:
    """What was computed from watched states.

    A mask, a norm, a copy, a view or a stack of a state is the state still: loops make these between two steps, and
    nobody may read the last one. What weights were applied to, sums, shares and what has fewer numbers were computed.
    """

    def __init__(self) -> None:
        #: By its memory, which is kept so that no other tensor gets it: of which states a tensor is, and if computed.
        self._known: dict[int, tuple[Any, dict[Watched, bool]]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def of(self, one: Tensor) -> dict[Watched, bool]:
        """Return of which states a tensor was made, each with whether it was computed."""
        memory = _memory(one)
        return {} if memory is None else self._known.get(memory[0], (None, {}))[1]

    def set(self, one: Tensor, state: Watched, *, computed: bool) -> None:
        """Note that a tensor was made of a state."""
        memory = _memory(one)
        if memory is not None:
            held = self._known.setdefault(memory[0], (memory[1], {}))[1]
            held[state] = computed or held.get(state, False)
            state.read = state.read or (computed and not state.in_a_pass)

    def forget(self, state: Watched) -> None:
        """Follow a state no longer."""
        for key, (_, held) in list(self._known.items()):
            if held.pop(state, None) is not None and not held:
                del self._known[key]

    def follow(self, name: str, given: Iterable[Tensor], made: Iterable[Tensor]) -> None:
        """Note what a function of torch made.

        Args:
            name: the function's name.
            given: the tensors that it was given.
            made: those that it returned, or changed in place.
        """
        found: dict[Watched, bool] = {}
        for one in given:
            for state, computed in self.of(one).items():
                found[state] = computed or found.get(state, False)
        for state, computed in found.items():
            state.read = state.read or name in _LEAVES
            for one in made:
                self.set(one, state, computed=computed or name in MIXES or one.numel() < state.numbers)

    def answer(self, state: Watched, returned: Iterable[Tensor]) -> bool:
        """Return whether what a model returned tells of a state: a part was computed from it, or all is the state."""
        found = [self.of(one).get(state) for one in returned]
        return any(found) or (bool(found) and None not in found)

    def reaches(self, state: Watched, returned: Iterable[Tensor]) -> bool:
        """Return whether anything that a model returned was made of a state."""
        return any(state in self.of(one) for one in returned)


def _memory(one: Tensor) -> tuple[int, Any] | None:
    """Return what tells a tensor's memory from other memory, and the memory; None where it has none of its own."""
    if not one.numel() or one.is_sparse:
        return None
    try:
        storage = one.untyped_storage()
        place = storage.data_ptr()
    except (NotImplementedError, RuntimeError):  # a tensor that stands for several, or for none
        return None
    return (place, storage) if place else None


def arrays_of(nest: Any, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in what a model returned, in containers and objects too."""
    if isinstance(nest, Tensor):
        yield nest
    elif depth and not isinstance(nest, (str, bytes, type, torch.nn.Module)):
        table = nest if isinstance(nest, dict) else getattr(nest, "__dict__", {})
        for item in nest if isinstance(nest, (tuple, list)) else table.values():
            yield from arrays_of(item, depth - 1)
