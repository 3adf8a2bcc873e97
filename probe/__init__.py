"""Mechanistic interpretability for recurrent networks: record, edit and test what an LSTM has learned.

Names are imported when they are first used, so that `import probe` alone stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .claims import Claim, Control, Range, Rule, judge
    from .custom import CustomGRU, CustomLSTM, CustomRNN
    from .edit_kinds import Edit
    from .edits import ablate, clamp, edit, patch, steer
    from .errors import ProbeError
    from .findings import DataFigure, Finding
    from .inspection import inspect
    from .interventions import intervene
    from .loading.checkpoint import Checkpoint
    from .loading.front import load
    from .recorder import record, watch
    from .recording import Recording
    from .recording_files import load_recording
    from .signals import Signal, Site
    from .studies.study import Concept, Readout, Study
    from .sweeps import sweep

_HOMES = {
    "claims": ("Claim", "Control", "Range", "Rule", "judge"),
    "custom": ("CustomGRU", "CustomLSTM", "CustomRNN"),
    "edit_kinds": ("Edit",),
    "edits": ("ablate", "clamp", "edit", "patch", "steer"),
    "errors": ("ProbeError",),
    "findings": ("DataFigure", "Finding"),
    "inspection": ("inspect",),
    "interventions": ("intervene",),
    "loading.checkpoint": ("Checkpoint",),
    "loading.front": ("load",),
    "recorder": ("record", "watch"),
    "recording": ("Recording",),
    "recording_files": ("load_recording",),
    "signals": ("Signal", "Site"),
    "studies.study": ("Concept", "Readout", "Study"),
    "sweeps": ("sweep",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Checkpoint",
    "Claim",
    "Concept",
    "Control",
    "CustomGRU",
    "CustomLSTM",
    "CustomRNN",
    "DataFigure",
    "Edit",
    "Finding",
    "ProbeError",
    "Range",
    "Readout",
    "Recording",
    "Rule",
    "Signal",
    "Site",
    "Study",
    "ablate",
    "clamp",
    "edit",
    "inspect",
    "intervene",
    "judge",
    "load",
    "load_recording",
    "patch",
    "record",
    "steer",
    "sweep",
    "watch",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
