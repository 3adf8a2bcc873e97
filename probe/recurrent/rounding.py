"""Decides whether a recomputed run is the module's own, up to what rounding makes of it.

A cell state that adds up over many steps rounds at each of them, so that two computations of the same formulas may
lie farther apart than any fixed bound. Where the usual bound does not hold, the run is recomputed in another type,
from the same states of the module. How far the two lie apart is what rounding makes of this run, and the module may
lie a few times as far away. A forward that computes something else is far away at most steps, so averages count too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ..errors import ProbeError
from .cells.cell import CHUNK, Cell
from .cells.step_cell import StepCell
from .layers import StepLayer
from .runs import Opened, Trace
from .signals import States, is_continuous, name_of

#: By type, the usual bound, and up to where rounding may raise it: beyond, too little is known of the module.
_BOUNDS = {torch.float64: (1e-10, 1e-6), torch.float16: (2e-2, 5e-2), torch.bfloat16: (2e-2, 5e-2)}
_OF_OTHERS = 1e-5, 1e-3
_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}
#: How many times as far as rounding moves the recomputed run the module may lie from it: on average, where ordinary
#: modules reach 2 and others 20 (of forty LSTMs, GRUs and plain RNNs, drawn and trained), and at the worst, where a
#: single number decides.
_ON_AVERAGE, _AT_WORST = 5, 10
#: What a step may raise in another type.
_ERRORS = (ArithmeticError, AttributeError, LookupError, ProbeError, RuntimeError, TypeError, ValueError)


@dataclass
class Rounding:
    """What rounding makes of a run; all differences are relative to max(1, |value|).

    Attributes:
        worst: the largest difference between the states and outputs recomputed in the run's type and in another.
        total: the sum of these differences, of outputs.
        module: the sum of the differences between the recomputed outputs and the module's.
        state: the largest absolute value of a state.
    """

    worst: float = 0.0
    total: float = 0.0
    module: float = 0.0
    state: float = 0.0

    @property
    def times(self) -> float:
        """How many times as far off as by rounding the module is on average."""
        return self.module / self.total if self.total else float("inf")


def check(trace: Trace, opened: Opened, tolerance: float | None) -> None:
    """Raise where the recomputed run and the module's run disagree.

    Args:
        trace: a run of a layer.
        opened: what was recomputed of it.
        tolerance: largest relative difference allowed. None for 1e-5 (float32), 1e-10 (float64) or 2e-2 (half
            precision), and for more where rounding makes more, up to 1e-3, 1e-6 or 5e-2.

    Raises:
        ProbeError: they disagree; the message says by how much and at which step.
    """
    if is_near(trace, opened, tolerance):
        return
    usual, most = _BOUNDS.get(trace.dtype, _OF_OTHERS)
    allowed, told = usual if tolerance is None else tolerance, ""
    if tolerance is None and isfinite(opened.error) and (found := rounding(trace.clean or trace)):
        told = f" Rounding of states up to {found.state:.3g} over {len(trace.x)} steps can make {found.worst:.2g}."
        explained = max(usual, _AT_WORST * found.worst)
        if found.times <= _ON_AVERAGE:
            allowed = min(most, explained)
            if opened.error <= allowed:
                return
            if opened.error <= explained:
                raise ProbeError(_too_coarse(trace, opened, allowed, told))
        elif opened.error <= explained:
            told += f" On average the module is {found.times:.3g} times as far off."
    raise ProbeError(_refusal(trace, opened, allowed, told))


def is_near(trace: Trace, opened: Opened, tolerance: float | None) -> bool:
    """Return whether a recomputed run lies within the tolerance, or the usual bound; a NaN does not."""
    return opened.error <= (_BOUNDS.get(trace.dtype, _OF_OTHERS)[0] if tolerance is None else tolerance)


def _refusal(trace: Trace, opened: Opened, allowed: float, told: str) -> str:
    layer, by = trace.layer, f"{opened.error:.3g} at step {opened.step} (allowed: {allowed:.3g})"
    if isinstance(layer, StepLayer):
        return (
            f"{layer.step.__name__} does not run layer {layer.name!r} as the module runs itself: outputs differ by "
            f"{by}.{told} Does it draw random numbers, as dropout does (call model.eval())? "
            "probe.testing.check_step looks closer; tolerance= sets another bound."
        )
    return (
        f"Layer {layer.name!r} does not compute what its weights say: recomputed states differ from the module's by "
        f"{by}.{told} Was its forward replaced, or do inputs or weights hold NaN? tolerance= sets another bound."
    )


def _too_coarse(trace: Trace, opened: Opened, allowed: float, told: str) -> str:
    name, wider = name_of(trace.dtype), _WIDER.get(trace.dtype)
    way = "" if wider is None else f"Move the model and its inputs to {wider}, which rounds less. "
    return (
        f"Layer {trace.layer.name!r} rounds too much in {name}: recomputed states differ from the module's by "
        f"{opened.error:.3g} at step {opened.step} (allowed: {allowed:.3g}).{told} {way}"
        "tolerance= sets another bound."
    )


@torch.no_grad()
def rounding(trace: Trace) -> Rounding | None:
    """Return what rounding makes of a module's own run; None where it cannot be recomputed in another type."""
    own = trace.dtype
    if not own.is_floating_point:
        return None
    mode = _InType(torch.float32 if own == torch.float64 else torch.float64)
    try:
        with torch.random.fork_rng(devices=[trace.x.device] if trace.x.is_cuda else []):
            found = _compared(trace, mode)
    except _ERRORS:
        return None
    # Another type that is coarser rounds as many times as much.
    scale = min(1.0, torch.finfo(own).eps / torch.finfo(mode.real).eps)
    return replace(found, worst=found.worst * scale, total=found.total * scale)


def _compared(trace: Trace, mode: _InType) -> Rounding:
    """Recompute a run in its type and in another, a stretch of steps at a time."""
    cell, y, found = trace.cell, trace.cell.output, Rounding()
    other = cell.retyped(mode.of) if isinstance(cell, StepCell) else cell
    state = state_there = trace.initial
    rows = max(1, CHUNK // max(1, 4 * trace.h[0].numel()))
    for start in range(0, len(trace.x), rows):
        part = slice(start, start + rows)
        x, h, valid = trace.x[part], trace.h[part], _valid(trace, part)
        here, state = _recomputed(cell, x, h, state)
        with mode:
            there, state_there = other.recompute(x, h, state_there)
        for signal in {*cell.states, y}:
            if is_continuous(here[signal]):
                found.worst = max(found.worst, float(_apart(here[signal], there[signal], valid).amax()))
                found.state = max(found.state, float(here[signal][valid].abs().amax()))
        found.total += float(_apart(here[y], there[y], valid).sum())
        found.module += float(_apart(here[y], h, valid).sum())
    return found


def _valid(trace: Trace, part: slice) -> Any:
    """Return which rows have which of some steps, as an index."""
    if trace.lengths is None:
        return ...
    return (torch.arange(len(trace.x))[part].unsqueeze(1) < trace.lengths).to(trace.h.device)


def _recomputed(cell: Cell, x: Tensor, h: Tensor, state: States) -> tuple[States, States]:
    """Recompute a stretch of steps; raise where a step of somebody's own draws random numbers."""
    every = list[tuple[States, States]]()
    for seed in range(1 + isinstance(cell, StepCell)):
        torch.default_generator.manual_seed(seed)
        if x.is_cuda:
            with torch.cuda.device(x.device):
                torch.cuda.manual_seed(seed)
        every.append(cell.recompute(x, h, state))
    if any(not torch.equal(value, every[-1][0][signal]) for signal, value in every[0][0].items()):
        raise ProbeError("It draws random numbers, and noise is no rounding.")
    return every[0]


def _apart(one: Tensor, other: Tensor, valid: Any) -> Tensor:
    one, other = one[valid], other[valid]
    return (one - other).abs().double() / other.abs().clamp(min=1)


class _InType(TorchFunctionMode):
    """Lets torch compute in another type: what a function is given, and what it returns, is of that type.

    So a step of somebody's own is recomputed too, whatever holds its weights.

    Args:
        real: the type in place of every floating one.
    """

    def __init__(self, real: torch.dtype) -> None:
        super().__init__()
        self.real = real
        self._cast: Any = Tensor.double if real == torch.float64 else Tensor.float
        self._weights: dict[int, Tensor] = {}

    def of(self, own: torch.dtype) -> torch.dtype:
        """Return the type in place of one."""
        if own.is_complex:
            return torch.complex128 if self.real == torch.float64 else torch.complex64
        return self.real if own.is_floating_point else own

    def _retyped(self, one: Any) -> Any:
        if isinstance(one, nn.Parameter):  # which a step may read very often
            if id(one) not in self._weights:
                self._weights[id(one)] = one.to(self.of(one.dtype))
            return self._weights[id(one)]
        if isinstance(one, torch.dtype):
            return self.of(one)
        return one.to(self.of(one.dtype)) if isinstance(one, Tensor) else one

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16):
            func = self._cast
        args, kwargs = pytree.tree_map(self._retyped, (args, kwargs or {}))
        return pytree.tree_map(self._retyped, func(*args, **kwargs))
