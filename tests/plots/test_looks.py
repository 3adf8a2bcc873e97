"""What plots take of their reader: settings, a size, a title, colours, axes of a grid; and how large they get."""

from __future__ import annotations

import inspect
import io
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pytest
import seaborn as sns
import torch
from matplotlib.text import Text
from painted import looked_at
from plotted import PANEL
from recorded import recording_of

import probe
from probe.plots.style import new_figure, style
from probe.report import figure_to_svg

plots: Any = probe.plots
STYLES: dict[str, Any] = {
    "sheet": "dark_background",
    "another sheet": "ggplot",
    "settings": {"lines.linewidth": 5, "lines.markersize": 12, "font.size": 15, "image.cmap": "cividis"},
}


def pixels(drawn: Any) -> bytes:
    """Return what a plot looks like."""
    if not hasattr(drawn, "figure"):
        return drawn.html.encode()
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", facecolor=drawn.figure.get_facecolor())
    return buffer.getvalue()


@pytest.mark.parametrize("name", [name for name in PANEL if name != "text"])
def test_what_the_reader_set_holds(name: str) -> None:
    """By a style sheet or by hand, also once it has ended; a page has the same bytes, whatever is set."""
    found, pages = [pixels(PANEL[name]())], []
    for chosen in STYLES.values():
        with matplotlib.style.context(chosen):
            drawn = PANEL[name]()
            found.append(pixels(PANEL[name]()))
            with style():
                figure, axes = new_figure()
                axes[0, 0].plot([1, 2], [1, 4], "o-", label="n")
                axes[0, 0].set_title("a title")
                pages.append(figure_to_svg(figure, name="page"))
        assert pixels(drawn) == found[-1]
    assert (len(set(found)), len(set(pages))) == (4, 1)
    _ = looked_at()


@pytest.mark.parametrize("name", ["heatmap", "matrix", "tuning"])
def test_a_theme_of_seaborn_leaves_0_in_the_middle_of_a_map(name: str) -> None:
    """It sets "rocket" for every image, which has no middle; another map that somebody sets holds."""
    of_seaborn: dict[Any, Any] = {**sns.axes_style("darkgrid")}
    with matplotlib.rc_context(of_seaborn):
        assert PANEL[name]().collections[0].get_cmap().name == "signs"
    with matplotlib.rc_context({"image.cmap": "cividis"}):
        assert PANEL[name]().collections[0].get_cmap().name == "cividis"
    _ = looked_at()


#: A choice -> two values that a plot which has it draws in different ways.
CHOICES: dict[str, tuple[Any, Any]] = {
    "figsize": ((3, 3), (6, 4)),
    "title": ("one", "$two"),
    "cmap": ("viridis", "hot"),
    "palette": ("viridis", "Set2"),
}
#: The choices that a plot does not have: colours of cells, or of lines.
LACKS = {
    "text": ["figsize", "palette"],
    "saturation": ["cmap", "palette"],
    **{name: ["cmap"] for name in ("against", "dose", "memory", "traces", "trajectories")},
    **{name: ["palette"] for name in ("contributions", "heatmap", "matrix", "tuning")},
}


@pytest.mark.parametrize("name", PANEL)
def test_every_choice_changes_what_is_seen(name: str) -> None:
    """Size, title, colour map and palette, of each plot that has them; also above and over several panels."""
    has = [choice for choice in CHOICES if choice in inspect.signature(getattr(plots, name)).parameters]
    assert has == [choice for choice in CHOICES if choice not in LACKS[name]]
    for choice in has:
        drawn = [PANEL[name](**{choice: value}) for value in CHOICES[choice]]
        assert len({pixels(one) for one in [*drawn, PANEL[name]()]}) == 3
        if choice == "figsize":
            assert [tuple(one.figure.get_size_inches()) for one in drawn] == [(3, 3), (6, 4)]
    _ = looked_at()


def test_a_figure_of_several_panels_takes_them_too() -> None:
    """Its title stands above all panels, and more than twelve units have room where its size is given."""
    wide = recording_of(np.random.default_rng(0).normal(size=(6, 7, 14)))
    figure: Any = plots.traces(wide, units=range(14), figsize=(12, 12), title="$14")
    assert (len(figure.axes), tuple(figure.get_size_inches()), figure.get_suptitle()) == (14, (12, 12), "$14")
    with matplotlib.rc_context({"figure.figsize": (8, 3)}):
        assert tuple(plots.heatmap(wide).figure.get_size_inches()) == (8, 3)
    _ = looked_at()


@pytest.mark.parametrize("units", [1, 12, 16, 64, 256])
def test_no_figure_is_larger_than_a_page_holds(units: int) -> None:
    """7 by 9 inches at the most, by default and with every signal, value and cell; each is looked at."""
    torch.manual_seed(0)
    own = probe.record(torch.nn.LSTM(3, units, batch_first=True), torch.randn(40, 20, 3)).plot
    concept = np.random.default_rng(0).normal(size=(40, 20))
    drawn: list[Any] = [own.heatmap(), own.heatmap(signals=list(own.recording.parts[0].signals)), own.traces()]
    drawn += [own.against(concept), own.saturation(), plots.matrix(concept[:, :1] * np.ones(units))]
    drawn += [own.trajectories(), own.trajectories(hue=concept, directions=3)] if units > 2 else []
    for one in drawn:
        assert (one.figure.get_size_inches() <= (7, 9)).all(), one


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("name", [name for name in PANEL if name != "text"])
def test_in_a_grid_nothing_is_drawn_outside_of_the_axes(name: str, layout: Any) -> None:
    """But the numbers and names beside them and their title; no axes come, and the others stay empty."""
    figure, axes = plt.subplots(2, 2, layout=layout)
    own, place = axes[0, 0], axes[0, 0].get_subplotspec()
    assert PANEL[name](ax=own) is own
    figure.canvas.draw()
    assert (list(figure.axes), own.get_subplotspec()) == (list(axes.ravel()), place)
    beside = {own.xaxis, own.yaxis, own.patch, *own.spines.values()}
    beside |= {one for one in own.get_children() if isinstance(one, Text) and one not in own.texts}
    for one in set(own.get_children()) - beside:
        box = one.get_tightbbox() or own.bbox
        assert min((box.min - own.bbox.min).min(), (own.bbox.max - box.max).min()) >= -1, one
    assert not [one for other in axes.ravel()[1:] for one in (*other.lines, *other.texts, *other.images)]
    assert [one for one in (figure.legends, figure.texts) if one] == []


def test_a_continuous_concept_is_put_into_bins() -> None:
    """With round ends that are named; a line has their means, r the numbers themselves; whole numbers stay."""
    values = np.random.default_rng(0).normal(size=(30, 7, 2))
    concept = values[:, :, 0] * 0.3
    ax: Any = plots.against(recording_of(values), concept, hue=None, units=1, name="price")
    edges = np.arange(-1, 1.01, 0.2)
    bins = np.digitize(concept.ravel(), edges) - 1
    wanted = [(edges[one] + 0.1, values[:, :, 1].ravel()[bins == one].mean()) for one in np.unique(bins)]
    assert ax.get_lines()[0].get_xydata() == pytest.approx(np.array(wanted))
    r = np.corrcoef(concept.ravel(), values[:, :, 1].ravel())[0, 1]
    assert ax.get_title("left") == f"hidden state 1, r = {r:.2f}".replace("-", "\N{MINUS SIGN}")
    assert ax.get_xlabel() == "price (in bins of 0.2)"
    ax = plots.traces(recording_of(values), hue=concept, units=1)
    assert "\N{MINUS SIGN}0.4 to \N{MINUS SIGN}0.2" in [one.get_text() for one in ax.texts]
    ax = plots.against(recording_of(values), np.arange(30), hue=None, units=1)
    assert ax.get_lines()[0].get_xdata().tolist() == list(range(30))


def test_many_sequences_and_steps_are_some_lines_and_what_jumps_is_drawn_so() -> None:
    """32 paths and lines, the first and the last among them; whole numbers go from one to the next by a jump."""
    values = np.random.default_rng(0).normal(size=(50, 40, 3))
    ax: Any = plots.trajectories(recording_of(values))
    assert (len(ax.collections[0].get_segments()), ax.get_title("left")) == (32 * 39, "32 of 50 sequences")
    ax = plots.against(recording_of(values), np.arange(50) % 3, units=0)
    assert len(ax.get_lines()) == 32
    jumping, straight = (plots.traces(recording_of(one), units=0) for one in (values.round(), values))
    assert [one.get_lines()[0].get_drawstyle() for one in (jumping, straight)] == ["steps-mid", "default"]


def test_units_that_go_alike_stand_together_in_a_large_map() -> None:
    """In the same order in every map, with their own numbers beside them; up to twelve stay as they are."""
    falling = np.arange(14) % 2 == 1
    states = np.where(falling, 1.0, -1.0) * np.linspace(-1, 1, 9)[:, None] + 0.01 * np.arange(14)
    ax: Any = plots.heatmap(recording_of(states[None]), figsize=(5, 6))
    names = [int(one.get_text()) for one in ax.get_yticklabels()]
    assert sorted(names) == list(range(14))
    assert np.array_equal(ax.collections[0].get_array(), states.T[names])
    assert np.count_nonzero(np.diff(falling[names])) == 1
    few: Any = plots.heatmap(recording_of(states[None, :, :12]))
    assert np.array_equal(few.collections[0].get_array(), states[:, :12].T)


def test_a_picture_says_what_it_leaves_out() -> None:
    """Which sequence, how many steps, that colours end before numbers do; of names none is left out."""
    values = np.random.default_rng(0).normal(size=(50, 40, 3))
    values[0] += 5
    own = recording_of(values)
    assert plots.heatmap(own, row=-1).figure.get_suptitle() == "row 49 of 50"
    assert plots.heatmap(own, title="mine").figure.get_suptitle() == ""
    assert plots.heatmap(recording_of(values[:1])).figure.get_suptitle() == ""
    assert plots.against(own, np.arange(50) % 3, units=0).figure.get_suptitle() == "32 of 40 steps"
    only = np.where(np.arange(50) == 0, 1.0, 0.0)
    scale: Any = plots.tuning(own, only).figure.axes[-1]
    assert [one.get_text() for one in scale.get_yticklabels()] == ["≤ \N{MINUS SIGN}2", "0", "≥ 2"]
    names = np.array([f"n{number:03d}" for number in range(20)])[np.arange(50) % 20]
    assert len(plots.tuning(own, names).get_xticklabels()) == 20


def test_long_names_that_differ_at_their_end_differ_in_a_legend() -> None:
    """They are cut in the middle."""
    own, kinds = recording_of(np.random.default_rng(0).normal(size=(6, 7, 2))), ("one", "two")
    names = np.array([f"a very long category name number {kind}" for kind in kinds])[np.arange(6) % 2]
    ax: Any = plots.traces(own, hue=names, units=0)
    texts = [one.get_text() for one in ax.texts if "\N{HORIZONTAL ELLIPSIS}" in one.get_text()]
    assert (len(set(texts)), max(map(len, texts))) == (2, 24)
