"""Plots of tables: what is drawn and written is what the table holds."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from test_report_figures import contrast

from probe import ProbeError
from probe.plots import bars, dose, matrix, strip
from probe.plots.style import AMOUNTS, ROLE_STYLE, shades

NUMBERS = np.array([[1.0, -2.5, np.nan], [0.25, 0.0, 2.0]])
FRAME = pd.DataFrame(NUMBERS, index=pd.Index(["up", "$down"], name="gate"), columns=pd.Index([*"abc"], name="step"))
DOSES = pd.DataFrame(
    {"given": [0, 1, 2, 2, 0, 1], "answered": [0.0, 1.0, 2.0, 4.0, 3.0, np.nan], "part": [*"wwwwcc"]}
)
ROWS = pd.DataFrame(
    {
        "name": ["planted one", "plain", "below"],
        "value": [1.0, 0.5, -0.25],
        "low": [0.9, np.nan, -0.5],
        "high": [1.0, np.nan, -0.125],
        "role": ["planted", "other", "trained"],
    }
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
    ("data", "asked", "message"),
    [
        (np.zeros(3), {}, r"data has the shape \(3,\) and holds float64; a matrix is numbers"),
        (np.full((2, 2), np.nan), {}, r"at least one of them finite"),
        (np.zeros((25, 2)), {}, r"25 rows and 2 columns; numbers are printed in at most 24"),
        (np.zeros((2, 2)), {"rows": ["a"]}, r"rows= names 1, and the matrix has 2"),
        (np.array([["a"]]), {}, r"holds <U1"),
    ],
)
def test_what_is_no_matrix_is_refused(data: np.ndarray, asked: dict, message: str) -> None:
    """With its shape, and what a matrix is."""
    with pytest.raises(ProbeError, match=message):
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


def test_a_strip_has_a_dot_for_each_value_and_a_line_at_the_median() -> None:
    """In the colour of the role; the first group is at the top; dots stay in their row."""
    frame = pd.DataFrame({"role": ["trained"] * 5 + ["planted"] * 4, "value": [3.0, 1, 2, 9, 4, 0, 1, 2, 5]})
    ax = strip(frame, label="a number")
    dots, medians = ax.get_lines()[::2], ax.get_lines()[1::2]
    assert [np.array(one.get_xdata()).tolist() for one in dots] == [[3, 1, 2, 9, 4], [0, 1, 2, 5]]
    assert [np.array(one.get_xdata()).tolist() for one in medians] == [[3, 3], [1.5, 1.5]]
    for place, (one, role) in enumerate(zip(dots, ("trained", "planted"), strict=True)):
        assert (one.get_color(), one.get_marker()) == (ROLE_STYLE[role].color, ROLE_STYLE[role].marker)
        assert (np.abs(np.array(one.get_ydata()) - place) <= 0.25).all()
        assert len(set(np.array(one.get_ydata()).tolist())) == len(np.array(one.get_xdata()))
    assert [one.get_text() for one in ax.get_yticklabels()] == ["trained", "planted"]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "a number"


def test_bars_have_their_interval_their_number_and_their_name() -> None:
    """A bar without an interval has no line; the number of a negative one stands at its left."""
    ax = bars(ROWS, by="role")
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5, -0.25]  # pyright: ignore[reportAttributeAccessIssue]
    inks = [ROLE_STYLE["planted"].color, shades(2)[-1], ROLE_STYLE["trained"].color]
    fills = [to_hex(bar.get_facecolor(), keep_alpha=True) for bar in ax.patches]
    assert fills == [ink.ljust(9, "f") for ink in inks]
    lines = [np.array(line.get_xdata()).tolist() for line in ax.get_lines()]
    assert lines == [[0.9, 1.0], [-0.5, -0.125], [0, 0]]
    assert [one.get_text() for one in ax.texts] == ["1.00", "0.50", "\N{MINUS SIGN}0.25"]
    assert [one.get_horizontalalignment() for one in ax.texts] == ["left", "left", "right"]
    assert [one.xy for one in ax.texts] == [(1.0, 0), (0.5, 1), (-0.5, 2)]  # pyright: ignore[reportAttributeAccessIssue]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["planted one", "plain", "below"]
    assert bars(ROWS.drop(columns=["low", "high"])).get_lines()[0].get_xdata() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bars(ROWS, value="size"), r"There is no column 'size'; there is 'name', 'value'"),
        (lambda: bars(ROWS, by="kind"), r"There is no column 'kind'"),
        (lambda: bars(ROWS, value="name"), r"The column 'name' holds .*; it must hold numbers"),
        (lambda: bars(ROWS.drop(columns="low")), r"data has the column 'high' alone; an interval has both"),
        (lambda: bars(ROWS.assign(low=2.0)), r"'low' must be at most 'value' and 'high' at least 'value'"),
        (lambda: bars(ROWS.assign(low=np.nan)), r"or both NaN"),
        (lambda: strip(ROWS.assign(value=np.nan)), r"data has no row with a number in 'value'"),
        (lambda: strip([1, 2]), r"A list was given; give a pandas DataFrame, or an xarray Dataset"),
        (lambda: dose(DOSES, by="parts"), r"There is no column 'parts'.*Did you mean 'part'"),
        (
            lambda: strip(pd.DataFrame({"role": [*"abcdefg"], "value": 1.0})),
            r"The column 'role' has 7 groups that are no roles, and at most 6 are told apart",
        ),
    ],
)
def test_what_a_table_lacks_is_said(call: object, message: str) -> None:
    """With what it has."""
    with pytest.raises(ProbeError, match=message):
        call()  # pyright: ignore[reportCallIssue]


def test_axes_of_the_caller_are_drawn_into() -> None:
    """By each of the four, and returned."""
    four = Figure().subplots(4)
    assert [matrix(NUMBERS, ax=four[0]), dose(DOSES, ax=four[1])] == list(four[:2])
    assert [strip(ROWS, ax=four[2]), bars(ROWS, ax=four[3])] == list(four[2:])
