"""`recording.plot`, what it takes in place of a recording, and how a notebook shows what it returns."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from commands import printed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from recorded import KINDS, recorded, registered
from refusing import refused

import probe
from probe import plots
from probe.plots.accessor import RecordingPlots
from probe.plots.style import ShownAxes, ShownFigure, new_figure

TAKE_A_RECORDING = ("against", "heatmap", "saturation", "text", "traces", "trajectories")
CONCEPT = np.tile(np.arange(7), (6, 1))


def size(png: bytes) -> tuple[int, int]:
    """Return the pixels of a picture, which has more than one colour."""
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 2
        return picture.size


@pytest.mark.parametrize("what", ["axes", "figure"])
def test_a_notebook_shows_what_a_cell_ends_with(what: str) -> None:
    """As a PNG twice as sharp as it is large; nothing is left at pyplot, and the figure stays as it was."""
    own = recorded("lstm").recording
    shown: Any = own.plot.heatmap(signals="cell_state" if what == "axes" else None)
    figure = shown.figure
    before = figure.dpi, tuple(figure.get_size_inches())
    png, about = shown._repr_png_()
    assert size(png) == pytest.approx((2 * about["width"], 2 * about["height"]), abs=1)
    assert about["width"] == round(figure.get_figwidth() * 96)
    assert (figure.dpi, tuple(figure.get_size_inches())) == before
    assert plt.get_fignums() == []


def test_ipythons_formatter_finds_the_picture() -> None:
    """The display protocol itself, where IPython is installed: the data of a PNG, and its size."""
    formatters = pytest.importorskip("IPython.core.formatters")
    own = recorded("gru").recording
    for shown in (own.plot.heatmap(), own.plot.traces(units=0)):
        data, about = formatters.DisplayFormatter().format(shown)
        assert set(data) >= {"image/png", "text/plain"}
        wanted = tuple(2 * about["image/png"][side] for side in ("width", "height"))
        assert size(data["image/png"]) == pytest.approx(wanted, abs=1)
    coloured, _ = formatters.DisplayFormatter().format(own.plot.text("abcdefg", 0))
    assert coloured["text/html"].startswith("<div")


def test_every_new_figure_shows_itself() -> None:
    """Also those that questions draw; axes that were moved to another figure show nothing of their own."""
    figure, axes = new_figure(2)
    assert isinstance(figure, ShownFigure)
    assert {type(one) for one in axes.ravel()} == {ShownAxes}
    stranger = Figure()
    axes[0, 0].remove()
    axes[0, 0].figure = stranger
    assert axes[0, 0]._repr_png_() is None


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_figure_goes_into_a_paper(ending: str, tmp_path: Path) -> None:
    """By `.figure.savefig` of whatever a plot returns."""
    own = recorded("lstm").recording
    both: list[Any] = [own.plot.traces(), own.plot.traces(units=1)]
    for number, shown in enumerate(both):
        shown.figure.savefig(tmp_path / f"{number}.{ending}")
        assert (tmp_path / f"{number}.{ending}").stat().st_size > 1000


def test_no_setting_of_matplotlib_is_touched() -> None:
    """Before and after every plot they are the same."""
    before = dict(matplotlib.rcParams)
    own = recorded("lstm").recording
    for name in TAKE_A_RECORDING:
        given = {"against": (CONCEPT,), "text": ("abcdefg", 0)}.get(name, ())
        assert getattr(own.plot, name)(*given) is not None
    assert dict(matplotlib.rcParams) == before


def test_letters_are_large_enough() -> None:
    """None below nine points, in every plot and before and after it is drawn."""
    own = recorded("lstm").recording
    for shown in (
        own.plot.heatmap(),
        own.plot.against(CONCEPT),
        own.plot.traces(by=CONCEPT, units=0),
        own.plot.saturation(),
        own.plot.trajectories(by=CONCEPT),
        own.plot.trajectories(),
    ):
        figure: Any = shown.figure
        figure.canvas.draw()
        texts = [one for one in figure.findobj(Text) if one.get_text()]
        assert texts
        assert min(one.get_fontsize() for one in texts) >= 9


def test_the_accessor_has_the_plots_that_take_a_recording() -> None:
    """With their own signatures and words, without the recording; each gives what the function gives."""
    own = recorded("lstm").recording
    assert tuple(name for name in vars(RecordingPlots) if not name.startswith("_")) == TAKE_A_RECORDING
    for name in TAKE_A_RECORDING:
        function, method = getattr(plots, name), getattr(own.plot, name)
        assert next(iter(inspect.signature(function).parameters)) == "recording"
        assert list(inspect.signature(method).parameters) == list(inspect.signature(function).parameters)[1:]
        assert method.__doc__ == function.__doc__
    one, other = own.plot.traces(units=0), plots.traces(own, units=0)
    assert isinstance(one, Axes)
    assert isinstance(other, Axes)
    assert np.array_equal(one.get_lines()[0].get_ydata(), other.get_lines()[0].get_ydata())
    assert repr(own.plot) == f"Plots of a recording: {', '.join(TAKE_A_RECORDING)}"


def test_recording_loads_no_matplotlib() -> None:
    """Only the plots do."""
    code = "import sys, torch, probe; r = probe.record(torch.nn.GRU(1, 2), torch.zeros(3, 1, 1));"
    assert printed(f"{code} print('matplotlib' in sys.modules); r.plot; print('matplotlib' in sys.modules)") == (
        "False\nTrue"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_xarray_goes_in_too(kind: str) -> None:
    """The tree, one layer of it, and one signal, give the lines of the recording; padding is known there too."""
    own = recorded(kind)
    tree = own.recording.to_xarray()
    node: Any = tree[own.layer or "[0]"].to_dataset()
    wanted = plots.traces(own.recording, layer=own.layer, units=[0] if kind != "state space" else (0, 1))
    assert isinstance(wanted, Axes)
    array = node[own.signal]
    bare = array.drop_vars("length", errors="ignore")
    for given, layer in ((tree, own.layer), (node, None), (array, None), (bare, None)):
        signal = own.signal if given is node else None
        found = plots.traces(given, layer=layer, signal=signal, units=[0] if kind != "state space" else (0, 1))
        assert isinstance(found, Axes)
        for one, other in zip(wanted.get_lines(), found.get_lines(), strict=True):
            assert np.array_equal(one.get_xydata(), other.get_xydata(), equal_nan=True)
        assert found.get_title("left") == wanted.get_title("left")


def test_kept_steps_stand_where_they_were() -> None:
    """A recording of some steps has them on the axis, the first being 1; steps from the end have no place there."""
    torch.manual_seed(0)
    model, x = torch.nn.GRU(3, 2, batch_first=True), torch.randn(2, 6, 3)
    ax = probe.record(model, x, steps=[1, 4]).plot.traces(units=0)
    assert isinstance(ax, Axes)
    assert np.array(ax.get_lines()[0].get_xdata()).tolist() == [2, 5]
    last = probe.record(model, x, steps=[-1])
    with refused():
        _ = last.plot.traces()
    assert isinstance(last.plot.saturation(gates="reset_gate"), Axes)


def test_what_is_drawn_must_be_named_where_it_is_open() -> None:
    """Of several layers, of several calls, of several states; by what there is."""
    both = recorded("bidirectional").recording
    with refused():
        _ = both.plot.heatmap()
    model = torch.nn.LSTM(3, 2, batch_first=True)

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(self.rnn(x)[0].repeat(1, 1, 2)[:, :, :3])[0]

    twice = probe.record(Twice(), torch.randn(2, 4, 3))
    with refused():
        _ = twice.plot.traces()
    ax = twice.plot.traces(layer="rnn[0]/1", units=0)
    assert isinstance(ax, Axes)
    wanted = twice.call(1)["cell_state"][:, :, 0].mean(0).numpy()
    assert np.array(ax.get_lines()[0].get_ydata()) == pytest.approx(wanted)
    gates = probe.record(model, torch.randn(2, 4, 3), signals=["input_gate", "forget_gate"])
    with refused():
        _ = gates.plot.traces()
    with registered():
        assert recorded("state space").recording.plot.traces(signal="output", units=0) is not None


def test_what_cannot_be_drawn_is_refused() -> None:
    """Other objects, other dims, complex numbers, and values that are none."""
    own = recorded("lstm").recording
    array: Any = own.to_xarray()["[0]"]["cell_state"]
    with refused():
        _ = plots.heatmap([1, 2])
    with refused():
        _ = plots.traces(array.transpose("time", "batch", "unit"))
    with refused():
        _ = plots.traces(array * 1j)
    assert plots.traces(abs(array * 1j), units=0) is not None
    with refused():
        _ = plots.traces(array.where(array.time != 2))
    with refused():
        _ = plots.traces(array.where(array.time < 0))
    with refused():
        _ = plots.traces(array.assign_coords(time=array.time / 2))
