"""Changes inside the recurrence of an unmodified module: edits as values, and the context that applies them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import engine
from .errors import ProbeError
from .layers import Layer, find_layers
from .signals import Signal, Site, as_indices, as_numbers, as_signal, within

if TYPE_CHECKING:
    from .recording import Recording

#: What this version edits: the two states of an LSTM.
_EDITABLE = (Signal.CELL_STATE, Signal.HIDDEN_STATE)


@dataclass(frozen=True)
class Edit:
    """A change at a site: a value that can be printed, compared and hashed.

    Attributes:
        site: where.
        values: what is put there, (row, step, unit); a row of the batch takes the row that `source_rows` names.
        source_rows: for each row of the batch the row of `values`, or None for the same row.
    """

    site: Site
    values: Float[Tensor, "row step unit"] = field(compare=False, repr=False)
    source_rows: tuple[int, ...] | None = None
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        content = self.values.detach().cpu().contiguous()
        data = content.view(torch.uint8).numpy().tobytes() if content.numel() else b""
        described = f"{content.dtype}{tuple(content.shape)}".encode()
        object.__setattr__(self, "digest", hashlib.sha256(described + data).hexdigest())

    def __repr__(self) -> str:
        site = self.site
        options = {
            "layer": site.layer,
            "units": site.units,
            "steps": site.steps,
            "rows": site.rows,
            "call": site.call,
            "source_rows": self.source_rows,
        }
        rows, steps, units = self.values.shape
        given = "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
        source = f"<{rows} rows x {steps} steps x {units} units, sha256 {self.digest[:8]}>"
        return f"patch({str(site.signal)!r}, source={source}{given})"


def patch(
    signal: str,
    source: Recording,
    *,
    layer: str | None = None,
    units: SupportsIndex | Iterable[SupportsIndex] | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    rows: SupportsIndex | Iterable[SupportsIndex] | None = None,
    source_rows: SupportsIndex | Iterable[SupportsIndex] | None = None,
    call: int | None = None,
) -> Edit:
    """Return the edit that puts another run's state into this one (activation patching, interchange).

    A patch of the cell state recomputes the hidden state of that step, h = o tanh(c). To keep h as it was,
    patch it too, with the run's own recording.

    Args:
        signal: `cell_state` or `hidden_state`.
        source: the recording that the values are taken from.
        layer: the layer's name in both models, or None for the only one that has the signal.
        units: which units, or None for all.
        steps: at which steps, or None for all; step 0 is the first input, and the state at a step is the one
            after reading that input.
        rows: which rows of the batch are changed, or None for all.
        source_rows: for each changed row, the row of the source; None takes the same row.
        call: which call of the layer in a forward pass, or None for every call.

    Raises:
        ProbeError: the signal cannot be edited, or the source lacks it, the layer, a unit, a step or a row.

    Reference:
        Vig et al. 2020 (causal mediation); Geiger et al. 2021 (interchange intervention), section 3.
    """
    if not hasattr(source, "parts"):
        raise ProbeError(
            f"source must be a recording, as probe.record returns it; this is a {type(source).__name__}."
        )
    if call is not None and (isinstance(call, bool) or not isinstance(call, int) or call < 0):
        raise ProbeError(f"call={call!r} must be the number of a call, the first being 0, or None for every call.")
    site = Site(
        as_signal(signal, _EDITABLE),
        layer,
        as_indices("units", units),
        as_indices("steps", steps),
        as_indices("rows", rows),
        call,
    )
    values = source[site.signal] if layer is None else source[layer, site.signal]
    picked = _picked(source, site.steps, values.shape[1])
    values = values[:, picked][:, :, within("units", site.units, values.shape[2], "the layer's unit axis")]
    chosen: tuple[int, ...] | None = None
    if source_rows is not None:
        # Repeats are meant here: many rows may take the state of one source.
        chosen = as_numbers("source_rows", source_rows)
        for row in chosen:
            within("source_rows", (row,), len(values), "the source's batch axis")
        chosen = tuple(row % len(values) for row in chosen)
    return Edit(site, values.detach().clone(), chosen)


def _picked(source: Recording, steps: tuple[int, ...] | None, length: int) -> list[int]:
    """Return where the steps stand on the source's time axis, which may hold some steps only."""
    kept = source.steps
    if kept is None:
        return within("steps", steps, length, "the source's time axis")
    if steps is None:
        raise ProbeError(f"The source holds steps {kept} only; name some of them with steps=.")
    missing = [step for step in steps if step not in kept]
    if missing:
        raise ProbeError(f"steps={missing} are not in the source, which holds steps {kept}.")
    return [kept.index(step) for step in steps]


def _apply(edit: Edit, step: int, steps: Sequence[int], value: Tensor) -> tuple[Tensor, Tensor]:
    """Return a signal's value (batch, unit) at a step with the edit's values put in, and where they were."""
    units = within("units", edit.site.units, value.shape[1], "the layer's unit axis")
    rows = within("rows", edit.site.rows, len(value), "the batch")
    sources = edit.source_rows if edit.source_rows is not None else rows
    if edit.source_rows is not None and len(sources) != len(rows):
        raise ProbeError(f"source_rows names {len(sources)} rows for the {len(rows)} rows of the batch.")
    if edit.source_rows is None and edit.site.rows is None and len(edit.values) != len(value):
        raise ProbeError(
            f"The source has {len(edit.values)} rows and the batch {len(value)}. Give a source of the same "
            "batch, or say with source_rows= which row each one takes."
        )
    within("rows", tuple(sources) if edit.source_rows is None else None, len(edit.values), "the source")
    put = edit.values[list(sources), steps.index(step)].to(value)
    changed = value.clone()
    place = torch.tensor(rows).unsqueeze(1), torch.tensor(units)
    changed[place] = put
    own = torch.zeros_like(value, dtype=torch.bool)
    own[place] = True
    return changed, own


@dataclass(eq=False)
class Applied:
    """What the edits made of a module's latest call."""

    output: object
    natural: engine.Trace
    edits: tuple[Edit, ...]
    changed: engine.Trace


#: For each module under edits, its latest call: a nested context, or a recording, starts from it.
_latest: WeakKeyDictionary[nn.Module, Applied] = WeakKeyDictionary()


def applied_to(module: nn.Module, output: object) -> Applied | None:
    """Return what edits made of the call that returned this very output, or None if none did."""
    latest = _latest.get(module)
    return latest if latest is not None and latest.output is output else None


def _edited(layer: Layer, natural: engine.Trace, edits: tuple[Edit, ...]) -> engine.Trace:
    length, batch = natural.signals[Signal.HIDDEN_STATE].shape[:2]
    placed = [
        (edit, within("steps", edit.site.steps, length, f"the input of layer {layer.name!r}")) for edit in edits
    ]
    for edit, steps in placed:
        _check_fit(edit, steps, batch, layer)
    if not placed:
        return natural

    def change(signal: Signal, step: int, value: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.zeros_like(value, dtype=torch.bool)
        for edit, steps in placed:
            if edit.site.signal == signal and step in steps:
                value, here = _apply(edit, step, steps, value)
                own = own | here
        return value, own

    every = sorted({step for _, steps in placed for step in steps})
    return engine.rerun(layer, natural, every, change)


def _check_fit(edit: Edit, steps: Sequence[int], batch: int, layer: Layer) -> None:
    within("rows", edit.site.rows, batch, f"the batch of layer {layer.name!r}")
    if len(steps) != edit.values.shape[1]:
        raise ProbeError(
            f"The patch holds {edit.values.shape[1]} steps and the input of layer {layer.name!r} has "
            f"{len(steps)}. Name the steps to patch with steps=."
        )


def _place(model: nn.Module, edits: Sequence[Edit]) -> list[tuple[Layer, tuple[Edit, ...]]]:
    """Return the layers that are edited with their edits, or raise before anything runs."""
    placed: dict[str, tuple[Layer, list[Edit]]] = {}
    for edit in edits:
        layers = find_layers(model, None if edit.site.layer is None else [edit.site.layer])
        if len(layers) > 1:
            raise ProbeError(
                f"{edit!r} names no layer, and the model has several: "
                f"{', '.join(repr(layer.name) for layer in layers)}. Choose one with layer=."
            )
        layer = next(iter(layers))
        within("units", edit.site.units, layer.units, f"layer {layer.name!r}")
        if edit.site.units is None and edit.values.shape[2] != layer.units:
            raise ProbeError(
                f"The source has {edit.values.shape[2]} units and layer {layer.name!r} has {layer.units}; "
                "choose units= that both have."
            )
        placed.setdefault(layer.name, (layer, []))[1].append(edit)
    return [(layer, tuple(own)) for layer, own in placed.values()]


def _check_calls(placed: Sequence[tuple[Layer, tuple[Edit, ...]]], counts: Mapping[str, int]) -> None:
    """Raise where a forward pass ended without a call that an edit waited for: nothing was changed then."""
    for layer, edits in placed:
        number = counts.get(layer.name, 0)
        for edit in edits:
            if (edit.site.call or 0) >= number:
                raise ProbeError(
                    f"{edit!r} changed nothing: the model called layer {layer.name!r} {number} times in its forward "
                    "pass. Choose a layer and a call= that happen; a layer run by .forward() is not seen."
                )


@contextmanager
def intervene(model: nn.Module, *edits: Edit) -> Iterator[nn.Module]:
    """Run a model with edits inside its recurrence; afterwards the model is exactly as it was.

    The module runs once as it is; then the edited layer is run again from the first edited step, so that the
    next step, the module's output and everything above see the change. Cost: one more run of the layer from
    that step on. Contexts may be nested; the edits of all of them act in one run.

    Args:
        model: any module that contains recurrent layers.
        *edits: what to change.

    Raises:
        ProbeError: a layer, signal or unit does not exist (before the model runs), or a step or row lies
            beyond the input (when the layer is called, before anything changes), or the forward pass ended
            without the call that an edit names.
    """
    for edit in edits:
        if not isinstance(edit, Edit):
            raise ProbeError(f"An edit is made by probe.patch(...); this is a {type(edit).__name__}.")
    handles: list[Any] = []
    counts: dict[str, int] = {}
    modules: list[nn.Module] = []

    def hook_for(layer: Layer, own: tuple[Edit, ...]) -> Any:
        def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
            number = counts.get(layer.name, 0)
            counts[layer.name] = number + 1
            active = tuple(edit for edit in own if edit.site.call in (None, number))
            if not active:
                return None
            outer = applied_to(module, output)
            natural = outer.natural if outer else engine.trace(layer, arguments, keywords, output)
            together = (outer.edits if outer else ()) + active
            changed = _edited(layer, natural, together)
            result = engine.as_output(layer, changed)
            _latest[module] = Applied(result, natural, together, changed)
            return result

        return hook

    try:
        placed = _place(model, edits)
        # Calls are numbered within one forward pass of the model.
        handles.append(model.register_forward_pre_hook(lambda *_: counts.clear()))
        for layer, own in placed:
            modules.append(layer.module)
            handles.append(layer.module.register_forward_hook(hook_for(layer, own), with_kwargs=True))
        handles.append(model.register_forward_hook(lambda *_: _check_calls(placed, counts)))
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in modules:
            _latest.pop(module, None)
