"""Questions about any recurrent network: `measure` makes the table, `draw` makes the picture from it."""

from ..errors import require

require("probe.questions", "study", "pandas", "matplotlib", "seaborn")

from .question import Question  # noqa: E402

__all__ = ["Question"]
