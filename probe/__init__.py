"""Mechanistic interpretability for recurrent networks: record, edit and test what an LSTM has learned.

Names are imported when they are first used, so that `import probe` alone stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .claims import Claim, Control, Range, Rule, judge
    from .edits import Edit, intervene, patch
    from .errors import ProbeError
    from .findings import DataFigure, Finding
    from .inspection import inspect
    from .recording import Recording, load_recording, record
    from .signals import Signal, Site

_HOMES = {
    "claims": ("Claim", "Control", "Range", "Rule", "judge"),
    "edits": ("Edit", "intervene", "patch"),
    "errors": ("ProbeError",),
    "findings": ("DataFigure", "Finding"),
    "inspection": ("inspect",),
    "recording": ("Recording", "load_recording", "record"),
    "signals": ("Signal", "Site"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Claim",
    "Control",
    "DataFigure",
    "Edit",
    "Finding",
    "ProbeError",
    "Range",
    "Recording",
    "Rule",
    "Signal",
    "Site",
    "inspect",
    "intervene",
    "judge",
    "load_recording",
    "patch",
    "record",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
