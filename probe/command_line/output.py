"""Formats what the commands print, as text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..recording.recording import Recording


def to_json(value: Any) -> str:
    """Return values as JSON."""
    return json.dumps(_jsonable(value), indent=2, allow_nan=False)


def _jsonable(value: Any) -> Any:
    """Return plain JSON values: JSON has no infinity and no NaN, so these become words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value


def describe(recording: Recording) -> dict[str, Any]:
    """Return what `rnn-probe show` prints of a recording, as plain values."""
    parts = [
        {
            "layer": part.layer,
            "call": part.call,
            "signals": {
                str(signal): list(part.shaped(signal, value).shape) for signal, value in part.signals.items()
            },
        }
        for part in recording.parts
    ]
    return {
        "parts": parts,
        "steps": None if recording.steps is None else list(recording.steps),
        "not_called": list(recording.not_called),
        "max_error": recording.max_error,
    }


def recording_text(described: Mapping[str, Any]) -> str:
    """Return what `describe` returned as text."""
    lines = []
    for part in described["parts"]:
        lines.append(f"layer {part['layer']}, call {part['call']}")
        width = max(map(len, part["signals"]), default=0)
        for signal, shape in part["signals"].items():
            lines.append(f"  {signal:<{width}}  {' x '.join(map(str, shape))}")
    steps = described["steps"]
    lines.append("steps: " + ("all" if steps is None else " ".join(map(str, steps))))
    if described["not_called"]:
        lines.append("not called: " + ", ".join(described["not_called"]))
    lines.append(f"largest error: {described['max_error']:.3g}")
    return "\n".join(lines)
