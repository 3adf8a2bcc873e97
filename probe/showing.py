"""How values show themselves: by a function of a room above, which is named here and imported when it is needed.

A recording knows nothing of plots, and a finding nothing of notebooks. `probe/__init__.py` registers who shows what.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: The type, by its module and name; the method that shows it -> the function that does, by its module and name.
SHOWN_BY: dict[tuple[str, str], str] = {}


def register(kind: str, method: str, by: str) -> None:
    """Let a method of a type be done by a function that takes the value first.

    Args:
        kind: the type, such as `probe.recording.recording.Recording`.
        method: the method, such as `_repr_html_`.
        by: the function, such as `probe.notebook.fragments.show_recording`.
    """
    SHOWN_BY[kind, method] = by


def show(value: object, method: str, **options: Any) -> Any:
    """Return what the function gives that was registered for a method of a value's type, or of one that it is of."""
    kinds = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__)
    by = next(SHOWN_BY[kind, method] for kind in kinds if (kind, method) in SHOWN_BY)
    module, _, name = by.rpartition(".")
    return getattr(import_module(module), name)(value, **options)
