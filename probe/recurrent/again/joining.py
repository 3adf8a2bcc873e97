"""Runs a module again on rows that begin like rows of its clean run: each from the first step where it differs.

All rows of a layer that differ so far go on together on torch's fused kernel; those that join bring the states of
the clean run along. So a row costs the steps that its change can reach, in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import kernels, memory
from ..calls import Call, own_order, read_call, write_output
from ..runs import Run, Trace, join
from ..signals import Signal, span

#: In how many stretches a run is cut at the most. A row may join earlier than it differs, which changes nothing.
_STRETCHES = 32


def joining(module: nn.Module, clean: Iterable[Run], origin: Tensor) -> Callable[..., Any]:
    """Return a forward for one pass of a model, which runs a call again from where its rows differ; without autograd.

    A call that is not the clean run's with other inputs, such as one from another state, runs in full.

    Args:
        module: the module.
        clean: its calls in the clean run.
        origin: for each row which row of the clean run it begins like.
    """
    runs = iter(clean)

    def forward(*arguments: Any, **keywords: Any) -> Any:
        run = next(runs, None)
        if run is not None and _begins_alike(run, call := read_call(run.layers, arguments, keywords), origin):
            return _joined(run, call, origin)
        return type(module).forward(module, *arguments, **keywords)

    return forward


def scaling(module: nn.Module, states: Sequence[Tensor], scale: Tensor) -> Callable[..., Any]:
    """Return a forward for one pass of a model, which multiplies the state that its first call starts from.

    Args:
        module: one of torch's recurrent modules or cells, or one that has learned the state.
        states: what it has learned, where a call gives none, (batch, unit) each.
        scale: the factor of each row, (batch,).
    """
    left = [scale.unsqueeze(-1)]

    def forward(*arguments: Any, **keywords: Any) -> Any:
        if left:
            by, given = left.pop(), (*arguments[1:], keywords.get("hx"), [one.unsqueeze(0) for one in states])
            parts = next(one for one in given if one is not None)
            parts = [part * by.to(part) for part in (parts if isinstance(parts, (tuple, list)) else [parts])]
            arguments, keywords = arguments[:1], {**keywords, "hx": tuple(parts) if len(parts) > 1 else parts[0]}
        return type(module).forward(module, *arguments, **keywords)

    return forward


def _begins_alike(run: Run, call: Call, origin: Tensor) -> bool:
    """Return whether a call has the clean one's steps, lengths and first states, row by row."""
    before, (time, _, features) = run.call, run.call.x.shape
    if call.x.shape != (time, len(origin), features) or (call.lengths is None) != (before.lengths is None):
        return False
    pairs = [] if call.lengths is None or before.lengths is None else [(call.lengths, before.lengths[origin.cpu()])]
    if call.has_state or before.has_state:
        for now, states in zip(call.initial, before.initial, strict=True):
            pairs += [(now[signal], value.index_select(0, origin)) for signal, value in states.items()]
    return all(torch.equal(*pair) for pair in pairs)


def _joined(run: Run, call: Call, origin: Tensor) -> Any:
    """Return what the module returns, level by level."""
    x, finals, lengths = call.x, list[dict[Signal, Tensor]](), call.lengths
    for level in range(run.layers[-1].level + 1):
        traces = run.level(level)
        clean = join(traces)
        hidden = memory.empty((len(clean), len(origin), clean.shape[2]), clean)
        torch.index_select(clean, 1, origin, out=hidden)
        for side, trace in zip(hidden.split([one.h.shape[2] for one in traces], dim=-1), traces, strict=True):
            finals.append({signal: value.index_select(0, origin) for signal, value in trace.last.items()})
            back = trace.layer.reads_back
            own = own_order(side, trace.layer, lengths) if back else side
            _run(trace, (own_order(x, trace.layer, lengths), origin, lengths), own, finals[-1])
            if back:
                side.copy_(own_order(own, trace.layer, lengths))
        x = hidden
    return write_output(run.layers, x, finals, call)


def _run(clean: Trace, call: tuple[Tensor, Tensor, Tensor | None], h: Tensor, final: dict[Signal, Tensor]) -> None:
    """Write what a layer returns, and its last states, for the rows whose input differs; all in its own order."""
    x, origin, lengths = call
    time, every = len(x), -(-len(x) // _STRETCHES)
    own = clean.x if clean.x.shape[1] == 1 else clean.x.index_select(1, origin)
    firsts = ((x - own).abs_().amax(-1) == 0).cumprod(0).sum(0)  # a NaN differs
    rows = firsts.argsort(stable=True)[: int((firsts < time).sum())]
    starts, counts = (firsts[rows] // every * every).unique_consecutive(return_counts=True)
    states, joined, which = dict[Signal, Tensor](), 0, span(rows)
    for start, stop, count in zip(starts.tolist(), [*starts[1:].tolist(), time], counts.tolist(), strict=True):
        new, joined = origin[rows[joined : joined + count]], joined + count
        begun = {signal: value.index_select(0, new) for signal, value in clean.before(start).items()}
        states = {signal: torch.cat([states[signal], value]) if states else value for signal, value in begun.items()}
        which = span(rows[:joined])
        if lengths is None:
            out, after = kernels.run_some(clean.layer, clean.cell, x[start:stop, which], states, to_end=False)
        else:
            left = (lengths[rows[:joined].cpu()] - start).clamp(0, stop - start)
            out, after = kernels.run_layer(clean.layer, clean.cell, x[start:stop, which], states, left)
        states = dict(after)
        if out is not None:
            h[start:stop, which] = out
    for signal, value in states.items():
        final[signal][which] = value
