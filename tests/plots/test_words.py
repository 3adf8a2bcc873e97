"""Words of the ecosystem: pyplot's current figure, axes of a caller, keywords of other libraries, tidy tables."""

from __future__ import annotations

import inspect
import io
import re
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from painted import looked_at
from PIL import Image
from plotted import PANEL
from recorded import FIXED, MOVING, ROWS, TIME, recorded
from refusing import refused

import probe
from probe.plots import keywords

plots: Any = probe.plots


@pytest.mark.parametrize("name", [name for name in PANEL if name != "text"])
def test_what_pyplot_saves_is_the_plot(name: str) -> None:
    """`plt.savefig` after a plot writes what the figure's own `savefig` writes, and `plt.gca()` is a panel of it."""
    drawn = PANEL[name]()
    assert plt.gcf() is drawn.figure
    # A layout is computed anew by every save, and settles after some.
    drawn.figure.draw_without_rendering()
    drawn.figure.set_layout_engine("none")
    saved, own = io.BytesIO(), io.BytesIO()
    plt.savefig(saved, format="png")
    drawn.figure.savefig(own, format="png")
    assert saved.getvalue() == own.getvalue()
    assert len(Image.open(saved).convert("RGB").getcolors(1 << 24) or []) > 10


@pytest.mark.parametrize("name", [name for name in PANEL if name != "text"])
def test_a_tight_layout_changes_nothing(name: str) -> None:
    """It is a habit of pyplot, which raises beside a scale of colours: room is made already."""
    drawn = PANEL[name]()
    before = drawn.figure.get_layout_engine()
    plt.tight_layout()
    drawn.figure.tight_layout(pad=2)
    assert drawn.figure.get_layout_engine() is before


#: A plot of several panels -> how many it draws of an LSTM's recording, and how it is drawn.
SEVERAL: dict[str, tuple[int, Any]] = {
    "traces": (3, lambda **more: plots.traces(recorded("lstm").recording, units=range(3), hue=MOVING, **more)),
    "against": (3, lambda **more: plots.against(recorded("lstm").recording, MOVING, units=range(3), **more)),
    "heatmap": (2, lambda **more: plots.heatmap(recorded("lstm").recording, **more)),
    "saturation": (3, lambda **more: plots.saturation(recorded("lstm").recording, **more)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_panels_go_into_axes_and_parts_of_a_figure(name: str) -> None:
    """A list of as many axes, a SubFigure or a Figure, which get the lines that a new figure gets."""
    count, draw = SEVERAL[name]
    wanted = [ax for ax in draw().axes if ax.get_title("left")]
    figure, axes = plt.subplots(1, count + 1)
    assert draw(ax=list(axes[:count])) is figure
    assert not axes[count].has_data()
    parts: Any = Figure(figsize=(9, 5), layout="constrained").subfigures(1, 2)
    assert draw(ax=parts[0], title="both") is parts[0]
    assert (parts[0].get_suptitle(), parts[1].axes) == ("both", [])
    whole = Figure(layout="constrained")
    assert draw(ax=whole) is whole
    for given in (axes[:count], parts[0].axes, whole.axes):
        for one, own in zip(given, wanted, strict=True):
            # Where it is narrow a title has more lines.
            titles = [
                " ".join(text.split()) for text in (own.get_title("left"), one.get_title() + one.get_title("left"))
            ]
            assert titles[0] in titles[1]
            for line, twin in zip(one.get_lines(), own.get_lines(), strict=True):
                assert np.array_equal(line.get_xydata(), twin.get_xydata(), equal_nan=True)
    with refused():
        draw(ax=list(axes))
    with refused():
        draw(ax=list(axes[:count]), title="both")
    with refused():
        draw(ax=["a", "b", "c"][:count])


def test_a_panel_for_each_value_of_another_concept() -> None:
    """`col=`: of one unit, the states that have the value; the lines of a panel are those of these rows alone."""
    own = recorded("lstm")
    figure: Any = plots.against(own.recording, MOVING, units=1, col=FIXED, hue=None)
    for panel, kind in zip(figure.axes, ("high", "low"), strict=True):
        assert panel.get_title("left") == kind
        means = [own.values[(value == MOVING) & np.equal(FIXED, kind)[:, None], 1].mean() for value in range(3)]
        assert panel.get_lines()[0].get_ydata() == pytest.approx(means)
    over: Any = plots.traces(own.recording, units=1, col=FIXED)
    assert over.axes[0].get_lines()[0].get_ydata() == pytest.approx(own.values[FIXED == "high", :, 1].mean(axis=0))
    with refused():
        _ = plots.traces(own.recording, col=FIXED)


def test_a_line_that_a_panel_lacks_has_no_name_there() -> None:
    """And the others keep their own: of the rows that are drawn none may have the first value."""
    own = recorded("lstm")
    kinds = np.where(FIXED == "low", "a", np.where(np.arange(ROWS) == 1, "b", "c"))
    panel: Any = plots.traces(own.recording, units=1, hue=kinds, col=np.where(FIXED == "low", np.nan, 1.0))
    lines = {line.get_color(): line.get_ydata()[-1] for line in panel.get_lines() if line.get_linestyle() != "None"}
    texts = [one for one in panel.texts if one.get_text()]
    marks = {
        one.get_position()[1]: one.get_color()
        for one in texts
        if one.get_text() == "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
    }
    names = {one.get_text(): marks[one.get_position()[1]] for one in texts if one.get_text() in ("a", "b", "c")}
    assert set(names) == {"b", "c"}
    for name, row in (("b", [1]), ("c", [3])):
        assert lines[names[name]] == pytest.approx(own.values[row, -1, 1].mean())


def test_different_values_have_different_names_and_keep_the_order_of_a_categorical() -> None:
    """Dates as numbers have as many digits as it takes; a Series in another order is refused, and so are mistakes."""
    own = recorded("lstm").recording
    days = 20241201 + np.arange(ROWS) % 3
    dated: Any = plots.traces(own, hue=days, units=0, palette={20241201: "#ff0000", 20241202: "g", 20241203: "b"})
    named = {one.get_text() for one in dated.texts}
    assert {"20241201", "20241202", "20241203"} <= named
    kinds = pd.Categorical(FIXED, ["low", "high"])
    assert plots.tuning(own, kinds).get_xticklabels()[0].get_text() == "low"
    assert plots.table(plots.traces(own, hue=pd.Series(kinds), units=0))["hue"].drop_duplicates().tolist() == [
        "low",
        "high",
    ]
    with refused():
        _ = plots.traces(own, hue=pd.Series(FIXED).iloc[::-1], units=0)
    with refused():
        _ = plots.traces(own, FIXED)
    ax = plt.figure().subplots()
    for wrong in ([ax, ax], [ax, plt.figure().add_subplot(projection="polar")]):
        with refused():
            _ = plots.traces(own, units=[0, 1], ax=wrong)
    _ = looked_at()


def test_a_table_joins_with_that_of_the_recording() -> None:
    """By unit, a number, and by step, from 0; each of the caller's panels has the table of what was drawn there."""
    own = recorded("lstm").recording
    _, axes = plt.subplots(1, 4)
    for units, place in (([0, 1], 0), ([2, 3], 2)):
        _ = plots.traces(own, units=units, ax=axes[place : place + 2])
    first, second = plots.table(axes[0]), plots.table(axes[2])
    assert (set(first["unit"]), set(second["unit"])) == ({0, 1}, {2, 3})
    joined = own.to_frame(signals=["cell_state"]).merge(first, on=["unit", "step"])
    means = joined.groupby(["unit", "step"])[["value", "mean"]].mean()
    assert means["value"].to_numpy() == pytest.approx(means["mean"].to_numpy())
    assert len(means) == 2 * TIME


#: Keywords that somebody brings from matplotlib, seaborn or pandas, and from our own former names.
BROUGHT = [
    *("x", "y", "data", "hue", "style", "size", "by", "col", "row", "col_wrap", "palette", "cmap", "color", "c"),
    *("figsize", "height", "aspect", "fig", "axes", "figure", "kind", "label", "legend", "xlabel", "ylim", "lw"),
    *("linewidth", "marker", "alpha", "errorbar", "ci", "estimator", "vmin", "vmax", "center", "cbar", "annot"),
    *("fmt", "form", "xticklabels", "dpi", "save", "show", "suptitle", "units", "fontsize", "robust"),
]
#: Those of a figure, which a text is none of.
NO_FIGURE = ("size", "figsize", "height", "aspect", "fig", "axes", "figure", "xticklabels")


@pytest.mark.parametrize("name", PANEL)
def test_a_keyword_of_another_library_gets_a_sentence(name: str) -> None:
    """It names an argument that the plot has, or where else the thing is changed; none is a bare TypeError."""
    function = getattr(plots, name)
    known = list(inspect.signature(function).parameters)
    for keyword in BROUGHT:
        if keyword in known:
            continue
        with pytest.raises(probe.ProbeError) as error:
            PANEL[name](**{keyword: 1})
        said = keywords.instead_of(keyword, known)
        if said is None:
            # Nothing of a text is like it: what it has is listed.
            assert (name, keyword in NO_FIGURE) == ("text", True)
            continue
        assert f"has no argument {keyword}=. {said}" in str(error.value)
        if said.startswith("Here it is"):
            assert said.removeprefix("Here it is ").removesuffix("=.") in known


def test_a_palette_is_what_seaborn_takes() -> None:
    """A name, a list, a dict, a colour map; one that lacks a colour is refused, and says what is missing."""
    own = recorded("lstm").recording
    primary = {0: "#ff0000", 1: "#00ff00", 2: "#0000ff"}
    for palette in ("Set2", "viridis", [*primary.values()], plt.get_cmap("hot")):
        _ = plots.traces(own, hue=MOVING, units=0, palette=palette)
    given: Any = plots.traces(own, hue=MOVING, units=0, palette=primary)
    assert [line.get_color() for line in given.get_lines()] == [*primary.values()]
    for palette in ("no colours", ["red"], {0: "red"}, 3):
        with refused():
            _ = plots.traces(own, hue=MOVING, units=0, palette=palette)
    _ = looked_at()


def test_every_plot_has_a_tidy_table_of_what_it_drew() -> None:
    """A row for each number, in the columns that the docstring names; of axes of the caller too."""
    for name, draw in PANEL.items():
        if name == "text":
            continue
        table = plots.table(draw())
        assert len(table)
        assert len(table.drop_duplicates()) == len(table)
        says = inspect.getdoc(getattr(plots, name)) or ""
        assert "probe.plots.table" in says
        promised = re.search(r"has the columns ([\w\s,:]*)", says)
        assert not promised or set(table.columns) <= set(re.findall(r"\w+", promised[1])), name
    own = recorded("lstm")
    ax = plt.figure().subplots()
    table = plots.table(plots.traces(own.recording, hue=MOVING, units=1, ax=ax))
    assert list(table.columns) == ["unit", "hue", "step", "mean", "low", "high"]
    for _, row in table.iterrows():
        step = int(row["step"])
        here = own.values[MOVING[:, step] == row["hue"], step, 1]
        assert [row["mean"], row["low"], row["high"]] == pytest.approx([here.mean(), *np.percentile(here, [25, 75])])
    table = plots.table(plots.against(own.recording, MOVING, units=1))
    assert table["n"].sum() == ROWS * TIME
    for other in (plt.figure().subplots(), Figure(), pd.DataFrame(), None):
        with refused():
            _ = plots.table(other)
