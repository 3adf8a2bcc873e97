"""`check_step`: what an adapter of a recurrence of your own must hold, tried on a small network."""

from .checks import StepCheck, check_step

__all__ = ["StepCheck", "check_step"]
