"""Each plot with a single panel, for tests that hold of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from recorded import MOVING, recorded

import probe

plots: Any = probe.plots


def _forgets() -> Any:
    """Return how long a small GRU remembers, unit by unit."""
    torch.manual_seed(0)
    return probe.memory(torch.nn.GRU(1, 3, batch_first=True), torch.randn(4, 9, 1), units="each", random=1)


ROWS = pd.DataFrame({"given": [0, 1, 2] * 2, "answered": [0.0, 1.0, 2.0, 1.0, 1.5, 1.0], "part": [*"aaabbb"]})
#: A plot -> how it draws a single panel that has a colour for each of several values, where it has colours at all.
PANEL: dict[str, Callable[..., Any]] = {
    "against": lambda **more: plots.against(recorded("lstm").recording, MOVING, units=1, **more),
    "dose": lambda **more: plots.dose(ROWS, hue="part", base=1, **more),
    "heatmap": lambda **more: plots.heatmap(recorded("lstm").recording, signals="cell_state", **more),
    "matrix": lambda **more: plots.matrix(np.arange(6).reshape(2, 3) - 2.0, **more),
    "memory": lambda **more: plots.memory(_forgets(), **more),
    "saturation": lambda **more: plots.saturation(recorded("lstm").recording, gates="input_gate", **more),
    "traces": lambda **more: plots.traces(recorded("lstm").recording, hue=MOVING, units=1, name="rest", **more),
    "trajectories": lambda **more: recorded("lstm").recording.plot.trajectories(hue=MOVING, points=[[0] * 4], **more),
    "tuning": lambda **more: plots.tuning(recorded("lstm").recording, MOVING, **more),
    "text": lambda **more: plots.text(recorded("lstm").recording, "abcdefg", 1, **more),
}
