"""What a plot says where it is given a keyword of matplotlib, seaborn or pandas that has another name here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..arguments import Kind, checked_arguments
from ..errors import ProbeError

#: Keywords that say the same as arguments of ours, of which a plot has the first that it takes.
SAME: dict[tuple[str, ...], tuple[str, ...]] = {
    ("by", "group", "groups", "hue", "style", "color_by"): ("hue", "by"),
    ("cmap", "colormap", "color", "colors", "c", "palette"): ("palette", "cmap"),
    ("size", "height", "aspect", "figure_size", "fig_size"): ("figsize",),
    ("axes", "axs", "fig", "figure", "subfigure"): ("ax",),
    ("suptitle", "heading", "main"): ("title",),
    ("col", "row", "col_wrap", "subplots", "panels"): ("col", "units", "signals", "gates", "method"),
    ("form", "annot", "annot_fmt", "annot_kws"): ("fmt",),
    ("xticklabels",): ("columns", "tokens", "noun"),
    ("yticklabels",): ("rows", "units"),
    ("cell", "neuron", "neurons", "unit", "channel", "channels"): ("units",),
    ("hidden", "state"): ("signal", "signals"),
    ("labels",): ("name", "noun"),
    ("sequence", "batch", "sample", "index"): ("row",),
    ("standard_scale", "normalize", "normalise"): ("z_score",),
    ("x",): ("given", "concept"),
    ("y",): ("answered", "signal"),
}
#: Where else a thing is changed that a plot has no argument for.
ELSEWHERE: dict[tuple[str, ...], str] = {
    ("xlabel", "ylabel", "xlim", "ylim", "xticks", "yticks", "legend", "label", "grid", "logx", "logy"): (
        "Change it on the axes that come back, such as ax.set(ylim=(0, 1))."
    ),
    (
        "lw",
        "linewidth",
        "linewidths",
        "ls",
        "linestyle",
        "dashes",
        "marker",
        "markers",
        "markersize",
        "ms",
        "alpha",
    ): ("Set how lines look for all plots, such as plt.rcParams['lines.linewidth'] = 3, or on ax.get_lines()."),
    ("errorbar", "ci", "estimator", "err_style", "err_kws", "n_boot", "seed", "weights"): (
        "For another summary, draw recording.to_frame() with seaborn."
    ),
    (
        "x",
        "y",
        "data",
        "kind",
        "row",
        "col",
        "col_wrap",
        "by",
        "hue",
        "style",
        "units",
        "facet_kws",
        "dodge",
        "jitter",
        "multiple",
    ): ("For another picture of the same numbers, draw the table that probe.plots.table(ax) returns with seaborn."),
    (
        "vmin",
        "vmax",
        "center",
        "robust",
        "norm",
        "clim",
        "cbar",
        "cbar_kws",
        "cbar_ax",
        "linecolor",
        "square",
        "mask",
    ): (
        "A map's colours say the same in each picture. For others, draw the table that probe.plots.table(ax) returns "
        "with seaborn."
    ),
    ("metric", "row_cluster", "col_cluster", "row_linkage", "dendrogram_ratio", "row_colors", "pivot_kws"): (
        "For another order, give the table that probe.plots.table(ax) returns to seaborn's clustermap()."
    ),
    ("xticklabels", "yticklabels"): "Change them on the axes that come back, with ax.set_xticklabels().",
    ("dpi", "save", "savefig", "filename", "fname", "path", "out", "show", "block", "bbox_inches", "layout"): (
        "Save or show what comes back: ax.figure.savefig('x.png', dpi=200), or plt.show()."
    ),
    ("hue_order", "col_order", "order"): (
        "Give a Categorical of pandas: its categories are drawn in their own order, and numbers from low to high."
    ),
    ("color", "colors", "c", "cmap", "palette"): (
        "It has no colours of its own: change what is on the axes that come back, such as ax.get_lines()."
    ),
    ("annot", "fmt", "form", "annot_kws"): (
        "It writes no numbers: probe.plots.matrix() does, of the table that probe.plots.table(ax) returns."
    ),
    ("fontsize", "font_scale", "context", "theme", "despine"): (
        "Set it for all plots, such as seaborn.set_theme(context='talk')."
    ),
}

_P = ParamSpec("_P")
_R = TypeVar("_R")


def instead_of(keyword: str, known: list[str]) -> str | None:
    """Return the sentence that says what a plot with the known arguments has instead of a keyword, or None."""
    for words, ours in SAME.items():
        own = next((name for name in ours if name in known), None)
        if keyword in words and own is not None:
            return f"Here it is {own}=."
    return next((said for words, said in ELSEWHERE.items() if keyword in words), None)


def plot_arguments(**own: Kind) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a plot raise ProbeError where an argument is of another kind, or has a name that other libraries use.

    Args:
        **own: the kinds of arguments whose names are other things here.
    """

    def decorated(plot: Callable[_P, _R]) -> Callable[_P, _R]:
        parameters = inspect.signature(plot).parameters
        known = list(parameters)
        first = [name for name, one in parameters.items() if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        checked = checked_arguments(**own)(plot)

        @wraps(plot)
        def told(*given: _P.args, **keywords: _P.kwargs) -> _R:
            if len(given) > len(first):
                raise ProbeError(
                    f"{plot.__name__}() takes {' and '.join(first)} by position, and {len(given)} arguments were "
                    f"given so. Name the others: {', '.join(f'{name}=' for name in known[len(first) :])}."
                )
            for keyword in keywords:
                said = None if keyword in known else instead_of(keyword, known)
                if said is not None:
                    raise ProbeError(f"{plot.__name__}() has no argument {keyword}=. {said}")
            return checked(*given, **keywords)

        return told

    return decorated
