"""Plots of one sequence and of tables: maps of signals, tokens coloured by a unit, matrices and doses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_hex, to_rgb
from pages_read import Reader
from painted import contrast
from recorded import KINDS, recorded

from probe.plots import dose, heatmap, matrix


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_holds_the_recorded_values_of_one_sequence(kind: str) -> None:
    """Units down, steps across, to its end; gates from 0 to 1, all others as far to both sides as their largest."""
    own = recorded(kind)
    for row in (0, 1):
        ax: Any = own.recording.plot.heatmap(row=row, signals=own.signal, layer=own.layer)
        assert np.array_equal(np.asarray(ax.collections[0].get_array()), own.values[row, : own.lengths[row]].T)
        steps = [str(1 + step) for step in range(own.lengths[row])]
        assert [one.get_text() for one in ax.get_xticklabels()] == steps
        assert ("from the last to the first" in ax.get_xlabel()) == (kind == "bidirectional")
    part = next(one for one in own.recording.parts if own.layer in (None, one.layer))
    states = [str(signal).replace("_", " ") for signal in part.signals if signal in part.initial]
    drawn: Any = own.recording.plot.heatmap(layer=own.layer)
    assert [ax.get_title("left") for ax in drawn.figure.axes[: len(states)]] == states
    drawn = own.recording.plot.heatmap(layer=own.layer, signals=list(part.signals))
    panels = [ax for ax in drawn.axes if ax.get_title("left")]
    assert [ax.get_title("left").replace(" ", "_") for ax in panels] == [str(signal) for signal in part.signals]
    assert len(drawn.axes) == 2 * len(panels)
    for ax, (signal, value) in zip(panels, part.signals.items(), strict=True):
        image = ax.collections[0]
        gate, largest = signal.endswith("_gate"), value[0].abs().max().item()
        assert (image.norm.vmin, image.norm.vmax) == pytest.approx((0, 1) if gate else (-largest, largest))
        assert image.get_cmap().name == ("Greys" if gate else "signs")


def test_tokens_and_units_are_named() -> None:
    """As many as there are steps, a dollar sign is no formula; units of a matrix by tuples."""
    tokens = ["$a", "b$", "<", "&", "$\\frac$"]
    ax: Any = heatmap(recorded("packed").recording, row=2, signals="cell_state", tokens=tokens, noun="word")
    ax.figure.canvas.draw()
    assert ([one.get_text() for one in ax.get_xticklabels()], ax.get_xlabel()) == (tokens, "words read")
    own = recorded("state space")
    ax = heatmap(own.recording, signals="ssm_state", units=[(2, 1), (0, 0)])
    assert np.array_equal(np.asarray(ax.collections[0].get_array()), own.values[0].T[[5, 0]])
    assert [one.get_text() for one in ax.get_yticklabels()] == ["(2, 1)", "(0, 0)"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_the_recorded_value_of_each_token(kind: str) -> None:
    """As a number, in the title of the token, and as its colour; the tokens come out as they went in."""
    own = recorded(kind)
    tokens = ["<b>", "a&b", '"', "'", "</p><script>x</script>", " ", "\n"][: own.lengths[2]]
    coloured = own.recording.plot.text(tokens, own.second, row=2, layer=own.layer)
    assert np.array_equal(coloured.values, own.values[2, : len(tokens), 1])
    page = Reader(coloured._repr_html_())
    assert {tag for tag, _ in page.tags} == {"div", "p", "span"}
    assert page.words.endswith("".join(tokens))
    spans = page.named("span")[-len(tokens) :]
    for step, (value, span) in enumerate(zip(coloured.values, spans, strict=True), start=1):
        when = f"at step {step}" if kind == "bidirectional" else f"after {step} step{'s' * (step > 1)}"
        assert span["title"] == f"{when}: {value:.3g}"
        back, ink = re.findall(r"#[0-9a-f]{6}", str(span["style"]))
        red, _, blue = to_rgb(back)
        assert (red > blue) == (value > 0), "teal is below 0, gold above"
        assert contrast(back, ink) >= 4.5
    assert repr(coloured).startswith(f"{len(tokens)} tokens coloured by {own.signal.replace('_', ' ')}")


NUMBERS = np.array([[1.0, -2.5, np.nan], [0.25, 0.0, 2.0]])
FRAME = pd.DataFrame(NUMBERS, index=pd.Index(["up", "$down"], name="gate"), columns=pd.Index([*"abc"], name="step"))
DOSES = pd.DataFrame({"given": [0, 1, 2, 2, 0, 1], "answered": [0, 1, 2, 4, 3, np.nan], "part": [*"wwwwcc"]})


@pytest.mark.parametrize(
    "data",
    [FRAME, xr.DataArray(NUMBERS, {"gate": ["up", "$down"], "step": [*"abc"]}, ("gate", "step"))],
    ids=["frame", "array"],
)
def test_a_matrix_prints_its_numbers(data: object) -> None:
    """Each in its cell, with the names of rows and columns; what is missing stays empty."""
    ax = matrix(data, fmt=".1f", title="effect")
    written = {one.get_position(): one.get_text() for one in ax.texts}
    minus = "\N{MINUS SIGN}"
    wanted = {(0.5, 0.5): "1.0", (1.5, 0.5): f"{minus}2.5", (0.5, 1.5): "0.2", (1.5, 1.5): "0.0", (2.5, 1.5): "2.0"}
    assert written == wanted
    assert np.array_equal(np.ma.filled(np.ma.asarray(ax.collections[0].get_array()), np.nan), NUMBERS, equal_nan=True)
    assert [one.get_text() for one in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["up", "$down"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")) == ("step", "gate", "effect")


E = np.nan
#: A matrix -> its colour map, and where on it each number stands: equal numbers as far as they are large.
PLACES: list[tuple[Any, str, Any]] = [
    (NUMBERS, "signs", NUMBERS / 5 + 0.5),
    (NUMBERS**2, "Greys", NUMBERS**2 / 6.25),
    ([[1.0, 1 - 1e-9], [1.0, 1.0]], "Greys", np.ones((2, 2))),
    ([[0.25, 0.5]], "Greys", [[0.25, 0.5]]),
    ([[50, E], [E, 50]], "Greys", [[1, E], [E, 1]]),
    ([[20.0, 40.0]], "Greys", [[0.5, 1]]),
    ([[-2.0, -2.0]], "signs", [[0, 0]]),
]


@pytest.mark.parametrize(("data", "name", "places"), PLACES, ids=range(len(PLACES)))
def test_a_matrix_is_as_dark_as_its_numbers_are_large(data: Any, name: str, places: Any) -> None:
    """Two colours where it has numbers below 0; shares from 0 to 1; every number is read on its cell."""
    numbers = np.asarray(data, dtype=float)
    ax = matrix(torch.tensor(numbers))
    image = ax.collections[0]
    drawn = np.ma.filled(np.ma.asarray(image.norm(np.ma.masked_invalid(numbers)), dtype=float), np.nan)
    assert drawn == pytest.approx(np.asarray(places, dtype=float), abs=1e-6, nan_ok=True)
    for one in ax.texts:
        column, row = (int(place) for place in one.get_position())
        back = to_hex(tuple(image.get_cmap()(image.norm(numbers[row, column]))))
        assert contrast(str(one.get_color()), back) >= 4.5
    assert image.get_cmap().name == name


@pytest.mark.parametrize("table", [DOSES, xr.Dataset.from_dataframe(DOSES)], ids=["frame", "dataset"])
def test_a_dose_is_drawn_against_the_answer(table: object) -> None:
    """Beside the diagonal and the base; the mean of a dose that was given twice; no answer is no point."""
    ax = dose(table, hue="part", base=1.5)
    diagonal, base, whole, cell = (np.array(line.get_data()).T.tolist() for line in ax.get_lines())
    assert (diagonal, base) == ([[0, 0], [2, 2]], [[0, 1.5], [2, 1.5]])
    assert (whole, cell) == ([[0, 0], [1, 1], [2, 3]], [[0, 3]])
    legend: Any = ax.get_legend()
    named = {one.get_text(): line.get_marker() for one, line in zip(legend.texts, legend.get_lines(), strict=True)}
    assert ([*named], len(set(named.values()))) == (["w", "c"], 2)
    assert ((ax.get_xlabel(), ax.get_ylabel()), len(dose(table).get_lines())) == (("given", "answered"), 2)
