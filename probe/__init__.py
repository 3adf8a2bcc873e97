"""Mechanistic interpretability for recurrent networks: record, edit and test what an LSTM has learned.

Names are imported when they are first used, so that `import probe` alone stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import showing

if TYPE_CHECKING:
    from . import examples as examples
    from . import plots as plots
    from .edits.constructors import ablate, clamp, edit, patch, steer
    from .edits.kinds import Edit
    from .errors import ProbeError
    from .evidence.findings import Finding
    from .hooks.intervene import intervene
    from .hooks.record import record, watch
    from .hooks.rollout import rollout
    from .hooks.sweeping.sweep import sweep
    from .influence.contributions import contributions
    from .influence.memory import memory
    from .loading.checkpoint import Checkpoint
    from .loading.load import load
    from .probes.linear_probe import linear_probe
    from .probes.random_recordings import random_weights
    from .probes.single_units import single_units
    from .recording.reading import load_recording
    from .recording.recording import Recording
    from .recurrent.inspection import inspect
    from .recurrent.signals import Signal, Site
    from .recurrent.steps.registry import register
    from .recurrent.steps.step import Step
    from .studies.study import Concept, Readout, Study

__version__ = "0.1.0"

_HOMES = {
    "recurrent.steps.registry": ("register",),
    "edits.constructors": ("Edit", "ablate", "clamp", "edit", "patch", "steer"),  # all kinds, for Edit.from_json
    "errors": ("ProbeError",),
    "evidence.findings": ("Finding",),
    "probes.linear_probe": ("linear_probe",),
    "probes.random_recordings": ("random_weights",),
    "probes.single_units": ("single_units",),
    "recurrent.inspection": ("inspect",),
    "hooks.intervene": ("intervene",),
    "influence.contributions": ("contributions",),
    "influence.memory": ("memory",),
    "loading.checkpoint": ("Checkpoint",),
    "loading.load": ("load",),
    "hooks.record": ("record", "watch"),
    "hooks.rollout": ("rollout",),
    "recording.recording": ("Recording",),
    "recording.reading": ("load_recording",),
    "recurrent.signals": ("Signal", "Site"),
    "recurrent.steps.step": ("Step",),
    "studies.study": ("Concept", "Readout", "Study"),
    "hooks.sweeping.sweep": ("sweep",),
}
#: How values show themselves: who does it, by its module and name in rooms above that of the type.
_SHOWS = {
    "evidence.findings.Finding": {"_repr_html_": "notebook.fragments.show_finding"},
    "probes.reading.Reading": {"plot": "plots.networks.draw_reading"},
    "recording.recording.Recording": {
        "_repr_html_": "notebook.fragments.show_recording",
        "plot": "plots.accessor.RecordingPlots",
    },
    "recurrent.inspection.ModelDescription": {"_repr_html_": "notebook.fragments.show_model"},
    "report.page.Page": {"_repr_html_": "notebook.frames.frame"},
}
for _kind, _methods in _SHOWS.items():
    for _method, _by in _methods.items():
        showing.register(f"probe.{_kind}", _method, f"probe.{_by}")

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Checkpoint",
    "Concept",
    "Edit",
    "Finding",
    "ProbeError",
    "Readout",
    "Recording",
    "Signal",
    "Site",
    "Step",
    "Study",
    "ablate",
    "clamp",
    "contributions",
    "edit",
    "inspect",
    "intervene",
    "linear_probe",
    "load",
    "load_recording",
    "memory",
    "patch",
    "random_weights",
    "record",
    "register",
    "rollout",
    "single_units",
    "steer",
    "sweep",
    "watch",
]


def __getattr__(name: str) -> object:
    if name in ("examples", "plots"):
        return import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    # Rooms that were imported, and what this file itself needs, are attributes as well, and no names to build on.
    return sorted(__all__)
