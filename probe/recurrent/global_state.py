"""torch's global state: grad mode, default type, random numbers and threads, which a run leaves as it found them."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What is said of a model that draws random numbers in train mode, as dropout does: another run gives other values.
DRAWS = "The model draws random numbers in its forward pass. Call model.eval() first"

#: A log, and no warning: how busy a machine is must not decide whether somebody's tests pass.
_LOG = logging.getLogger(__name__)
#: How many times as long is said, and how often each number of threads is tried.
_SLOWER, _TRIES = 3, 3
#: Of what is tried: steps, rows, features and units.
_SIZE = (10, 64, 8, 32)


def grad_mode_kept(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function that puts the grad mode back where it raises.

    `no_grad` is written in Python: an interrupt inside its `__enter__` or `__exit__` leaves autograd off.
    """

    @wraps(function)
    def kept(*given: _P.args, **keywords: _P.kwargs) -> _R:
        found = torch.is_grad_enabled()
        try:
            return function(*given, **keywords)
        except BaseException:
            _ = torch.set_grad_enabled(found)
            raise

    return kept


def in_float64(model: nn.Module) -> nn.Module:
    """Return a copy of a model in float64 and in evaluation mode.

    While it is called, torch's default type is float64: a loop often begins with `torch.zeros(batch, units)`, which
    would be float32 otherwise.

    Args:
        model: the model.
    """
    copied, before = copy.deepcopy(model).double().eval(), list[torch.dtype]()

    def begin(*_: Any) -> None:
        before.append(torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)

    def end(*_: Any) -> None:
        torch.set_default_dtype(before.pop())

    _ = copied.register_forward_pre_hook(begin, prepend=True)
    _ = copied.register_forward_hook(end, always_call=True)
    return copied


@contextmanager
def default_type_put_back() -> Iterator[None]:
    """Put torch's default type back, which an interrupt of a model in float64 leaves at float64."""
    before = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Draws:
    """Where torch's random numbers stand before a call of a model.

    Args:
        model: it counts only where one of its modules is in train mode; a policy that samples in evaluation mode is
            meant to.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._before = model, _random_states()

    def came(self) -> bool:
        """Return whether the call drew some."""
        moved = any(not torch.equal(*pair) for pair in zip(self._before, _random_states(), strict=False))
        return moved and any(module.training for module in self._model.modules())


def warn_of_draws(what: str, *, level: int) -> None:
    """Warn of values that another run will not give.

    Args:
        what: what the caller does with the model, such as "record".
        level: how many calls above this one the user's stands.
    """
    warnings.warn(f"{DRAWS}, unless you mean to {what} with them: each run has others.", stacklevel=level + 1)


def _random_states() -> list[Tensor]:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]


def advise_on_threads() -> None:
    """Say, once for a number of threads, where a small LSTM takes several times as long on them as on one.

    Threads wait for each other several times a step. Where another program keeps one of them from its core, all wait.
    """
    if (threads := torch.get_num_threads()) > 1:
        _compare_threads(threads)


@cache
def _compare_threads(threads: int) -> None:
    try:
        several, one = _seconds_on(threads), _seconds_on(1)
    finally:
        torch.set_num_threads(threads)
    if several > _SLOWER * one:
        _LOG.warning(
            "On torch's %d threads a small LSTM just took %.0f times as long as on one: other programs use this "
            "machine. Call torch.set_num_threads(1), or set OMP_NUM_THREADS=1.",
            threads,
            several / one,
        )


@torch.no_grad()
def _seconds_on(threads: int) -> float:
    """Return the least wall time of a few runs."""
    torch.set_num_threads(threads)
    steps, rows, features, units = _SIZE
    x, state = torch.zeros(steps, rows, features), torch.zeros(1, rows, units)
    weights = [torch.zeros(4 * units, features), torch.zeros(4 * units, units)]
    found = []
    for _ in range(1 + _TRIES):
        start = time.perf_counter()
        _ = torch.lstm(x, (state, state), weights, False, 1, 0.0, False, False, False)
        found.append(time.perf_counter() - start)
    return min(found[1:])
