"""How does each unit move with the concept? A picture of every unit, beside an untrained network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ...errors import ProbeError, several
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, only, tabulate
from ...methods.probing.monotone import within_step_correlation
from ...methods.probing.prefixes import pool
from ...plots.legends import figure_legend
from ...plots.study_figures import drawing, drawn, spread
from ...plots.style import COLUMN_WIDTH, SMALL, axes_or_new, colours
from ...plots.style import STEPS as STEP_COLOURS
from ...recurrent.signals import as_signal
from ...subjects.computed.sample import rows_within_budget
from ...subjects.computed.step_states import step_states, studied_layer
from ...subjects.concepts import group_edges
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..telling.unit_words import within_steps
from . import targets

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "cell_trajectories"
LINESTYLES = ("-", "--", "-.", ":")
#: Means are kept of so many units, those that follow the concept most, and after so many steps.
UNITS, STEPS = 24, 16
#: With more values than this, neighbouring ones are taken together, into so many groups.
MOST_VALUES, GROUPS = 24, 12
#: The page of one network shows so many units of each network, after so many steps.
SHOWN_UNITS, SHOWN_STEPS = 6, 3
CAPTION = (
    "A panel is one unit. A line is the mean over all prefixes of so many steps, by their value. A unit "
    "that holds the value alone has all lines on one curve. Where the lines fan out, the unit tells time too. r is "
    "the correlation with the value after we subtract the mean of each step."
)


def question(subject: Subject) -> Question:
    """Return the question; no rule judges it.

    Args:
        subject: one of the networks; the title names its concept.
    """
    title = f"How does each unit move with “{subject.concept.name}”?"
    return Question("cell-trajectories", title, measure, (needs.states, targets.within_steps), tell=tell)


def measure(
    subjects: Sequence[Subject],
    *,
    signal: str | None = None,
) -> pd.DataFrame:
    """Return each unit's mean at each step given the concept's value, each distinct prefix counted once.

    Metrics: `within_step_correlation` by unit, after the mean of each step is taken off both, so that a unit that
    only tells the time scores 0; `mean` by unit, step and value of the concept (`at`). Of wide layers, long sequences
    and many values the means are kept of some units, steps and groups of values alone: see the constants above. Of
    many sequences a part is recorded, drawn by the network's seed.

    Args:
        subjects: what is measured; their concept is a number.
        signal: which signal's units; None for the cell state, or the hidden state of a cell that has none.

    Raises:
        ProbeError: the signal does not exist, or the concept has no value.
    """
    return tabulate(row for subject in as_subjects(subjects) for row in _rows(subject, signal))


def _rows(subject: Subject, signal: str | None) -> Iterator[dict[str, Any]]:
    layer = studied_layer(subject)
    wanted = layer.whole_state[0] if signal is None else as_signal(signal)
    steps = step_states(subject, (wanted,), rows=rows_within_budget(subject, layer.units))
    if not steps:
        raise ProbeError(f"“{subject.concept.name}” has no value at any of the states that were recorded.")

    def row(metric: str, value: float, unit: int, **more: Any) -> dict[str, Any]:
        where = {"layer": subject.layer, "signal": str(wanted), "units": str(unit)}
        return measurement(QUESTION, metric, subject.network, value, **where, **more)

    pooled = pool(steps)
    correlation = within_step_correlation(pooled, pooled.states[wanted])
    for unit, r in enumerate(correlation):
        yield row("within_step_correlation", r, unit)
    edges, middles = _groups(pooled.concept)
    units = np.sort(np.argsort(-np.abs(correlation), kind="stable")[:UNITS])
    for item in (steps[place] for place in spread(len(steps), STEPS)):
        group = np.searchsorted(edges, item.concept, side="right")
        for number in np.unique(group):
            means = item.states[wanted][group == number].mean(0)
            for unit in units:
                yield row("mean", means[unit], int(unit), step=item.step, at=float(middles[number]))


def _groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where groups of values end, and what each is called: its only value, or its mean."""
    levels = np.unique(values)
    if len(levels) <= MOST_VALUES:
        return (levels[1:] + levels[:-1]) / 2, levels
    edges = group_edges(values, GROUPS)
    group = np.searchsorted(edges, values, side="right")
    return edges, np.array([values[group == number].mean() for number in range(len(edges) + 1)])


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows: the units that follow the concept most."""
    table, own = answered.table, answered.subject.network.name
    rows = only(table, metric="within_step_correlation")
    rows = rows.assign(size=rows["value"].abs())
    units = only(rows, network=own)
    beside = rows[rows["network"] != own].groupby("role", sort=False)["size"].max()
    controls = {str(role): float(value) for role, value in beside.items()}
    at = str(units["layer"].iloc[0]) or studied_layer(answered.subject).name, str(units["signal"].iloc[0])
    answer = within_steps(answered, at, dict(zip(units["units"], units["size"], strict=True)), controls)
    return Told({"answer": answer, "setup": CAPTION}, partial(_figures, answered))


def _figures(answered: Answered) -> tuple[DataFigure]:
    table, own = answered.table, answered.subject.network.name
    others = [name for name in dict.fromkeys(table["network"]) if name != own]
    steps = sorted(set(table["step"].dropna().astype(int)))
    chosen = [steps[place] for place in spread(len(steps), SHOWN_STEPS)]
    networks, concept = [own, *others[:1]], answered.subject.concept.name
    with drawing():
        figure = draw_grid(table, networks=networks, units=SHOWN_UNITS, steps=chosen, concept=concept)
        picture = grid_figure(
            figure, table, networks, name=f"{answered.name}-units", title="Units by |r|, the largest first"
        )
    return (picture,)


def grid_figure(figure: Figure, frame: pd.DataFrame, networks: Sequence[str], *, name: str, title: str) -> DataFigure:
    """Return a grid of units with its words and numbers.

    Args:
        figure: what `draw_grid` drew.
        frame: what `measure` returned.
        networks: the networks that are drawn.
        name: of the figure's files.
        title: a short name.
    """
    import pandas as pd

    every = [curves(frame, network).assign(network=network) for network in networks]
    strongest = []
    for network, own in zip(networks, every, strict=True):
        unit = strongest_units(frame, network)[0]
        strongest.append(f"in {network} unit {unit}, r = {own[own['unit'] == unit]['correlation'].iloc[0]:.2f}")
    signal = str(frame["signal"].iloc[0]).replace("_", " ")
    return drawn(
        figure,
        name=name,
        title=title,
        alt=f"Mean {signal} by value, a line a step. The strongest correlation is {'; '.join(strongest)}.",
        caption=CAPTION,
        data=pd.concat(every, ignore_index=True),
    )


def curves(frame: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return one network's means as columns unit, step, concept, value, and each unit's correlation.

    Args:
        frame: what `measure` returned.
        network: the network's name.

    Raises:
        ProbeError: the network was not measured.
    """
    own = frame[frame["network"] == network]
    if own.empty:
        raise ProbeError(f"The table has no network {network!r}; it has {sorted(set(frame['network']))}.")
    correlation = own[own["metric"] == "within_step_correlation"].set_index("units")["value"]
    means = own[own["metric"] == "mean"]
    found = means[["units", "step", "at", "value"]].rename(columns={"units": "unit", "at": "concept"})
    found["correlation"] = found["unit"].map(correlation)
    found["unit"] = found["unit"].astype(int)
    return found.sort_values(["unit", "step", "concept"], ignore_index=True)


def draw(
    frame: pd.DataFrame,
    *,
    network: str | None = None,
    unit: int = 0,
    steps: Iterable[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one unit's mean over the concept's value, a line a step, early steps dark and late ones light.

    Args:
        frame: what `measure` returned.
        network: whose unit, or None for the first network of the table.
        unit: which.
        steps: which steps, or None for all.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the network, the unit or a step was not measured.
    """
    ax = axes_or_new(ax)
    own = curves(frame, network or str(frame["network"].iloc[0]))
    picked = own[own["unit"] == unit]
    if picked.empty:
        raise ProbeError(f"The table has no unit {unit}; it has 0 to {own['unit'].max()}.")
    known = sorted(set(own["step"].astype(int)))
    chosen = known if steps is None else list(steps)
    if not set(chosen) <= set(known):
        raise ProbeError(f"steps={chosen} were not all measured; the table has {known}.")
    shades = colours(len(known), STEP_COLOURS)
    for number, step in enumerate(chosen):
        line = picked[picked["step"] == step]
        ax.plot(
            line["concept"],
            line["value"],
            color=shades[known.index(step)],
            linestyle=LINESTYLES[number % len(LINESTYLES)],
            linewidth=1.4,
            # One point makes no line.
            marker="o" if len(line) == 1 else "none",
            markersize=3,
            clip_on=False,
            label=f"after {several(step + 1, 'step')}",
        )
    title = f"unit {unit}: r {picked['correlation'].iloc[0]:.2f}".replace("-", "\N{MINUS SIGN}")
    ax.set_title(title, fontweight="normal", loc="center")
    return ax


def strongest_units(frame: pd.DataFrame, network: str) -> list[int]:
    """Return a network's units, the one that correlates most with the concept first."""
    own = frame[(frame["network"] == network) & (frame["metric"] == "within_step_correlation")]
    order = own.assign(size=own["value"].abs()).sort_values("size", ascending=False, kind="stable")
    return [int(unit) for unit in order["units"]]


def draw_grid(
    frame: pd.DataFrame,
    *,
    networks: Sequence[str],
    units: int = 12,
    columns: int = 3,
    steps: Iterable[int] | None = None,
    concept: str = "concept",
) -> Figure:
    """Draw units of networks as small multiples, a block a network, strongest correlation first.

    Panels of one network share their axes, so that a cell that hardly moves looks like one.

    Args:
        frame: what `measure` returned.
        networks: their names, written above their blocks.
        units: how many of each at most.
        columns: panels side by side.
        steps: which steps, or None for all; a dozen panels of every step are heavy and hard to read.
        concept: what the horizontal axis is called.
    """
    ordered = {network: strongest_units(frame, network)[:units] for network in networks}
    rows = [-(-len(chosen) // columns) for chosen in ordered.values()]
    figure = Figure(figsize=(COLUMN_WIDTH, sum(rows) * 1.35 + 0.8), layout="constrained")
    blocks = figure.subfigures(len(networks), 1, squeeze=False, height_ratios=rows)[:, 0]
    chosen_steps = None if steps is None else tuple(steps)
    panel = None
    for block, (network, chosen), count in zip(blocks, ordered.items(), rows, strict=True):
        block.suptitle(network, fontweight="bold", fontsize="medium", x=0.02, ha="left")
        axes = block.subplots(count, columns, squeeze=False, sharex=True, sharey=True)
        for ax in axes.ravel()[len(chosen) :]:
            ax.set_axis_off()
        for unit, panel in zip(chosen, axes.ravel(), strict=False):
            draw(frame, network=network, unit=unit, steps=chosen_steps, ax=panel)
            # Two dozen panels with ticks of their own would weigh more than their lines.
            panel.locator_params(nbins=3)
            panel.tick_params(labelsize=SMALL)
            panel.label_outer(remove_inner_ticks=True)
            panel.patch.set_visible(False)
            panel.title.set_fontsize(SMALL)
        block.supylabel(f"mean {frame['signal'].iloc[0].replace('_', ' ')}", fontsize=SMALL)
    blocks[-1].supxlabel(concept, fontsize=SMALL)
    if panel is not None:
        handles, names = panel.get_legend_handles_labels()
        figure_legend(figure, handles, names)
    return figure
