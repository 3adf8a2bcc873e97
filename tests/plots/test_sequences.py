"""Plots of one sequence, and of tables.

- Plots of one sequence: maps of its signals, and tokens coloured by a unit, of every kind of network.
- Plots of tables: what is drawn and written is what the table holds.
"""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from painted import contrast
from PIL import Image
from recorded import KINDS, LENGTHS, recorded
from refusing import refused

from probe.plots import dose, heatmap, matrix, text
from probe.plots.sequences import ink_on
from probe.plots.style import AMOUNTS


class Spans(HTMLParser):
    """The tokens of a coloured text, as a browser reads them: (text, title, background, colour) each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str, str]] = []
        self.tags: set[str] = set()
        self._open: dict[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes of a span."""
        self.tags.add(tag)
        self._open = dict(attrs) if tag == "span" else None

    def handle_data(self, data: str) -> None:
        """Keep what a span holds."""
        if self._open is not None:
            back, ink = re.findall(r"#[0-9a-f]{6}", str(self._open["style"]))
            self.found.append((data, str(self._open["title"]), back, ink))
            self._open = None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 1])
def test_a_map_holds_the_recorded_values_of_one_sequence(kind: str, row: int) -> None:
    """Units down, steps across; what lies after the end of a sequence is not there."""
    own = recorded(kind)
    ax = own.recording.plot.heatmap(row=row, signals=own.signal, layer=own.layer)
    assert isinstance(ax, Axes)
    shown = np.asarray(ax.images[0].get_array())
    assert np.array_equal(shown, own.values[row, : own.lengths[row]].T)
    assert ax.get_title("left") == own.signal.replace("_", " ")
    assert [one.get_text() for one in ax.get_xticklabels()] == [str(1 + step) for step in range(own.lengths[row])]
    assert ax.get_xlabel() == ("step (read from the last to the first)" if kind == "bidirectional" else "step")


@pytest.mark.parametrize("kind", KINDS)
def test_every_signal_has_a_map_and_a_scale_of_its_own(kind: str) -> None:
    """Gates from 0 to 1, all others as far to both sides of 0 as their largest magnitude."""
    own = recorded(kind)
    figure = own.recording.plot.heatmap(layer=own.layer)
    assert isinstance(figure, Figure)
    part = next(one for one in own.recording.parts if own.layer in (None, one.layer))
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    assert [ax.get_title("left").replace(" ", "_") for ax in panels] == [str(signal) for signal in part.signals]
    assert len(figure.axes) == 2 * len(panels)
    for ax, (signal, value) in zip(panels, part.signals.items(), strict=True):
        (image,) = ax.images
        if signal.endswith("_gate"):
            assert (image.norm.vmin, image.norm.vmax) == (0, 1)
            assert image.get_cmap().name == "Greys"
        else:
            largest = value[0].abs().max().item()
            assert (image.norm.vmin, image.norm.vmax) == pytest.approx((-largest, largest))
            assert image.get_cmap().name == "signs"


def test_tokens_stand_below_as_texts() -> None:
    """Of a padded sequence as many as it has steps; a dollar sign is no formula."""
    own = recorded("packed")
    ax = heatmap(own.recording, row=2, signals="cell_state", tokens=["$a", "b$", "<", "&", "$\\frac$"], noun="word")
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    assert [one.get_text() for one in ax.get_xticklabels()] == ["$a", "b$", "<", "&", "$\\frac$"]
    assert ax.get_xlabel() == "words read"


def test_names_below_many_steps_are_thinned() -> None:
    """So that they do not run into each other; the first stands there."""
    own = recorded("lstm")
    ax = heatmap(own.recording, signals="cell_state", tokens=["a rather long token"] * 7)
    assert isinstance(ax, Axes)
    assert ax.get_xticks().tolist() == [0, 3, 6]


def test_units_are_chosen_and_named() -> None:
    """Those of a matrix state by index tuples."""
    own = recorded("state space")
    ax = heatmap(own.recording, signals="ssm_state", units=[(2, 1), (0, 0)])
    assert isinstance(ax, Axes)
    assert np.array_equal(np.asarray(ax.images[0].get_array()), own.values[0].T[[5, 0]])
    assert [one.get_text() for one in ax.get_yticklabels()] == ["(2, 1)", "(0, 0)"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_the_recorded_value_of_each_token(kind: str) -> None:
    """As a number, in the title of the token, and as its colour; the tokens come out as they went in."""
    own = recorded(kind)
    tokens = ["<b>", "a&b", '"', "'", "</p><script>x</script>", " ", "\n"][: own.lengths[2]]
    unit = (0, 1) if kind == "state space" else 1
    coloured = own.recording.plot.text(tokens, unit, row=2, layer=own.layer)
    assert np.array_equal(coloured.values, own.values[2, : len(tokens), 1])
    page = Spans(coloured._repr_html_())
    assert page.tags == {"div", "p", "span"}
    key, spans = page.found[:2], page.found[2:]
    assert [span[0] for span in spans] == tokens
    for step, (value, (_, title, back, ink)) in enumerate(zip(coloured.values, spans, strict=True), start=1):
        when = f"at step {step}" if kind == "bidirectional" else f"after {step} step{'s' * (step > 1)}"
        assert title == f"{when}: {value:.3g}"
        red, _, blue = (int(back[at : at + 2], 16) for at in (1, 3, 5))
        assert (red > blue) == (value > 0), "teal is below 0, gold above"
        assert contrast(back, ink) >= 4.5
    assert key[0][0].startswith("from -")
    assert repr(coloured).startswith(f"{len(tokens)} tokens coloured by {own.signal.replace('_', ' ')}")


def test_the_ink_on_a_colour_is_the_one_that_is_seen_better() -> None:
    """On every grey, of both."""
    for shade in range(256):
        colour = f"#{shade:02x}{shade:02x}{shade:02x}"
        other = {"#000000": "#ffffff", "#ffffff": "#000000"}[ink_on(colour)]
        assert contrast(colour, ink_on(colour)) >= contrast(colour, other)


@pytest.mark.parametrize(
    "asked",
    [
        {"row": 6},
        {"row": [0, 1]},
        {"signals": "cell"},
        {"signals": []},
        {"layer": "[1]"},
        {"units": [4]},
        {"tokens": "ab"},
    ],
)
def test_what_is_not_there_is_refused(asked: dict) -> None:
    """With what was given and what there is."""
    with refused():
        _ = heatmap(recorded("lstm").recording, **asked)


def test_padding_has_no_token() -> None:
    """As many tokens as the batch is long are refused for a shorter sequence."""
    with refused():
        _ = text(recorded("packed").recording, "abcdefg", 0, row=1)
    assert LENGTHS[1] == 3


def test_a_text_is_coloured_by_one_unit() -> None:
    """Several units are refused, and so are several signals in one panel of the caller."""
    with refused():
        _ = text(recorded("lstm").recording, "abcdefg", [0, 1])
    own = Figure().subplots()
    with refused():
        _ = heatmap(recorded("lstm").recording, ax=own)
    assert heatmap(recorded("lstm").recording, signals="input_gate", ax=own) is own


NUMBERS = np.array([[1.0, -2.5, np.nan], [0.25, 0.0, 2.0]])
FRAME = pd.DataFrame(NUMBERS, index=pd.Index(["up", "$down"], name="gate"), columns=pd.Index([*"abc"], name="step"))
DOSES = pd.DataFrame(
    {"given": [0, 1, 2, 2, 0, 1], "answered": [0.0, 1.0, 2.0, 4.0, 3.0, np.nan], "part": [*"wwwwcc"]}
)


@pytest.mark.parametrize(
    "data",
    [FRAME, xr.DataArray(NUMBERS, {"gate": ["up", "$down"], "step": [*"abc"]}, ("gate", "step"))],
    ids=["frame", "array"],
)
def test_a_matrix_prints_its_numbers(data: object) -> None:
    """Each in its cell, with the names of rows and columns; what is missing stays empty."""
    ax = matrix(data, form=".1f", label="effect")
    written = {one.get_position(): one.get_text() for one in ax.texts}
    minus = "\N{MINUS SIGN}"
    assert written == {(0, 0): "1.0", (1, 0): f"{minus}2.5", (0, 1): "0.2", (1, 1): "0.0", (2, 1): "2.0"}
    assert np.array_equal(np.ma.filled(np.ma.asarray(ax.images[0].get_array()), np.nan), NUMBERS, equal_nan=True)
    assert [one.get_text() for one in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["up", "$down"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")) == ("step", "gate", "effect")


@pytest.mark.parametrize(
    ("data", "low", "high", "name"), [(NUMBERS, -2.5, 2.5, "signs"), (NUMBERS**2, 0, 6.25, "Greys")]
)
def test_a_matrix_has_two_colours_where_it_has_both_signs(
    data: np.ndarray, low: float, high: float, name: str
) -> None:
    """And every number is read on its cell."""
    ax = matrix(torch.tensor(data), rows=["x", "y"])
    (image,) = ax.images
    assert (image.norm.vmin, image.norm.vmax) == (low, high)
    assert image.get_cmap().name == name
    for one in ax.texts:
        column, row = (int(place) for place in one.get_position())
        back = to_hex(tuple(image.get_cmap()(image.norm(data[row, column]))))
        assert contrast(str(one.get_color()), back) >= 4.5
    assert [one.get_text() for one in ax.get_yticklabels()] == ["x", "y"]


EMPTY = np.nan


@pytest.mark.parametrize(
    ("data", "darkness"),
    [
        (np.eye(3), np.eye(3)),
        (np.where(np.eye(3) > 0, 1.0, EMPTY), np.eye(3)),
        ([[1.0]], [[1]]),
        ([[1, 1], [1, 1]], np.ones((2, 2))),
        ([[1.0, 1 - 1e-9], [1.0, 1.0]], np.ones((2, 2))),
        ([[0.5, 0.5]], [[0.5, 0.5]]),
        ([[0.25, 0.5]], [[0.25, 0.5]]),
        ([[0, 0]], [[0, 0]]),
        ([[50, EMPTY], [EMPTY, 50]], np.eye(2)),
        ([[50.0, 50 + 1e-9]], [[1, 1]]),
        ([[20.0, 40.0]], [[0.5, 1]]),
    ],
)
def test_equal_numbers_are_as_dark_as_they_are_large(data: Any, darkness: Any) -> None:
    """Shares from white at 0 to black at 1, so that the diagonal of a perfect confusion matrix is black."""
    ax = matrix(np.asarray(data, dtype=float))
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    for one in ax.texts:
        one.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pixels = np.asarray(Image.open(buffer).convert("L")) / 255
    for (row, column), dark in np.ndenumerate(np.asarray(darkness, dtype=float)):
        across, up = ax.transData.transform((column, row))
        ink = float(np.dot(to_rgb(AMOUNTS(float(dark))), (0.299, 0.587, 0.114)))
        assert pixels[round(pixels.shape[0] - up), round(across)] == pytest.approx(ink, abs=0.02)


@pytest.mark.parametrize(("data", "gold"), [([[-2.0, -2.0]], 0), ([[-1.0, 1.0]], 0.5)])
def test_equal_numbers_below_0_are_not_white(data: Any, gold: float) -> None:
    """Two of one sign have its full colour."""
    (image,) = matrix(np.array(data)).images
    assert np.asarray(image.norm(np.array(data)), dtype=float).mean() == gold


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (np.zeros(3), {}),
        (np.full((2, 2), np.nan), {}),
        (np.zeros((25, 2)), {}),
        (np.zeros((2, 2)), {"rows": ["a"]}),
        (np.array([["a"]]), {}),
    ],
)
def test_what_is_no_matrix_is_refused(data: np.ndarray, asked: dict) -> None:
    """With its shape, and what a matrix is."""
    with refused():
        _ = matrix(data, **asked)


@pytest.mark.parametrize("table", [DOSES, xr.Dataset.from_dataframe(DOSES)], ids=["frame", "dataset"])
def test_a_dose_is_drawn_against_the_answer(table: object) -> None:
    """Beside the diagonal and the base; the mean of a dose that was given twice; no answer is no point."""
    ax = dose(table, by="part", base=1.5)
    diagonal, base, whole, cell = (np.array(line.get_data()).T.tolist() for line in ax.get_lines())
    assert diagonal == [[0, 0], [2, 2]]
    assert base == [[0, 1.5], [2, 1.5]]
    assert whole == [[0, 0], [1, 1], [2, 3]]
    assert cell == [[0, 3]]
    assert [one.get_text() for one in ax.texts if one.get_text() != "━"] == ["w", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("given", "answered")
    assert len(dose(table).get_lines()) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: dose(DOSES, answered="size"),
        lambda: dose(DOSES, answered="part"),
        lambda: dose(DOSES.assign(answered=np.nan)),
        lambda: dose([1, 2]),
        lambda: dose(DOSES, by="parts"),
        lambda: dose(pd.DataFrame({"role": [*"abcdefg"], "given": 1.0, "answered": 1.0}), by="role"),
    ],
)
def test_what_a_table_lacks_is_said(call: object) -> None:
    """With what it has."""
    with refused():
        call()  # pyright: ignore[reportCallIssue]


def test_axes_of_the_caller_are_drawn_into() -> None:
    """By both, and returned."""
    two = Figure().subplots(2)
    assert [matrix(NUMBERS, ax=two[0]), dose(DOSES, ax=two[1])] == list(two)
