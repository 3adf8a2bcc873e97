"""Shows a recording or a model's layers in a notebook, as HTML tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..errors import several
from ..report.inline import CodeSpan, Sentence, Strong, pieces
from ..report.render import render_template, source_of
from ..report.tables import Cell, Table
from .maps import STEPS, UNITS, Map, draw_map

if TYPE_CHECKING:
    import torch

    from ..recording.recording import LayerRecording, Recording
    from ..recurrent.inspection import ModelDescription

#: What is shown of a value of any size: calls in full, layers, letters of a name, bytes of pictures.
CALLS, LAYERS, LETTERS, PICTURE_BYTES = 8, 60, 80, 40_000
#: Above so many numbers a summary would take longer than a reader waits; then none is computed.
SUMMARISED = 2**24


@dataclass(frozen=True)
class Folded:
    """A table behind a summary, with the pictures of its rows, where it has some."""

    summary: str
    table: Table
    pictures: tuple[Map | None, ...] = ()
    open: bool = False


def show_recording(recording: Recording) -> str:
    """Return a recording as HTML, at most 100 kB: what was kept of which call, in numbers and small pictures."""
    budget = PICTURE_BYTES
    folded: list[Folded] = []
    numbers = sum(value.numel() for part in recording.parts for value in part.signals.values())
    for part in recording.parts[:CALLS]:
        shown = _call(part, several=recording.calls[part.layer] > 1, summarised=numbers <= SUMMARISED)
        size = sum(len(picture.source) for picture in shown.pictures if picture is not None)
        pictures = shown.pictures if size <= budget else ()
        budget -= size if pictures else 0
        folded.append(Folded(shown.summary, shown.table, pictures, open=not folded))
    count = len(recording.parts)
    title = f"Recording of {several(count, 'call')}"
    return _fragment(title, _about(recording, numbers), folded)


def show_model(description: ModelDescription) -> str:
    """Return a model's recurrent layers as HTML: a table of names, sizes, signals and parameters."""
    layers = description.layers
    columns = ["layer", "cell", "inputs", "units", "projected to", "parameters", "signals"]
    rows: list[list[Cell]] = [
        [
            shortened(layer.name),
            shortened(layer.cell),
            layer.inputs,
            layer.units,
            layer.projected,
            layer.parameters,
            layer.listed,
        ]
        for layer in layers
    ]
    if all(layer.projected is None for layer in layers):
        columns.remove("projected to")
        rows = [[*row[:4], *row[5:]] for row in rows]
    parameters = sum(layer.parameters for layer in layers)
    count = several(len(layers), "recurrent layer")
    table = Table(columns, rows, f"The {count} of {shortened(description.model)}", digits=12, max_rows=LAYERS)
    summary = f"{count} with {several(parameters, 'parameter')} in all"
    return _fragment(shortened(description.model), [], [Folded(summary, table, open=True)])


def show_sentence(title: str, sentence: str) -> str:
    """Return a sentence in place of what cannot be shown."""
    return _fragment(shortened(title), [pieces(sentence)], [])


def shortened(text: object, letters: int = LETTERS) -> str:
    """Return a name as a text of so many letters at most, its middle left out."""
    whole = str(text)
    half = letters // 2
    return whole if len(whole) <= letters else f"{whole[: half - 1]}…{whole[-half:]}"


def _fragment(title: str, points: Sequence[Sentence], folded: Sequence[Folded]) -> str:
    return render_template(
        "fragment.html.j2", style=Markup(source_of("fragment.css")), title=title, points=points, folded=folded
    )


def _about(recording: Recording, numbers: int) -> list[Sentence]:
    """Return what holds of a recording as a whole, a sentence each."""
    points: list[Sentence] = [["The model returned ", CodeSpan(described(recording.output)), "."]]
    if recording.max_error is None:
        points.append("Nothing was compared with the module (check=False).")
    else:
        error = Strong(f"{recording.max_error:.3g}")
        meaning = ": so far the recomputed states lie at most from the module's own, relative to max(1, |value|)."
        points.append(["Largest error ", error, meaning])
    if recording.steps is not None:
        points.append(["Steps kept: ", shortened(", ".join(map(str, recording.steps)))])
    if recording.not_called:
        points.append(["Not called: ", _some(recording.not_called)])
    if any(part.gradients for part in recording.parts):
        points.append(["It holds gradients too: ", CodeSpan("recording.gradient[layer, signal]"), "."])
    if len(recording.parts) > CALLS:
        points.append([f"The first {CALLS} calls are shown, of ", _some(recording.layers), "."])
    if numbers > SUMMARISED:
        points.append(f"{numbers:,} numbers were kept, too many to be summarised here.")
    return points


def _some(names: Sequence[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(shortened(name) for name in names[:6]) + more


def _call(part: LayerRecording, *, several: bool, summarised: bool) -> Folded:
    """Return one call of a layer: a row a signal, with the picture of the batch's first row."""
    shapes = {signal: part.extent(signal) for signal in part.signals}
    same = len(set(shapes.values())) < 2
    columns = (
        ["signal", "smallest", "mean", "largest"] if same else ["signal", "shape", "smallest", "mean", "largest"]
    )
    rows: list[list[Cell]] = []
    for signal, value in part.signals.items():
        about: list[Cell] = [str(signal)] if same else [str(signal), shapes[signal]]
        rows.append([*about, *(_summary(value) if summarised else (None, None, None))])
    name = f"{shortened(part.layer)}, call {part.call}" if several else shortened(part.layer)
    first = next(iter(part.signals.values()), None)
    size = f"{next(iter(shapes.values()), 'no signal')}{'' if first is None else ' (batch, time, unit)'}"
    ragged = f", rows of {min(part.lengths)} to {max(part.lengths)} steps" if part.lengths else ""
    caption = f"Signals of {name}; pictures show row 0, steps across and units down, teal below 0 and gold above"
    cut = first is not None and (first.shape[1] > STEPS or first.shape[2] > UNITS)
    caption += f" (the first {STEPS} steps and {UNITS} units at most)." if cut else "."
    table = Table(columns, rows, caption, digits=3, max_rows=max(len(rows), 1))
    pictures = tuple(draw_map(_first_row(value)) for value in part.signals.values())
    return Folded(f"{name}: {size}{ragged}", table, pictures)


def _summary(value: torch.Tensor) -> tuple[float | None, float | None, float | None]:
    """Return the smallest value, the mean and the largest, without padding."""
    numbers = value.detach()
    numbers = numbers[~numbers.isnan()]
    if not numbers.numel():
        return None, None, None
    low, high = numbers.aminmax()
    return float(low), float(numbers.double().mean()), float(high)


def _first_row(value: torch.Tensor) -> Any:
    """Return the first row of a signal, (step, unit), as far as a picture shows it."""
    return value[:1, :STEPS, :UNITS].detach().cpu().double().flatten(0, 1).numpy()


def described(value: object, depth: int = 3) -> str:
    """Return what a model returned in a few words: kinds and shapes, no numbers; up to 200 letters.

    Args:
        value: the output; tensors, and tuples, lists and dicts of them, are told by their shapes.
        depth: how deep it is looked into.
    """
    import torch
    from torch.nn.utils.rnn import PackedSequence

    if isinstance(value, torch.Tensor):
        shape = " x ".join(map(str, value.shape)) or "one number"
        return f"Tensor {shape} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, PackedSequence):
        return f"PackedSequence of {described(value.data, 0)}"
    name = type(value).__name__
    if depth and isinstance(value, Mapping):
        inner = [f"{shortened(key, 30)}: {described(item, depth - 1)}" for key, item in list(value.items())[:6]]
        return shortened(f"{name} {{{', '.join(inner)}{', …' if len(value) > 6 else ''}}}", 200)
    if depth and isinstance(value, (tuple, list)):
        inner = [described(item, depth - 1) for item in value[:6]]
        return shortened(f"{name} ({', '.join(inner)}{', …' if len(value) > 6 else ''})", 200)
    return shortened(name)
