"""Notices a model that draws random numbers in train mode, as dropout does: another run of it gives other values."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

#: What is said of such a model.
DRAWS = "The model draws random numbers in its forward pass. Call model.eval() first"


class Draws:
    """Where torch's random numbers stand before a call of a model.

    Args:
        model: it counts only where one of its modules is in train mode; a policy that samples in evaluation mode is
            meant to.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._before = model, _states()

    def came(self) -> bool:
        """Return whether the call drew some."""
        moved = any(not torch.equal(*pair) for pair in zip(self._before, _states(), strict=False))
        return moved and any(module.training for module in self._model.modules())


def warn_of_draws(what: str, *, level: int) -> None:
    """Warn of values that another run will not give.

    Args:
        what: what the caller does with the model, such as "record".
        level: how many calls above this one the user's stands.
    """
    warnings.warn(f"{DRAWS}, unless you mean to {what} with them: each run has others.", stacklevel=level + 1)


def _states() -> list[Tensor]:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]
