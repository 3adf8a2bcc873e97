"""Plots of recordings and of tables, and how every figure looks."""

from .gates import saturation
from .panels import table
from .resets import memory
from .sequences import ColouredText, contributions, heatmap, text
from .state_space import trajectories
from .tables import dose, matrix
from .tuning import tuning
from .units import against, traces

__all__ = [
    "ColouredText",
    "against",
    "contributions",
    "dose",
    "heatmap",
    "matrix",
    "memory",
    "saturation",
    "table",
    "text",
    "traces",
    "trajectories",
    "tuning",
]
