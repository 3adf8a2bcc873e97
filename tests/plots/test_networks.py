"""Pictures over roles of networks: what they draw is what numpy says of the table, and every name can be read."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.legend import Legend

from probe.intervals import median_interval
from probe.plots.legends import legend_above
from probe.plots.networks import draw_dots, draw_role_lines, draw_scores, draw_scores_over_steps
from probe.plots.style import ROLE_STYLE, new_figure

#: A role -> how many networks it has: of the last fewer than an interval takes.
NETWORKS = {"trained": 9, "own initialisation": 12, "planted": 2, "template": 4}
METRICS = {"first": "the first", "second": "the second"}
#: What is patched in a network of many parts.
LONG = ["nothing", "the whole representation", *(f"{count} directions found by a search" for count in range(1, 10))]
#: A network of a reading -> what it is called.
KINDS = {
    "own": "this network",
    "random/0": "random weights",
    "random/1": "random weights",
    "step alone": "step alone",
}


def measured() -> pd.DataFrame:
    """Return two metrics of networks of several roles at four steps, in no order."""
    named = [(role, f"{role}/{number}") for role, count in NETWORKS.items() for number in range(count)]
    rows = [(*one, metric, step) for one, metric, step in itertools.product(named, METRICS, range(4))]
    frame = pd.DataFrame(rows, columns=["role", "network", "metric", "step"])
    return frame.assign(value=np.random.default_rng(0).random(len(rows))).sample(frac=1, random_state=0)


def dots_of(ax: Axes, label: str) -> list[Any]:
    """Return the dots of a name, an array for each artist that draws some."""
    shown = [one for one in ax.collections if isinstance(one, PathCollection) and one.get_label() == label]
    assert not any(one.get_clip_on() for one in shown)
    return [np.asarray(one.get_offsets()) for one in shown]


def values_of(frame: pd.DataFrame, role: str, metric: str) -> np.ndarray:
    """Return what networks of a role measure, in their order."""
    own = frame[(frame["role"] == role) & (frame["metric"] == metric)]
    return own.sort_values("network")["value"].to_numpy(float)


def names_of(ax: Axes) -> list[str]:
    """Return the names in the legend of axes, or of their figure."""
    return [text.get_text() for one in ax.figure.findobj(Legend) for text in one.get_texts()]


def test_lines_are_medians_bands_are_their_intervals_and_planted_networks_have_a_line_each() -> None:
    """So that no band lies over networks too few for one; a role has its look, and its name once."""
    frame = measured()
    frame = frame[frame["metric"] == "first"]
    ax = draw_role_lines(frame, ax=new_figure()[1][0, 0], at="step")
    assert (names_of(ax), ax.get_xlabel(), ax.get_ylabel()) == (
        [role for role in ROLE_STYLE if role in NETWORKS],
        "",
        "",
    )
    shown = iter(ax.lines)
    for role in names_of(ax):
        table = frame[frame["role"] == role].pivot(index="network", columns="step", values="value").to_numpy(float)
        for wanted in table if role == "planted" else [np.median(table, axis=0)]:
            line, look = next(shown), ROLE_STYLE[role]
            assert np.array_equal(line.get_xydata(), np.stack([np.arange(1, 5), wanted], axis=1))
            assert (line.get_label(), line.get_color(), line.get_marker()) == (role, look.color, look.marker)
            assert not line.get_clip_on()
    assert next(shown, None) is None
    for band, role in zip(ax.collections, ["trained", "own initialisation"], strict=True):
        table = frame[frame["role"] == role].pivot(index="network", columns="step", values="value")
        intervals = [median_interval(column) for column in table.to_numpy(float).T]
        ends = {(step, end) for step, found in enumerate(intervals, start=1) for end in found or ()}
        assert set(map(tuple, np.asarray(band.get_paths()[0].vertices).tolist())) == ends


def test_a_band_lies_over_all_steps_or_none() -> None:
    """At a step that few networks reach, a band beside it would look like certainty."""
    frame = measured()
    frame = frame[(frame["metric"] == "first") & (frame["role"] == "trained")]
    few = frame[(frame["step"] < 3) | frame["network"].isin(["trained/0", "trained/1"])]
    bands = [len(draw_role_lines(one, ax=new_figure()[1][0, 0], at="step").collections) for one in (frame, few)]
    assert bands == [1, 0]


def test_where_nothing_was_measured_a_line_is_broken_and_a_bar_left_out() -> None:
    """seaborn would join the steps on both sides, and would take the interval of the networks that are known."""
    frame = measured()
    frame = frame[(frame["metric"] == "first") & frame["role"].isin(["trained", "planted"])]
    lacks = frame.assign(value=frame["value"].mask(frame["step"] == 1))
    whole, broken = (draw_role_lines(one, ax=new_figure()[1][0, 0], at="step") for one in (frame, lacks))
    for line, gap in zip(whole.lines, broken.lines, strict=True):
        wanted = np.where(np.arange(1, 5) == 2, np.nan, line.get_ydata())
        assert np.array_equal(gap.get_xydata(), np.stack([np.arange(1, 5), wanted], axis=1), equal_nan=True)
    trained = frame[(frame["role"] == "trained") & (frame["step"] == 0)]
    unknown = trained.assign(value=trained["value"].mask(trained["network"] == "trained/0"))
    bars = [len(draw_dots(one, {"first": "first"}).lines) for one in (trained, unknown)]
    assert bars[0] > bars[1]


def test_a_dot_a_network_and_the_interval_of_their_median() -> None:
    """In the order of the networks, whatever that of the rows; a role that measured none is not named."""
    frame = measured()
    frame = frame[(frame["step"] == 0) & ~((frame["role"] == "planted") & (frame["metric"] == "first"))]
    before: Any = np.random.get_state()
    ax = draw_dots(frame, METRICS, value="share", thresholds={"second": 0.25})
    after: Any = np.random.get_state()
    assert np.array_equal(after[1], before[1])
    assert names_of(ax) == [role for role in ROLE_STYLE if role in NETWORKS]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("", "share")
    bars = {
        tuple(np.asarray(one.get_ydata()).tolist()): one.get_color()
        for one in ax.lines
        if np.isfinite(one.get_xydata()).all()
    }
    for role in names_of(ax):
        groups = [own for metric in METRICS if len(own := values_of(frame, role, metric))]
        for wanted, found in zip(groups, dots_of(ax, role), strict=True):
            assert np.array_equal(found[:, 1], wanted)
            assert len(np.unique(found[:, 0])) == len(wanted)
            ends = median_interval(wanted)
            assert ends is None or bars.pop(ends) == ROLE_STYLE[role].color
    first = draw_dots(frame, {"first": "the first"})
    assert names_of(first) == [role for role in names_of(ax) if role != "planted"]


def test_no_name_of_a_column_stands_on_end() -> None:
    """Long names are rows, none over another one or outside of the figure; values lie along the other axis."""
    first = measured()
    first = first[first["step"] == 0]
    frame = pd.concat([first[first["metric"] == "first"].assign(metric=name) for name in LONG])
    for names in (METRICS, dict(zip(LONG, LONG, strict=True))):
        rows = len(names) > 2
        shown = first if names is METRICS else frame
        ax = draw_dots(shown, names, value="share", zero=True, thresholds={next(iter(names)): 0.25})
        figure: Any = ax.figure
        for _ in range(2):
            figure.draw_without_rendering()
        labels = (ax.yaxis if rows else ax.xaxis).get_ticklabels()
        assert [" ".join(one.get_text().split()) for one in labels] == list(names.values())
        assert {one.get_rotation() for one in labels} == {0}
        boxes = [one.get_window_extent() for one in labels]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert all(figure.bbox.x0 <= box.x0 and box.y0 >= figure.bbox.y0 for box in boxes)
        assert (ax.get_xlabel(), ax.get_ylabel()) == (("share", "") if rows else ("", "share"))
        found = dots_of(ax, "trained")
        assert len(found) == len(names)
        assert np.array_equal(found[0][:, 1 - rows], values_of(shown, "trained", next(iter(names))))
        assert ax.yaxis_inverted() == rows


def test_a_legend_has_no_entry_without_a_name() -> None:
    """And each name once, though several lines have it."""
    ax = new_figure()[1][0, 0]
    for label in ("one", " ", "one", "", "two"):
        ax.plot([0, 1], color="black", label=label)
    _ = legend_above(ax)
    assert names_of(ax) == ["one", "two"]


def reading(steps: list[float]) -> pd.DataFrame:
    """Return the table of a reading: the network, one of random weights and the step, of two signals."""
    rows = list(itertools.product(KINDS, ["cell_state", "hidden_state"], steps))
    frame = pd.DataFrame(rows, columns=["network", "signal", "step"]).assign(layer="", how="")
    frame["score"] = np.random.default_rng(1).random(len(frame))
    known = frame["network"] == "own"
    return frame.assign(low=frame["score"].where(known) - 0.1, high=frame["score"].where(known) + 0.1)


def test_scores_stand_in_rows_with_the_interval_of_the_network() -> None:
    """Each kind of control has its marks and its name once."""
    table = reading([np.nan])
    ax: Any = draw_scores(table, KINDS)
    assert names_of(ax) == list(dict.fromkeys(KINDS.values()))
    for kind in names_of(ax):
        (found,) = dots_of(ax, kind)
        assert np.array_equal(found[:, 0], table.loc[table["network"].map(KINDS) == kind, "score"])
        assert set(found[:, 1]) == {0, -1}
    (bars,) = (one for one in ax.collections if not isinstance(one, PathCollection))
    own = table[table["network"] == "own"]
    ends = [[[low, -row], [high, -row]] for row, (low, high) in enumerate(zip(own["low"], own["high"], strict=True))]
    assert np.array_equal(bars.get_segments(), ends)


@pytest.mark.parametrize("given", [True, False])
def test_scores_over_steps_are_a_line_a_network(given: bool) -> None:
    """Which steps were read stands below, from 1; in axes of the caller one signal is drawn."""
    table = reading([0.0, 1.0, 4.0])
    table = table[table["signal"] == "cell_state"] if given else table
    drawn: Any = draw_scores_over_steps(table, KINDS, ax=new_figure()[1][0, 0] if given else None)
    axes = [drawn] if given else drawn.axes
    assert names_of(axes[0]) == list(dict.fromkeys(KINDS.values()))
    for ax, (_, own) in zip(axes, table.groupby("signal"), strict=True):
        assert [float(one) for one in ax.get_xticks()] == [1, 2, 5]
        lines = [(line.get_label(), line.get_xydata().tolist()) for line in ax.lines]
        wanted = [
            (KINDS[str(network)], each.assign(step=each["step"] + 1)[["step", "score"]].to_numpy().tolist())
            for network, each in own.groupby("network", sort=False)
        ]
        assert lines == wanted
