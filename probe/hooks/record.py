"""`record` and `watch`: the signals of one call of a model, or of every call that other code makes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from ..arguments import NAMES, checked_arguments
from ..edits.kinds import Edit
from ..edits.resolve import EDITS
from ..errors import ProbeError
from ..recording.recording import Recording
from ..recurrent.finding import check_forward, find_layers
from ..recurrent.global_state import DRAWS, Draws, advise_on_threads, grad_mode_kept, warn_of_draws
from ..recurrent.kept import Change, Kept, naming_states, warn_of
from ..recurrent.layers import Layer, LoopLayer, StepLayer, own_forward, perhaps
from ..recurrent.rows.batches import Batch, batch_of
from ..recurrent.signals import Signal, as_indices
from ..recurrent.steps.forms import advice_on
from ..recurrent.steps.registry import chosen_signals
from .collector import Collector, Options, mapped
from .intervene import edited
from .sessions import Visit, eager, hooks_before


@checked_arguments(layer=NAMES, edits=EDITS)
def record(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    edits: Sequence[Edit] = (),
    signals: Iterable[str] | None = None,
    layer: str | Iterable[str] | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    gradient_of: Callable[[Any], Tensor] | None = None,
    check: bool = True,
    tolerance: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    out: str | os.PathLike[str] | None = None,
    batch_axis: int | None = None,
) -> Recording:
    """Call a model once and record every gate and state of its recurrent layers at every step.

    The model is called as it is, and its output is the bare call's under no_grad, bit for bit. Hidden states are the
    module's own; the rest is recomputed from them, and the result is checked against the module.

    Args:
        model: any module that contains recurrent layers; left as found.
        *inputs: what the model is called with.
        kwargs: the model's own keyword arguments.
        edits: what to change during the call; the recording is that of the edited run.
        signals: which signals to keep; None keeps all but the pre-activations, `probe.Signal` itself all.
        layer: which layer, by name, or which, several names in brackets; None keeps all.
        steps: which steps to keep; None keeps all. Negative ones count from each row's last step.
        gradient_of: takes the model's output and returns a scalar; `recording.gradient[...]` then holds its
            derivative with respect to every signal kept. The run is several times slower.
        check: compare the recomputed run with the module's. Without it only what is asked for is computed, which may
            round otherwise, and nothing says whether the module, and hooks before ours, do what its weights say.
        tolerance: largest difference allowed, relative to max(1, |value|). None for 1e-5 in float32, 1e-10 in
            float64, 2e-2 in half precision, or what rounding makes of large states, up to 1e-3, 1e-6, 5e-2.
        device: where to keep the values; None where the model computes them.
        dtype: their type; None for the model's own. What it cannot hold is refused.
        out: a new folder to stream the values into, one .npy file a site, read back memory-mapped. The model is
            called on one stretch of the batch after the other, so its rows must not depend on each other.
        batch_axis: with out=, the batch's axis of the first input; see `sweep`.

    Returns:
        A frozen value; its arrays are (batch, time, unit) whatever `batch_first` says.

    Raises:
        ProbeError: a layer or signal does not exist, a step lies beyond the input, memory is too small for the
            values, the recomputed run differs from the module's, or edits meet random numbers in train mode.
    """
    advise_on_threads()
    with naming_states(model, lambda: model(*inputs, **kwargs or {})):
        options = options_for(
            model, signals, layer, steps, check=check, tolerance=tolerance, device=device, dtype=dtype
        )
    _check_out(out, batch_axis, gradient_of)
    if out is None:
        found = _once(model, inputs, kwargs or {}, edits=edits, options=options, gradient_of=gradient_of)
    else:
        found = _streamed(out, model, batch_of(model, inputs, kwargs or {}, batch_axis), edits=edits, options=options)
    _warn([found], options.layers)
    return found


def _check_out(out: Any, batch_axis: int | None, gradient_of: Any) -> None:
    """Raise ProbeError for what goes only with out=, or only without it."""
    if batch_axis is not None and out is None:
        raise ProbeError(f"batch_axis={batch_axis} says how out= takes the batch apart, and there is no out=.")
    if gradient_of is not None and out is not None:
        raise ProbeError("gradient_of= cannot be streamed: give no out=, and record fewer rows at a time.")


def _warn(recordings: Sequence[Recording], layers: Sequence[Layer]) -> None:
    """Warn of values that another run will not give, and where nothing was called: `record` and `watch` end so."""
    if any(one.drawn for one in recordings):
        warn_of_draws("record", level=4)
    if recordings and all(len(one.not_called) == len(layers) for one in recordings):
        missing = ", ".join(repr(layer.name) for layer in layers)
        warnings.warn(
            f"The model called no recurrent layer, so that nothing was recorded of {missing}. If it runs a layer by "
            ".forward(), torch calls no hook: write layer(x) in place of layer.forward(x).",
            stacklevel=4,
        )


def _streamed(
    out: str | os.PathLike[str], model: nn.Module, batch: Batch, *, edits: Sequence[Edit], options: Options
) -> Recording:
    from .streaming import stream

    by_row = [edit for edit in edits if edit.by_row]
    if by_row:
        raise ProbeError(f"{by_row[0]!r} speaks of rows of the batch, which out= takes apart: give no out=.")

    def of_rows(given: Sequence[Any], named: Mapping[str, Any]) -> Recording:
        return _once(model, given, named, edits=edits, options=options, gradient_of=None)

    known = [layer.bytes_of(signal) or 0 for layer, kept in options.keep.items() for signal in kept]
    return stream(out, batch, of_rows, by_step=max(1, sum(known)))


@grad_mode_kept
def _once(
    model: nn.Module,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    *,
    edits: Sequence[Edit],
    options: Options,
    gradient_of: Callable[[Any], Tensor] | None,
) -> Recording:
    check_forward(model, "probe.record")
    collector = Collector(model, options, differentiate=gradient_of is not None, detach=True)
    if not edits and not options.check and gradient_of is None:
        _refuse_what_nothing_is_known_of(options.layers)
    kept, changes, rows = Kept(model), list[Change](), None
    try:
        with (
            torch.no_grad() if gradient_of is None else torch.enable_grad(),
            eager(),
            edited(model, edits, options.tolerance) if edits else nullcontext(),
            collector,
        ):
            draws = Draws(model)
            output = model(*arguments, **keywords)
            drawn = draws.came()
            if edits and drawn:
                raise ProbeError(f"{DRAWS}: otherwise nobody can tell what an edit changes from what they change.")
            if gradient_of is not None:
                collector.differentiate(gradient_of, output)
            collector.refuse_calls_elsewhere()
            recording = replace(collector.finish(output), drawn=drawn)
            rows = {value.shape[0] for part in recording.parts for value in part.signals.values()}
    finally:
        try:
            changes += kept.put_back(rows)
        except KeyboardInterrupt:
            _ = kept.put_back(rows)
            raise
    warn_of(changes, "Calls in `with probe.watch(model)` go on from each other.", level=5)
    return recording


def _refuse_what_nothing_is_known_of(layers: Sequence[Layer]) -> None:
    """Raise ProbeError for layers of which only the comparison says that the values kept are theirs."""
    if hooks_before():
        raise ProbeError(
            "A forward hook for all modules (torch.nn.modules.module.register_module_forward_hook) was there first. "
            "It may change what a layer returns, which check=False would keep as the layer's own: record with "
            "check=True, or take the hook away."
        )
    for layer in layers:
        if isinstance(layer, (StepLayer, LoopLayer)):
            raise ProbeError(
                f"Layer {layer.name!r} is a {type(layer.module).__name__}, whose states come from a step beside it. "
                "Only the comparison says that they are its own: record it with check=True."
            )
        if own_forward(layer.module):
            raise ProbeError(
                f"Layer {layer.name!r} has a forward of its own ({own_forward(layer.module)}), which check=False "
                "would pass over. Record it with check=True."
            )


@checked_arguments(layer=NAMES)
@contextmanager
def watch(
    model: nn.Module,
    *,
    signals: Iterable[str] | None = None,
    layer: str | Iterable[str] | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    tolerance: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    every: int = 1,
    detach: bool = False,
) -> Iterator[list[Recording]]:
    """Record every call of a model that something else makes, such as a trainer.

    Follows the caller's grad mode: under autograd, recorded values are on the graph, which they keep in memory;
    `detach=True` takes them off it. For the other arguments, see `record`.

    Args:
        every: record one call in so many, the first one first.
        detach: keep values without their graph.

    Yields:
        A list that gets one frozen Recording for each call of the model that ended without an error. Its output is
        what the model's forward returned, before forward hooks on the model (but after hooks for all of torch that
        were there before the context). Layers that are called in another way,
        as in `policy.predict(x)`, get a Recording without an output: one of all such calls up to the next call of
        the model, or to the end of the context.

    Raises:
        ProbeError: a layer or signal does not exist, or every= is no whole number above 0; in a call, what `record`
            raises; at the end, that only other threads or asyncio tasks called the model, whose calls are not seen.
    """
    options = options_for(model, signals, layer, steps, check=True, tolerance=tolerance, device=device, dtype=dtype)
    with watching(model, options, every=every, detach=detach) as recordings:
        yield recordings
    _warn(recordings, options.layers)


@contextmanager
def watching(
    model: nn.Module, options: Options, *, every: int = 1, detach: bool = False
) -> Iterator[list[Recording]]:
    """Record every call of a model without a word where it draws random numbers; see `watch`.

    Args:
        model: the model.
        options: what to keep, of `options_for`.
        every: as of `watch`.
        detach: as of `watch`.

    Yields:
        As of `watch`.
    """
    watcher = _Watcher(model, options, every=every, detach=detach)
    with eager(), watcher:
        yield watcher.recordings
        watcher.close()


class _Watcher(Collector):
    """A collector that makes a recording of each forward pass."""

    def __init__(self, model: nn.Module, options: Options, *, every: int, detach: bool) -> None:
        super().__init__(model, options, differentiate=False, detach=detach)
        self.recordings: list[Recording] = []
        self._every, self._passed, self._skips = every, 0, False
        self._model, self._draws = model, Draws(model)

    def begin(self) -> None:
        """Note that a forward pass of the model begins."""
        self._draws = Draws(self._model)
        self._add_calls_outside()
        self._skips = bool(self._passed % self._every)
        self._passed += 1

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep what a call of a module computed."""
        if self.of_a_cell:
            self.begin()
        if not self._skips:
            super().read(visit, number, step)
        if self.of_a_cell:
            self.end(visit.output)

    def end(self, output: Any) -> None:
        """Note that a forward pass of the model has returned."""
        if not self._skips:
            # A copy: the caller, or a hook on the model, may change its own in place.
            recording = self.finish(mapped(Tensor.clone, output))
            self.recordings.append(replace(recording, drawn=self._draws.came()))
        self._skips = False
        self.clear()

    def failed(self) -> None:
        """Note that a forward pass of the model has raised."""
        self._skips = False
        self.clear()

    @grad_mode_kept
    def close(self) -> None:
        """Make a recording of what is left, or raise where everything happened elsewhere."""
        self.settle()
        self._add_calls_outside()
        if not self.recordings:
            self.refuse_calls_elsewhere()
        elif len(self.recordings) > 1 and self._saw_no_recurrence():
            layers = self._options.layers
            raise ProbeError(
                f"None of the {len(self.recordings)} recordings holds a layer: each call of the model called "
                f"{', '.join(repr(one.name) for one in layers)} once at most, which shows no recurrence. Say where "
                f"the state stands, so that each call counts: {advice_on(layers[0].module)}."
            )

    def _saw_no_recurrence(self) -> bool:
        return all(map(perhaps, self._options.layers)) and not any(one.parts for one in self.recordings)

    def _add_calls_outside(self) -> None:
        if self.saw_something:
            self.recordings.append(self.finish(None))
            self.clear()


@grad_mode_kept
def options_for(
    model: nn.Module,
    signals: Iterable[str] | None = None,
    layer: str | Iterable[str] | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    *,
    check: bool = True,
    tolerance: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Options:
    """Return which sites of a model to keep and how, or raise ProbeError; the arguments are those of `record`."""
    chosen = find_layers(model, layer)
    wanted = _wanted(chosen, signals)
    keep = {layer: tuple(signal for signal in layer.signals if signal in wanted) for layer in chosen}
    if signals is not None:
        # A layer that has none of the named signals has nothing to keep.
        keep = {layer: kept for layer, kept in keep.items() if kept or isinstance(layer, LoopLayer)}
    named = None if signals in (None, Signal) else frozenset(wanted)
    return Options(keep, as_indices("steps", steps), check, tolerance, device, dtype, named)


def _wanted(layers: Sequence[Layer], signals: Iterable[str] | None) -> set[Signal]:
    available = tuple(dict.fromkeys(signal for layer in layers for signal in layer.signals))
    return set(chosen_signals(signals, available, untold=any(isinstance(layer, LoopLayer) for layer in layers)))
