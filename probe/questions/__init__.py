"""Questions about any recurrent network: `measure` makes the table, `draw` makes the picture from it."""

from ..errors import require

require("probe.questions", "study", "pandas", "matplotlib", "seaborn")
