"""Questions about any recurrent network: `measure` makes the table, `draw` makes the picture from it."""

from .question import Question

__all__ = ["Question"]
