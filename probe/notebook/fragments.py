"""Shows a recording, a model's layers or a finding in a notebook, as HTML tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..errors import several
from ..report.inline import CodeSpan, Sentence, Strong, pieces
from ..report.render import render_template, source_of
from ..report.tables import Cell, Table

if TYPE_CHECKING:
    import torch

    from ..evidence.findings import Finding
    from ..recording.recording import LayerRecording, Recording
    from ..recurrent.inspection import ModelDescription

#: What is shown of a value of any size: calls in full, layers, letters of a name.
CALLS, LAYERS, LETTERS = 8, 60, 80
#: Above so many numbers a summary would take longer than a reader waits; then none is computed.
SUMMARISED = 2**24


@dataclass(frozen=True)
class Folded:
    """A table behind a summary."""

    summary: str
    table: Table
    open: bool = False


def show_recording(recording: Recording) -> str:
    """Return a recording as HTML, at most 100 kB: what was kept of which call, in numbers."""
    numbers = sum(value.numel() for part in recording.parts for value in part.signals.values())
    folded = [
        _call(part, several=recording.calls[part.layer] > 1, summarised=numbers <= SUMMARISED, first=not place)
        for place, part in enumerate(recording.parts[:CALLS])
    ]
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


def show_finding(finding: Finding) -> str:
    """Return a finding as HTML: what was judged, and how much else it holds."""
    counts = Counter(claim.verdict for claim in finding.claims)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "none was judged"
    held = f"{len(finding.measurements):,} measurements, {several(len(finding.figures), 'figure')}"
    points: list[Sentence] = [f"Of {several(len(finding.claims), 'claim')}: {told}.", f"It holds {held}."]
    points += [[Strong(shortened(name)), ": ", shortened(text)] for name, text in list(finding.notes.items())[:CALLS]]
    rows: list[list[Cell]] = [
        [
            shortened(claim.rule.key),
            shortened(claim.rule.statement, 300),
            claim.value,
            claim.interval,
            claim.n,
            claim.verdict,
            shortened(claim.reason, 300),
        ]
        for claim in finding.claims
    ]
    columns = ["claim", "statement", "value", "interval at 95 %", "networks", "verdict", "reason"]
    table = Table(columns, rows, "What was judged.", verdict="verdict", digits=3, max_rows=LAYERS)
    title = next((text for text in (finding.title, finding.question) if text.strip()), "Finding")
    return _fragment(shortened(title, 200), points, [Folded("Claims", table, open=True)] if rows else [])


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


def _call(part: LayerRecording, *, several: bool, summarised: bool, first: bool) -> Folded:
    """Return one call of a layer: a row a signal; the first is not folded."""
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
    size = f"{next(iter(shapes.values()), 'no signal')}{' (batch, time, unit)' if shapes else ''}"
    ragged = f", rows of {min(part.lengths)} to {max(part.lengths)} steps" if part.lengths else ""
    table = Table(columns, rows, f"Signals of {name}.", digits=3, max_rows=max(len(rows), 1))
    return Folded(f"{name}: {size}{ragged}", table, open=first)


def _summary(value: torch.Tensor) -> tuple[float | None, float | None, float | None]:
    """Return the smallest value, the mean and the largest, without padding."""
    numbers = value.detach()
    numbers = numbers[~numbers.isnan()]
    if not numbers.numel():
        return None, None, None
    low, high = numbers.aminmax()
    return float(low), float(numbers.double().mean()), float(high)


def described(value: object, depth: int = 3) -> str:
    """Return what a model returned in a few words: kinds and shapes, no numbers; up to 200 letters."""
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
