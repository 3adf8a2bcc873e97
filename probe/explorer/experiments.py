"""`ExplorerExperiment`: a button of the explorer, and the inputs and edits that it sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, unknown
from .networks import Array
from .rival_programs import Number

if TYPE_CHECKING:
    from ..edits.kinds import Edit
    from ..recording.recording import Recording
    from ..recurrent.layers import Layer

#: What an edit of the explorer's form does; `ablate` puts zero.
KINDS = ("clamp", "ablate", "mean", "resample", "patch", "steer")
#: Of the memory the handle offers so many units one by one.
HANDLED_UNITS = 24
#: A sequence as a reader types it: symbols, or rows of numbers (time, feature).
Typed = str | Sequence[Sequence[float]] | Array


@dataclass(frozen=True)
class ExplorerEdit:
    """One edit as the explorer's form holds it, where the reader can change it.

    Args:
        kind: `clamp` holds the signal at `value`, `steer` adds it, `ablate` puts zero. Of the second sequences `mean`
            puts the mean at the same step, `resample` one that is drawn, and `patch` the first.
        signal: any signal of the layer.
        value: what a clamp puts or a steering adds to every unit, or the seed of a resampling.
        units: which units, or None for all.
        steps: at which steps, counted from 0 or from -1 backwards, or None for all; the page counts them from 1.
        layer: the layer's name, or None for the first.

    Raises:
        ProbeError: there is no such kind, or the value is not finite, or no seed.
    """

    kind: str
    signal: str
    value: Number = 0.0
    units: Sequence[int] | None = None
    steps: Sequence[int] | None = None
    layer: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProbeError(unknown("kind of edit in the explorer", self.kind, KINDS))
        seed = self.kind == "resample"
        if not math.isfinite(self.value) or (seed and (self.value < 0 or self.value != int(self.value))):
            raise ProbeError(
                f"value={self.value!r} must be {'a whole number from 0 on: the seed' if seed else 'a finite number'}."
            )

    def made(self, layer: str, units: int, source: Recording | None) -> Edit:
        """Return the edit for `probe.intervene`; `source` is the recording of the second sequences, if any."""
        from ..edits.constructors import ablate, clamp, patch, steer

        site: dict[str, Any] = {"layer": layer, "units": self.units, "steps": self.steps}
        if self.kind == "clamp":
            return clamp(self.signal, float(self.value), **site)
        if self.kind == "steer":
            return steer(
                self.signal, [float(self.value)] * (units if self.units is None else len(self.units)), **site
            )
        if self.kind == "ablate":
            return ablate(self.signal, **site)
        if source is None:
            raise ProbeError(
                f"An edit of kind {self.kind!r} takes values from second sequences; give them by second=."
            )
        if self.kind == "patch":
            return patch(self.signal, source, source_rows=[0], **site)
        seed = {} if self.kind == "mean" else {"seed": int(self.value)}
        return ablate(self.signal, kind=self.kind, reference=source, **seed, **site)

    def draft(self, layers: Sequence[str]) -> dict[str, Any]:
        """Return the edit as the form's fields, ready for JSON; of the layers the names are given."""
        value = int(self.value) if float(self.value).is_integer() else float(self.value)
        return {
            "kind": self.kind,
            "layer": 0 if self.layer is None else layers.index(self.layer),
            "signal": str(self.signal),
            "units": _listed(self.units),
            "steps": _listed(self.steps, first=1),
            "value": str(value),
        }


@dataclass(frozen=True)
class ExplorerExperiment:
    """Something to try: a button of the explorer that sets a sequence and edits.

    Args:
        label: what stands on the button.
        sequence: what is run, or None for the explorer's example.
        second: what edits take values from: sequences of one length.
        edits: in the order in which they are made. Where they only put in, at one step, what a network of one layer
            keeps (all of it, one signal, or one unit of its memory), the button sets the handle "put this memory in
            here"; otherwise it fills the form of edits.
        network: the name of the network, or None for the first.

    Raises:
        ProbeError: the label or a sequence is empty.
    """

    label: str
    sequence: Typed | None = None
    second: Sequence[Typed] = ()
    edits: Sequence[ExplorerEdit] = ()
    network: str | None = None

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise ProbeError("An experiment needs a label: it stands on its button.")
        if isinstance(self.second, str):
            object.__setattr__(self, "second", (self.second,))
        given = [*self.second, *([] if self.sequence is None else [self.sequence])]
        if not all(len(one.tolist() if isinstance(one, Array) else one) for one in given):
            raise ProbeError(f"The experiment {self.label!r} has an empty sequence; give at least one step.")


def written(edits: Sequence[ExplorerEdit], layers: Sequence[Layer], lengths: tuple[int, int]) -> dict[str, Any]:
    """Return edits as the page holds them, ready for JSON: by the handle where it says the same, else by the form.

    Returns:
        The drafts of the form, none of them where the handle is set: what it puts in, after which step of the second
        sequence that is taken and after which step it is put in, both from 0.
    """
    put = _handled(edits, layers[0], lengths) if len(layers) == 1 and lengths[1] else None
    if put is not None:
        return {**put, "edits": []}
    return {"edits": [edit.draft([layer.name for layer in layers]) for edit in edits]}


def _handled(edits: Sequence[ExplorerEdit], layer: Layer, lengths: tuple[int, int]) -> dict[str, Any] | None:
    """Return what the handle holds where it says the same as edits of the one layer, or None."""
    units, kept = layer.units, [str(signal) for signal in layer.whole_state]
    steps = {() if edit.steps is None else tuple(edit.steps) for edit in edits}
    step = next(iter(steps), ())
    if len(steps) != 1 or len(step) != 1 or any(edit.kind != "patch" for edit in edits):
        return None
    chosen = [() if edit.units is None else tuple(int(unit) % units for unit in edit.units) for edit in edits]
    said = {(str(edit.signal), *own) for edit, own in zip(edits, chosen, strict=True)}
    offered: dict[str, set[tuple[str | int, ...]]] = {"all": {(signal,) for signal in kept}}
    if len(kept) > 1:
        offered |= {"c": {(kept[0],)}, "h": {(kept[-1],)}}
    offered |= {f"u{unit}": {(kept[0], unit)} for unit in range(min(units, HANDLED_UNITS))}
    put = next((name for name, meant in offered.items() if meant == said), None)
    at, taken = (int(step[0]) % length for length in lengths)
    return None if put is None else {"put": put, "from": taken, "at": at}


def _listed(indices: Sequence[int] | None, first: int = 0) -> str:
    """Return indices as the form has them, the first of all by this number; -1 is the last one everywhere."""
    if indices is None:
        return "all"
    return " ".join(str(int(index) + (first if index >= 0 else 0)) for index in indices)
