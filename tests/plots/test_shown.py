"""`recording.plot`, what it takes in place of a recording, how a notebook shows it, and what cannot be drawn."""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from recorded import KINDS, recorded, recording_of
from refusing import refused

import probe
from probe import plots
from probe.plots.accessor import RecordingPlots
from probe.plots.spaces import draw_cube, seen

CONCEPT = np.tile(np.arange(7), (6, 1))
#: The plots that take a recording, and what else they must be given.
GIVEN: dict[str, tuple[Any, ...]] = {
    "against": (CONCEPT,),
    "heatmap": (),
    "saturation": (),
    "text": ("abcdefg", 0),
    "traces": (),
    "trajectories": (),
    "tuning": (CONCEPT,),
}


#: The cells of a notebook, and how many pictures stand below each.
CELLS = {
    "import torch, probe\nimport matplotlib.pyplot as plt\ntorch.manual_seed(0)": 0,
    "own = probe.record(torch.nn.GRU(3, 4, batch_first=True), torch.randn(5, 6, 3)).plot": 0,
    "own.traces()": 1,
    "own.traces(units=0)": 1,
    "ax = own.traces(units=0)\nax": 1,
    "kept = own.traces()": 1,
    "kept": 1,
    "own.traces(units=0)\nplt.savefig('saved.png')": 1,
    "with plt.ioff():\n    own.traces(units=0)": 0,
    "plt.get_fignums()": 0,
}


def test_a_notebook_shows_a_plot_once(tmp_path: Path) -> None:
    """Of its axes or its figure, where a cell ends with it or forgets it; sharp where it ends with it."""
    notebooks = pytest.importorskip("notebooks")
    book = notebooks.v4.new_notebook(cells=[notebooks.v4.new_code_cell(code) for code in CELLS])
    _ = notebooks.execute(book, tmp_path)
    pictures = [[one.data for one in cell.outputs if "image/png" in one.get("data", {})] for cell in book.cells]
    assert dict(zip(CELLS, map(len, pictures), strict=True)) == CELLS
    sharp = Image.open(io.BytesIO(base64.b64decode(pictures[2][0]["image/png"])))
    about = next(one.metadata["image/png"] for one in book.cells[2].outputs)
    assert sharp.size == pytest.approx((2 * about["width"], 2 * about["height"]), abs=1)


@pytest.mark.parametrize("units", [0, None], ids=["axes", "figure"])
def test_the_picture_of_a_plot_is_twice_as_sharp_as_it_is_large(units: int | None, tmp_path: Path) -> None:
    """The figure stays as it was, and goes into a paper."""
    shown: Any = recorded("gru").recording.plot.traces(units=units)
    figure = shown.figure
    before = figure.dpi, tuple(figure.get_size_inches())
    data, about = shown._repr_png_()
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, len(picture.convert("RGB").getcolors(1 << 24) or []) > 2) == ("PNG", True)
    assert picture.size == pytest.approx((2 * about["width"], 2 * about["height"]), abs=1)
    assert about["width"] == round(figure.get_figwidth() * 96)
    assert (figure.dpi, tuple(figure.get_size_inches())) == before
    for ending in ("pdf", "svg"):
        figure.savefig(tmp_path / f"a.{ending}")
        assert (tmp_path / f"a.{ending}").stat().st_size > 1000


def test_the_accessor_has_the_plots_that_take_a_recording() -> None:
    """With their signatures and words, without the recording; no setting is touched, no letter below nine points."""
    own = recorded("lstm").recording
    before = dict(matplotlib.rcParams)
    assert [name for name in vars(RecordingPlots) if not name.startswith("_")] == list(GIVEN)
    assert repr(own.plot) == f"Plots of a recording: {', '.join(GIVEN)}"
    for name, given in GIVEN.items():
        function, method = getattr(plots, name), getattr(own.plot, name)
        first, *others = inspect.signature(function).parameters
        assert (first, others) == ("recording", list(inspect.signature(method).parameters))
        assert method.__doc__ == function.__doc__
        drawn: Any = method(*given)
        if name == "text":
            assert drawn._repr_html_() == plots.text(own, *given)._repr_html_()
            continue
        drawn.figure.canvas.draw()
        texts = [one for one in drawn.figure.findobj(Text) if one.get_text()]
        assert min(one.get_fontsize() for one in texts) >= 9
        asked: Any = function(own, *given)
        for one, other in zip(drawn.figure.axes, asked.figure.axes, strict=True):
            for line, twin in zip(one.get_lines(), other.get_lines(), strict=True):
                assert np.array_equal(line.get_ydata(), twin.get_ydata(), equal_nan=True)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("kind", KINDS)
def test_xarray_goes_in_too(kind: str) -> None:
    """The tree, one layer of it, and one signal, give the lines of the recording; padding is known there too."""
    own = recorded(kind)
    tree = own.recording.to_xarray()
    node: Any = tree[own.layer or "[0]"].to_dataset()
    wanted: Any = plots.traces(own.recording, layer=own.layer, units=own.second)
    array = node[own.signal]
    bare = array.drop_vars("length", errors="ignore")
    for given, layer in ((tree, own.layer), (node, None), (array, None), (bare, None)):
        signal = own.signal if given is node else None
        found: Any = plots.traces(given, layer=layer, signal=signal, units=own.second)
        for one, other in zip(wanted.get_lines(), found.get_lines(), strict=True):
            assert np.array_equal(one.get_xydata(), other.get_xydata(), equal_nan=True)
        assert found.get_title("left") == wanted.get_title("left")


def kept(**options: Any) -> Any:
    """Return the plots of a recording of some steps or signals."""
    torch.manual_seed(0)
    return probe.record(torch.nn.GRU(3, 2, batch_first=True), torch.randn(2, 6, 3), **options).plot


def twice() -> probe.Recording:
    """Return a recording of a model that calls its layer twice."""
    model = Model(lambda m, x: m.rnn(m.rnn(x)[0])[0], rnn=torch.nn.LSTM(3, 3, batch_first=True))
    return probe.record(model, torch.randn(2, 4, 3))


def test_what_is_drawn_is_chosen_and_kept_steps_stand_where_they_were() -> None:
    """Of several calls and states one that is named; steps of a recording stand on the axis, the first is 1."""
    assert kept(steps=[1, 4]).traces(units=0).get_lines()[0].get_xdata().tolist() == [2, 5]
    assert isinstance(kept(steps=[-1]).saturation(gates="reset_gate"), Axes)
    both = twice()
    ax: Any = both.plot.traces(layer="rnn[0]/1", units=0)
    wanted = both.call(1)["cell_state"][:, :, 0].mean(0).numpy()
    assert np.array(ax.get_lines()[0].get_ydata()) == pytest.approx(wanted)
    assert recorded("state space").recording.plot.traces(signal="output", units=0) is not None
    assert plots.traces(abs(array() * 1j), units=0) is not None


def array() -> Any:
    """Return the cell states of an LSTM as xarray has them."""
    return recorded("lstm").recording.to_xarray()["[0]"]["cell_state"]


def of(plot: str, *given: Any, kind: str = "lstm", **asked: Any) -> object:
    """Draw a plot of the recording of a kind of network."""
    return getattr(recorded(kind).recording.plot, plot)(*given, **asked)


NONE = np.full((6, 7), np.nan)
APART = np.where(np.arange(7) < 3, 1.0, NONE)
DOSES = pd.DataFrame({"given": [0, 1], "answered": [0.0, 1.0], "part": [*"wc"]})
WRONG: list[Callable[[], object]] = [
    # Of several layers, calls or states one must be named; other objects, dims and numbers are none.
    lambda: kept(steps=[-1]).traces(),
    lambda: of("heatmap", kind="bidirectional", row=0),
    lambda: twice().plot.traces(units=0),
    lambda: kept(signals=["reset_gate", "update_gate"]).traces(),
    lambda: plots.heatmap([1, 2]),
    lambda: plots.traces(array() * 1j),
    lambda: plots.traces(array().where(array().time < 0)),
    lambda: plots.traces(array().assign_coords(time=array().time / 2)),
    # Rows, signals and units that are not there, and what is no table; padding has no token.
    lambda: of("heatmap", row=6),
    lambda: of("heatmap", signals="cell"),
    lambda: of("heatmap", tokens="ab"),
    lambda: of("heatmap", ax=Figure().subplots()),
    lambda: of("text", "abcdefg", 0, kind="packed", row=1),
    lambda: of("text", "abcdefg", [0, 1]),
    lambda: plots.matrix(np.zeros(3)),
    lambda: plots.matrix(np.full((2, 2), np.nan)),
    lambda: of("heatmap", figsize=(0, 2)),
    lambda: of("heatmap", figsize=4),
    lambda: of("traces", units=0, ax=Figure().subplots(), figsize=(4, 4)),
    lambda: of("traces", units=0, ax=Figure().subplots(2)),
    lambda: of("heatmap", ax=Figure().add_subplot(projection="3d")),
    lambda: of("heatmap", cmap="no colours"),
    lambda: of("against", CONCEPT, hue=None, cmap="viridis"),
    lambda: plots.traces(recording_of(np.ones((2, 3, 13))), units=range(13)),
    lambda: plots.matrix(np.zeros((2, 2)), rows=["a"]),
    lambda: plots.dose(DOSES, answered="size"),
    lambda: plots.dose(DOSES, answered="part"),
    lambda: plots.dose(DOSES.assign(answered=np.nan)),
    lambda: plots.dose([1, 2]),
    lambda: plots.dose(pd.DataFrame({"role": [*"abcdefg"], "given": 1.0, "answered": 1.0}), hue="role"),
    # Concepts of other steps, without a value, with complex ones or more than 32 texts, and other words for groups.
    lambda: of("against", np.zeros((6, 8))),
    lambda: of("against", NONE),
    lambda: of("traces", hue=NONE),
    lambda: of("against", np.zeros(6, complex)),
    lambda: plots.against(recording_of(np.ones((12, 7, 2))), np.arange(84).reshape(12, 7).astype(str)),
    lambda: of("against", CONCEPT, hue="steps"),
    lambda: of("against", CONCEPT, ax=Figure().subplots()),
    lambda: of("against", APART, hue=np.where(np.isnan(APART), 1.0, np.nan)),
    # Too few units or coordinates, states that do not move, another number of directions, no gate.
    lambda: of("trajectories", flow=lambda states: states[:, :3]),
    lambda: of("trajectories", flow=lambda states: states, directions=3),
    lambda: of("trajectories", units=[2]),
    lambda: of("trajectories", directions=4),
    lambda: plots.trajectories(0 * array()),
    lambda: of("saturation", gates="cell_state"),
    lambda: of("saturation", kind="state space"),
    lambda: seen(np.zeros((1, 2))),
    lambda: draw_cube(["one"]),
]


def test_what_is_open_or_cannot_be_drawn_is_refused() -> None:
    """With what was given and what there is."""
    for draw in WRONG:
        with refused():
            _ = draw()
