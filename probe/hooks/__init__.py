"""`record`, `watch`, `intervene`, `sweep`: run a model with hooks on its recurrent layers."""

from .rollout import Rollout

__all__ = ["Rollout"]
