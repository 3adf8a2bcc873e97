"""`recording.plot`: the plots that take a recording, as methods of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from .gates import saturation
from .sequences import heatmap, text
from .state_space import trajectories
from .tuning import tuning
from .units import against, traces

Options = ParamSpec("Options")
Drawn = TypeVar("Drawn")


def _method(
    plot: Callable[Concatenate[Any, Options], Drawn],
) -> Callable[Concatenate[RecordingPlots, Options], Drawn]:
    """Return a plot as a method: the recording comes first, and the rest is the plot's own."""

    @functools.wraps(plot)
    def method(self: RecordingPlots, *arguments: Options.args, **options: Options.kwargs) -> Drawn:
        return plot(self.recording, *arguments, **options)

    return method


class RecordingPlots:
    """The plots of one recording: `recording.plot.heatmap()` is `probe.plots.heatmap(recording)`.

    Args:
        recording: what is drawn.
    """

    def __init__(self, recording: Any) -> None:
        self.recording = recording

    def __repr__(self) -> str:
        names = ", ".join(name for name in vars(RecordingPlots) if not name.startswith("_"))
        return f"Plots of a recording: {names}"

    against = _method(against)
    heatmap = _method(heatmap)
    saturation = _method(saturation)
    text = _method(text)
    traces = _method(traces)
    trajectories = _method(trajectories)
    tuning = _method(tuning)
