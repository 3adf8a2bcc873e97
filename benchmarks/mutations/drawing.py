"""What goes wrong where a recording is drawn: padding, steps, groups, directions, and letters of tokens."""

from __future__ import annotations

from .mutation import Mutation, of

MUTATIONS: tuple[Mutation, ...] = (
    *of(
        "probe.plots.recorded",
        "tests/wheel/test_plots_units.py",
        ("plots: padding is drawn", "_real", "layer.steps < lengths", "layer.steps < layer.steps + lengths"),
        ("plots: steps are counted from 0", "Layer.after", "self.steps + 1", "self.steps"),
    ),
    *of(
        "probe.plots.concepts",
        "tests/wheel/test_plots_units.py",
        ("plots: a concept holds in padding", "levels", "concept.known & drawn.real", "concept.known"),
    ),
    *of(
        "probe.plots.units",
        "tests/wheel/test_plots_units.py",
        ("plots: a line is not of its own step", "_curve", "here & (over.codes == code)", "over.codes == code"),
    ),
    *of(
        "probe.plots.state_space",
        "tests/wheel/test_plots_state_space.py",
        (
            "plots: directions of the states, not of their variance",
            "principal",
            "states - states.mean(axis=0)",
            "states",
        ),
    ),
    *of(
        "probe.plots.gates",
        "tests/wheel/test_plots_state_space.py",
        ("plots: open gates count as closed", "saturation", "values < CLOSED", "values > CLOSED"),
    ),
    *of(
        "probe.plots.sequences",
        "tests/wheel/test_plots_sequences.py",
        ("plots: a token is read as HTML", "_span", "escape(token)", "token"),
    ),
)
