"""`clamp`, `ablate`, `patch`, `steer`, `edit`: the functions that make an edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict, Unpack

import torch
from torch import Tensor

from ..arguments import SIGNED, checked_arguments, read_as
from ..errors import ProbeError, unknown
from ..recurrent.signals import (
    Site,
    Units,
    as_indices,
    as_numbers,
    as_units,
    counted,
    flat_units,
    is_continuous,
    span,
    within,
)
from ..recurrent.steps.registry import as_any_signal
from .kinds import Ablate, Clamp, Edit, FunctionEdit, Patch, Steer

if TYPE_CHECKING:
    from ..recording.recording import Recording

Indices = SupportsIndex | Iterable[SupportsIndex] | None


class Where(TypedDict, total=False):
    """Where an edit acts, besides its signal; what is left out is None.

    Attributes:
        layer: the layer's name, of a recording that values are taken from too; None for the only one with the signal.
        units: which units, or None for all; of a matrix state index tuples, such as [(3, 5)].
        steps: at which steps, or None for all. Step 0 is the first input, and the state at a step is the one after
            reading that input; negative ones count from each row's last step.
        rows: which rows of the batch that the layer reads are changed, or None for all.
        call: which sequence of the layer's calls in the context, the first being 0, or None for every one.
    """

    layer: str | None
    units: Units
    steps: Indices
    rows: Indices
    call: int | None


def _site(signal: str, **where: Unpack[Where]) -> Site:
    if unknown_ones := set(where) - {*Where.__annotations__}:
        raise ProbeError(unknown("place of an edit", min(unknown_ones), Where.__annotations__))
    layer, units, steps, rows, call = map(where.get, Where.__annotations__)
    return Site(
        as_any_signal(signal),
        None if layer is None else read_as("layer", layer),
        as_units(units),
        as_indices("steps", steps),
        as_indices("rows", rows),
        None if call is None else read_as("call", call),
    )


def _as_values(name: str, value: Any) -> Tensor:
    try:
        # A Python number is a float64; torch would round it to float32 first.
        values = value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProbeError(f"{name}={value!r} must be a number or an array of numbers ({error}).") from None
    return values if is_continuous(values) else values.to(torch.float64)


def clamp(
    signal: str,
    value: float | Sequence[float] | Tensor,
    **where: Unpack[Where],
) -> Edit:
    """Return the edit that holds a signal at a fixed value.

    Args:
        signal: any signal of the layer, such as `forget_gate`.
        value: one number for all units, or one for each unit that is edited, (unit,).
        **where: `layer`, `units`, `steps`, `rows`, `call`: see `probe.edits.constructors.Where`.

    Raises:
        ProbeError: there is no such signal, or the value is no number or no array of one axis.
    """
    values = _as_values("value", value)
    if values.dim() > 1:
        raise ProbeError(
            f"value has shape {tuple(values.shape)}; give one number, or one for each unit: "
            "value.flatten() of a matrix state."
        )
    return Clamp(_site(signal, **where), values)


@checked_arguments()
def ablate(
    signal: str,
    *,
    kind: str = "zero",
    reference: Recording | None = None,
    seed: int = 0,
    **where: Unpack[Where],
) -> Edit:
    """Return the edit that takes away what a signal says.

    A zero is a value that the network may never have seen; a mean keeps what is the same for every row (and the
    clock, since it is taken at each step); a resample keeps the values possible, but says another row's.

    Args:
        signal: any signal of the layer.
        kind: `zero`; `mean`, the reference's mean over its rows at the same step; or `resample`, for each row of the
            batch a row of the reference drawn at random, the same at every step.
        reference: the recording that means and rows are taken from.
        seed: of the drawing.
        **where: `layer`, `units`, `steps`, `rows`, `call`: see `probe.edits.constructors.Where`.

    Raises:
        ProbeError: there is no such signal or kind, or the reference lacks what is asked of it.

    Reference:
        Wang et al. 2023 (mean ablation); Chan et al. 2022, Causal scrubbing (resampling).
    """
    kinds = ("zero", "mean", "resample")
    if not isinstance(kind, str) or kind not in kinds:
        raise ProbeError(unknown("kind of ablation", kind, kinds))
    site = _site(signal, **where)
    if (reference is None) != (kind == "zero"):
        raise ProbeError(
            f"kind={kind!r} needs reference=, the recording that its values are taken from."
            if reference is None
            else "kind='zero' takes no reference=; choose kind='mean' or kind='resample'."
        )
    if reference is None:
        return Ablate(site, kind, None)
    values = _values_of(reference, "reference", site)
    if kind == "mean":
        return Ablate(site, kind, _mean(values))
    return Ablate(site, kind, values, seed)


def _mean(values: Tensor) -> Tensor:
    """Return the mean over rows that have not ended, (1, step, unit); torch's own takes no complex numbers."""
    ended = values.isnan()
    return values.masked_fill(ended, 0).sum(0, keepdim=True) / (~ended).sum(0, keepdim=True)


def patch(
    signal: str,
    source: Recording,
    *,
    source_rows: SupportsIndex | Iterable[SupportsIndex] | None = None,
    **where: Unpack[Where],
) -> Edit:
    """Return the edit that puts another run's values into this one (activation patching, interchange).

    A patch of a gate or of the cell state recomputes what follows from it at that step, such as h = o tanh(c). To
    keep h as it was, patch it too, with the run's own recording.

    Args:
        signal: any signal of the layer, such as `cell_state`.
        source: the recording that the values are taken from.
        source_rows: for each changed row, the row of the source; None takes the same row.
        **where: `layer`, `units`, `steps`, `rows`, `call`: see `probe.edits.constructors.Where`.

    Raises:
        ProbeError: there is no such signal, or the source lacks it, the layer, a unit, a step or a row.

    Reference:
        Vig et al. 2020 (causal mediation); Geiger et al. 2021 (interchange intervention), section 3.
    """
    site = _site(signal, **where)
    values = _values_of(source, "source", site)
    chosen: tuple[int, ...] | None = None
    if source_rows is not None:
        # Repeats are meant here: many rows may take the state of one source.
        rows_of_source = as_numbers("source_rows", source_rows)
        chosen = tuple(counted("source_rows", rows_of_source, len(values), "the source's batch axis"))
    return Patch(site, values, chosen)


@checked_arguments(scale=SIGNED)
def steer(
    signal: str,
    direction: Sequence[float] | Tensor,
    *,
    scale: float = 1.0,
    **where: Unpack[Where],
) -> Edit:
    """Return the edit that adds a direction to a signal (activation steering).

    Args:
        signal: any signal of the layer.
        direction: one number for each unit that is edited, (unit,).
        scale: how many times the direction is added.
        **where: `layer`, `units`, `steps`, `rows`, `call`: see `probe.edits.constructors.Where`.

    Raises:
        ProbeError: there is no such signal, or the direction is no array of one axis.

    Reference:
        Turner et al. 2023, Activation addition.
    """
    values = _as_values("direction", direction)
    if values.dim() != 1:
        raise ProbeError(
            f"direction has shape {tuple(values.shape)}; give one number for each unit that is edited: "
            "direction.flatten() of a matrix state's."
        )
    return Steer(_site(signal, **where), values, float(scale))


@checked_arguments()
def edit(
    signal: str,
    function: Callable[[Tensor, Site], Tensor],
    **where: Unpack[Where],
) -> Edit:
    """Return the edit that a function makes, which gradients run through where torch can differentiate it.

    Args:
        signal: any signal of the layer.
        function: `function(value, site) -> value` is called once for each edited step, with the values of the edited
            rows and units at that step, (row, unit), a matrix state's units row by row; `site.steps` holds the step.
        **where: `layer`, `units`, `steps`, `rows`, `call`: see `probe.edits.constructors.Where`.

    Raises:
        ProbeError: there is no such signal, or the function cannot be called.
    """
    return FunctionEdit(_site(signal, **where), function)


def _values_of(source: Recording, name: str, site: Site) -> Tensor:
    """Return what a recording holds at a site, (row, step, unit); the site's rows are those of the batch."""
    if not hasattr(source, "parts"):
        raise ProbeError(
            f"{name} must be a recording, as probe.record returns it; this is a {type(source).__name__}."
        )
    values = source[site.signal] if site.layer is None else source[site.layer, site.signal]
    shape, values = tuple(values.shape[2:]), values.flatten(2)
    picked = _picked(source, site.steps, values.shape[1])
    units = span(flat_units(site.units, shape, "the layer's unit axis"))
    lengths = next(
        part.lengths for part in source.parts if site.signal in part.signals and site.layer in (None, part.layer)
    )
    if lengths is None or source.steps is not None or min(site.steps or (0,)) >= 0:
        values = values[:, span(picked)]
    else:
        # A negative step counts from each row's own end.
        given, ends = torch.tensor(site.steps).expand(len(values), -1), torch.tensor(lengths).unsqueeze(1)
        own, rows = torch.where(given < 0, given + ends, given), torch.arange(len(values)).unsqueeze(1)
        ended = (own < 0).unsqueeze(2).to(values.device)
        values = values[rows, own.clamp(min=0)].masked_fill(ended, float("nan"))
    return values[:, :, units].detach().clone(memory_format=torch.contiguous_format)


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
