"""Runs one layer, or opens a run of it: recording and edits both call this.

A call of a layer becomes a `Trace`. Its hidden states are the module's own, at every step; everything else is
recomputed from them. A free-running copy would drift away from a chaotic network within a few steps; values
computed from the module's own previous hidden state stay within rounding of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .cells import lstm
from .errors import ProbeError
from .layers import Layer, LayerInput, read_input, read_output, write_output
from .signals import Signal

_h, _c = Signal.HIDDEN_STATE, Signal.CELL_STATE
_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10, torch.float16: 2e-2, torch.bfloat16: 2e-2}


@dataclass(frozen=True, eq=False)
class Trace:
    """One call of one layer, opened.

    Attributes:
        given: inputs and initial states.
        signals: every signal, (time, batch, unit).
        c_last: the module's own last cell state, (batch, unit); an ulp away from the recomputed one.
        max_error: largest difference between the recomputed run and the module's, relative to max(1, |value|).
        error_step: the step at which it occurs.
    """

    given: LayerInput
    signals: Mapping[Signal, Tensor]
    c_last: Tensor
    max_error: float = 0.0
    error_step: int = 0


def trace(layer: Layer, arguments: tuple[Any, ...], keywords: Mapping[str, Any], output: Any) -> Trace:
    """Open the call `module(*arguments, **keywords)` that returned `output`."""
    given = read_input(layer, arguments, keywords)
    h, c_last = read_output(layer, output, batched=given.batched)
    signals = _recompute(layer, given.x, h, given.initial)
    return Trace(given, signals, c_last, *_largest_error(signals, c_last))


def check(layer: Layer, opened: Trace, tolerance: float | None) -> None:
    """Raise where the recomputed run and the module's run disagree.

    Args:
        layer: the layer that ran.
        opened: its run.
        tolerance: largest relative difference allowed; None for 1e-5 (float32), 1e-10 (float64) or 2e-2
            (half precision).

    Raises:
        ProbeError: they disagree; the message says by how much and at which step.
    """
    dtype = opened.signals[_h].dtype
    allowed = _TOLERANCE.get(dtype, 1e-5) if tolerance is None else tolerance
    if not opened.max_error <= allowed:  # a NaN fails too
        raise ProbeError(
            f"Layer {layer.name!r} does not compute what its weights say: recomputed states differ from the "
            f"module's by {opened.max_error:.3g} at step {opened.error_step} (allowed: {allowed:.3g}). Was its "
            "forward replaced, or does the input hold NaN? tolerance= sets another bound."
        )


def _recompute(layer: Layer, x: Tensor, h: Tensor, initial: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
    previous = torch.cat([initial[_h].unsqueeze(0).to(h.dtype), h[:-1]])
    a = lstm.preactivations(x, previous, layer.weights)
    signals = a | lstm.gates(a)
    signals[_c] = lstm.cell_states(signals, initial[_c])
    signals[_h] = h
    return signals


def _largest_error(signals: Mapping[Signal, Tensor], c_last: Tensor) -> tuple[float, int]:
    h, c = signals[_h].detach(), signals[_c].detach()
    if not h.numel():
        return 0.0, 0
    recomputed = signals[Signal.OUTPUT_GATE].detach() * torch.tanh(c)
    by_step = ((recomputed - h).abs_() / h.abs().clamp_(min=1)).flatten(1).amax(1)
    last = ((c[-1] - c_last).abs() / c_last.abs().clamp(min=1)).amax()
    by_step[-1] = torch.maximum(by_step[-1], last.detach())
    worst = int(by_step.nan_to_num(nan=float("inf")).argmax())
    return float(by_step[worst]), worst


#: Given a signal, its step and its value (batch, unit), returns the value to use instead and where it was set.
Change = Callable[[Signal, int, Tensor], tuple[Tensor, Tensor]]


class _SameValue(torch.autograd.Function):
    """The numbers of one tensor on the gradient path of another."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor) -> Tensor:
        """Return the numbers of `value`."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        """Send the gradient along `path`."""
        return None, gradients[0]


def _kept(natural: Tensor, changed: Tensor) -> Tensor:
    """Return the module's own numbers where an edit set what was there already.

    The gradient still runs through the edit: what it put in is a constant, whatever its value.
    """
    return _SameValue.apply(natural, changed) if changed.requires_grad or natural.requires_grad else natural


def rerun(layer: Layer, natural: Trace, steps: Sequence[int], change: Change) -> Trace:
    """Run a call again with changes at some steps.

    Everything before the first changed step is kept. From there the run resumes from the states that the
    module reached, one edited step in Python and the stretch up to the next one on the module's own kernel.
    A row whose values are unchanged keeps the module's own numbers, bit for bit.

    Args:
        layer: the layer that ran.
        natural: its run without changes.
        steps: the changed steps, ascending.
        change: what happens at them.

    Returns:
        The changed run.
    """
    x = natural.given.x
    pieces = [{signal: value[: steps[0]] for signal, value in natural.signals.items()}]
    moved = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    reached = moved
    before = {signal: value[steps[0]] for signal, value in natural.signals.items()}
    c_last = natural.c_last
    for step, following in zip(steps, [*steps[1:], len(x)], strict=True):
        c = _state_before(natural, pieces, _c)
        after, *rows = _edited_step(before, c, lambda signal, value, at=step: change(signal, at, value))
        moved, reached = moved | rows[0], reached | rows[1]
        pieces.append({signal: value.unsqueeze(0) for signal, value in after.items()})
        c_last = after[_c]
        stretch = slice(step + 1, following + 1)  # one further: what the next edited step would have been
        if step + 1 < len(x):
            state = {_h: after[_h], _c: after[_c]}
            run, c_last = _stretch(layer, x[stretch], state)
            run = {
                signal: _choose(natural.signals[signal][stretch], value, moved[:, None], reached[:, None])
                for signal, value in run.items()
            }
            pieces.append({signal: value[: following - step - 1] for signal, value in run.items()})
            if following < len(x):
                before = {signal: value[-1] for signal, value in run.items()}
    signals = {signal: torch.cat([piece[signal] for piece in pieces]) for signal in natural.signals}
    c_last = _choose(natural.c_last, c_last, moved[:, None], reached[:, None])
    return Trace(natural.given, signals, c_last, natural.max_error, natural.error_step)


def _choose(natural: Tensor, changed: Tensor, moved: Tensor, reached: Tensor) -> Tensor:
    """Return changed values where they moved, and the module's own elsewhere, on the changed path where reached."""
    return torch.where(moved, changed, torch.where(reached, _kept(natural, changed), natural))


def _state_before(natural: Trace, pieces: list[dict[Signal, Tensor]], signal: Signal) -> Tensor:
    for piece in reversed(pieces):
        if len(piece[signal]):
            return piece[signal][-1]
    return natural.given.initial[signal]


def _edited_step(
    before: Mapping[Signal, Tensor], c: Tensor, change: Callable[[Signal, Tensor], tuple[Tensor, Tensor]]
) -> tuple[dict[Signal, Tensor], Tensor, Tensor]:
    """Change one step: each signal in turn, and what follows from it, where and only where it follows.

    Returns the signals, the rows whose states moved, and the rows that the edits reached.
    """
    after: dict[Signal, Tensor] = {}
    moved: dict[Signal, Tensor] = {}
    reached: dict[Signal, Tensor] = {}
    for signal, value in before.items():
        result, follows = value, torch.zeros_like(value, dtype=torch.bool)
        if signal in lstm.FORMULAS:
            sources, formula = lstm.FORMULAS[signal]
            differs = torch.stack([moved[source] for source in sources]).any(0)
            follows = torch.stack([reached[source] for source in sources]).any(0)
            # Units that nothing reached keep the module's own number, not a recomputed one an ulp away.
            inputs = [after[source] for source in sources]
            if signal == _c:
                inputs = [c, *inputs]
            result = _choose(value, formula(*inputs), differs, follows)
        after[signal], own = change(signal, result)
        moved[signal] = after[signal] != value
        reached[signal] = follows | own
    moved_rows, reached_rows = ((mask[_c] | mask[_h]).any(-1) for mask in (moved, reached))
    return after, moved_rows, reached_rows


def _stretch(layer: Layer, x: Tensor, state: Mapping[Signal, Tensor]) -> tuple[dict[Signal, Tensor], Tensor]:
    module = layer.module
    sequence = x.transpose(0, 1) if module.batch_first else x
    # The class's forward, not the instance's call: no hook may see this inner run.
    output = nn.LSTM.forward(module, sequence, (state[_h].unsqueeze(0), state[_c].unsqueeze(0)))
    h, c_last = read_output(layer, output, batched=True)
    return _recompute(layer, x, h, state), c_last


def as_output(layer: Layer, opened: Trace) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return what the module would have returned for a run: output, (h_n, c_n)."""
    return write_output(layer, opened.signals[_h], opened.c_last, batched=opened.given.batched)
