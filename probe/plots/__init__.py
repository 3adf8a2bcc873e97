"""Plots of recordings and of tables, and how every figure looks."""

from ..errors import require

require("probe.plots", "study", "pandas", "matplotlib", "seaborn")

from .gates import saturation  # noqa: E402
from .sequences import ColouredText, heatmap, text  # noqa: E402
from .state_space import trajectories  # noqa: E402
from .tables import bars, dose, matrix, strip  # noqa: E402
from .units import against, traces  # noqa: E402

__all__ = [
    "ColouredText",
    "against",
    "bars",
    "dose",
    "heatmap",
    "matrix",
    "saturation",
    "strip",
    "text",
    "traces",
    "trajectories",
]
