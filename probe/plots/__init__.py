"""How figures look, and the pictures that several questions share."""

from ..errors import require

require("probe.plots", "study", "pandas", "matplotlib", "seaborn")
