"""Odd data in every plot and in three themes: no warning, no cut letter, nothing over another, a page at the most."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import torch
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from painted import looked_at
from pictured import faults, letters

import probe
from probe.influence.contributions import Contributions
from probe.plots.networks import draw_reading

plots: Any = probe.plots
NAMES = ("subject of the clause", "verb", "object", "adjective", "preposition", "noun phrase", "end of sentence")
PLACES = tuple(f"place {number}" for number in range(20))


def of_theme(context: Any) -> dict[str, Any]:
    """Return the settings of seaborn's theme, whose colours of lines are no settings of an axis."""
    cycle = cycler(color=sns.color_palette("deep"))
    return {**sns.axes_style("darkgrid"), **sns.plotting_context(context), "axes.prop_cycle": cycle}


#: What a reader set before a plot.
THEMES: dict[str, dict[Any, Any]] = {"default": {}, "theme": of_theme("notebook"), "talk": of_theme("talk")}


@dataclass(frozen=True)
class Odd:
    """Odd data: how large they are, what is measured at each step, and how units are changed."""

    units: int = 4
    time: int = 7
    rows: int = 8
    names: tuple[str, ...] = ("low", "high", "none")
    numbers: Callable[[np.ndarray], np.ndarray] = lambda steps: steps % 5
    size: float = 1.0
    lengths: tuple[int, ...] = ()
    layers: int = 1


def half(steps: np.ndarray) -> np.ndarray:
    """Return the steps, of every second one NaN."""
    return np.where(steps % 2 == 0, steps % 5, np.nan)


ODD = {
    "1 unit": Odd(units=1),
    "512 units": Odd(units=512, rows=4),
    "3 steps": Odd(time=3),
    "1 step": Odd(time=1),
    "1,000 steps": Odd(time=1_000, rows=4, numbers=lambda steps: steps),
    "20 names": Odd(names=PLACES, rows=20, numbers=lambda steps: steps),
    "long names": Odd(names=NAMES, units=13, rows=12),
    "NaN in the concept": Odd(numbers=half, names=("low", "high", "")),
    "constant": Odd(size=0.0, numbers=lambda steps: 0 * steps, names=("all",)),
    "1 sequence": Odd(rows=1),
    "large numbers": Odd(size=-1e6, numbers=lambda steps: 1_234_567.8 * steps - 5e6),
    "padding": Odd(lengths=(7, 3, 5, 7, 1, 4, 2, 6), numbers=lambda steps: np.sin(7 * steps)),
}


class Data:
    """What is drawn of odd data."""

    def __init__(self, odd: Odd) -> None:
        self.odd = odd
        torch.manual_seed(0)
        x = torch.randn(odd.rows, odd.time, 3)
        packed: Any = torch.nn.utils.rnn.pack_padded_sequence
        model = torch.nn.LSTM(3, odd.units, batch_first=True)
        read = packed(x, torch.tensor(odd.lengths), True, enforce_sorted=False) if odd.lengths else x
        self.recording = probe.record(model, read)
        part = self.recording.parts[0]
        if odd.size != 1.0:
            for signal, value in part.signals.items():
                if not str(signal).endswith("_gate"):
                    value.mul_(odd.size)
        self.plot = self.recording.plot
        steps = np.add.outer(np.arange(odd.rows), np.arange(odd.time))
        self.numbers = np.asarray(odd.numbers(steps), float)
        names = np.array([name or np.nan for name in odd.names], object)
        self.names = names[steps % len(names)]
        self.states = np.asarray(part.signals[next(iter(part.signals))])

    @property
    def named(self) -> list[str]:
        """The names that occur."""
        return [name for name in dict.fromkeys(self.names.ravel()) if isinstance(name, str)]

    @functools.cached_property
    def tensor(self) -> torch.Tensor:
        """The cell states, (row, step, unit)."""
        return self.recording["cell_state"].double()


@functools.cache
def data(name: str) -> Data:
    """Return odd data, which are made once."""
    return Data(ODD[name])


def table(odd: Data) -> pd.DataFrame:
    """Return a mean a unit and name."""
    states, names = odd.tensor.flatten(0, 1).numpy(), odd.names.ravel()
    names = names[~np.isnan(states).any(1)]
    states = states[~np.isnan(states).any(1)]
    frame = pd.DataFrame(states).groupby(names).mean()
    return frame.rename_axis(index="part of the sentence", columns="unit of the layer")


def doses(odd: Data) -> pd.DataFrame:
    """Return a dose and an answer for each number, in groups by name."""
    answered = np.nan_to_num(odd.tensor[:, :, 0].numpy())
    frame = {"number_put_in": odd.numbers.ravel(), "number_answered": answered.ravel(), "part": odd.names.ravel()}
    kept = list(dict.fromkeys(odd.names.ravel()))[:6]
    rows = pd.DataFrame(frame)
    return rows.loc[rows["part"].isin(kept)]


def left(odd: Data) -> Any:
    """Return what is left of a change, a line a name."""
    several = np.abs(np.nan_to_num(odd.tensor[:, None, :, 0].numpy())) + 0.1
    groups = {
        str(name): SimpleNamespace(differences=several * (1 + place), quantile=lambda *_: 1)
        for place, name in enumerate(odd.named)
    }
    return SimpleNamespace(groups=groups, controls={})


def contributed(odd: Data) -> Any:
    """Return contributions of each unit as of features."""
    values = {"shapley": odd.tensor, "integrated gradients": odd.tensor}
    return Contributions(values, {}, {}, [])


def reading(odd: Data, *, steps: bool) -> Any:
    """Return scores of each name as of signals, of a network and three controls, at some steps or over all."""
    names = odd.named[: 6 if steps else None]  # the signals of an LSTM are six
    of = ("this network", "random/0", "step alone", "shuffled concept")
    at = range(odd.odd.time) if steps else [np.nan]
    rows = [
        (network, "rnn", name, "", step, (place + 1) / 5)
        for name, (place, network), step in itertools.product(names, enumerate(of), at)
    ]
    frame = pd.DataFrame(rows, columns=["network", "layer", "signal", "how", "step", "score"])
    return SimpleNamespace(table=frame.assign(low=frame["score"] - 0.1, high=frame["score"] + 0.1), score_name="R²")


#: A plot -> how it draws odd data.
PLOTS: dict[str, Callable[[Data], Any]] = {
    "traces": lambda odd: odd.plot.traces(),
    "traces, numbers": lambda odd: odd.plot.traces(hue=odd.numbers, name="ones read so far"),
    "traces, names": lambda odd: odd.plot.traces(hue=odd.names, units=0, name="part of the sentence"),
    "traces, col": lambda odd: odd.plot.traces(col=odd.names, units=0),
    "against": lambda odd: odd.plot.against(odd.numbers, name="ones read so far"),
    "against, 1 unit": lambda odd: odd.plot.against(odd.numbers, units=0, hue=odd.names),
    "against names": lambda odd: odd.plot.against(odd.names, name="part of the sentence"),
    "against names, 1 unit": lambda odd: odd.plot.against(odd.names, hue=odd.names, units=0),
    "tuning": lambda odd: odd.plot.tuning(odd.numbers, name="ones read so far"),
    "tuning, names": lambda odd: odd.plot.tuning(odd.names, name="part of the sentence", z_score=False),
    "heatmap": lambda odd: odd.plot.heatmap(noun="bit"),
    "heatmap, 1 signal": lambda odd: odd.plot.heatmap(signals="cell_state", row=-1, title="one sequence"),
    "heatmap, all": lambda odd: odd.plot.heatmap(signals=list(map(str, odd.recording.parts[0].signals))),
    "trajectories": lambda odd: odd.plot.trajectories(),
    "trajectories, numbers": lambda odd: odd.plot.trajectories(hue=odd.numbers, name="ones read so far"),
    "trajectories, names": lambda odd: odd.plot.trajectories(hue=odd.names, name="part of the sentence"),
    "trajectories, cube": lambda odd: odd.plot.trajectories(hue=odd.names, directions=3),
    "saturation": lambda odd: odd.plot.saturation(),
    "saturation, 1 gate": lambda odd: odd.plot.saturation(gates="forget_gate"),
    "contributions": lambda odd: plots.contributions(contributed(odd)),
    "memory": lambda odd: plots.memory(left(odd)),
    "matrix": lambda odd: plots.matrix(table(odd), title="mean of each unit in each part of the sentence"),
    "matrix, across": lambda odd: plots.matrix(table(odd).T),
    "dose": lambda odd: plots.dose(doses(odd), given="number_put_in", answered="number_answered", hue="part"),
    "reading": lambda odd: draw_reading(reading(odd, steps=False)),
    "reading, steps": lambda odd: draw_reading(reading(odd, steps=True)),
}
#: Trajectories of states that do not spread along so many directions are refused.
REFUSED = ("1 unit", "constant")
#: A panel for each of 20 names has no room.
TOO_MANY = ("traces, col", "20 names")
#: So many pixels of two letters may overlap.
_OVER = 2.0


def wrong(figure: Figure) -> Iterator[str]:
    """Yield what cannot be read in a figure beside what every figure is held to."""
    if (figure.get_size_inches() > (7, 9)).any():
        yield f"it is {figure.get_size_inches()} inches"
    texts = list(letters(figure))
    for one, other in itertools.combinations(texts, 2):
        aslant = {one.get_rotation() % 90, other.get_rotation() % 90} != {0}
        if not aslant and "\n" in one.get_text() + other.get_text():
            pair = one.get_window_extent(), other.get_window_extent()
            over = np.minimum(pair[0].max, pair[1].max) - np.maximum(pair[0].min, pair[1].min)
            if over.min() > _OVER:
                yield f"{one.get_text()!r} stands over {other.get_text()!r}"
    for ax in figure.axes:
        named = [one for one in ax.get_xticklabels() if one in texts]
        if any(one.get_rotation() % 180 == 90 for one in named):
            yield "names below the axis stand on end"
        aslant = [one for one in named if one.get_rotation() % 90]
        places = sorted(ax.transData.transform((one.get_position()[0], 0))[0] for one in aslant)
        apart = min(np.diff(places), default=np.inf) * np.sin(np.radians(35))
        if aslant and apart < float(aslant[0].get_fontsize()) * figure.dpi / 72 - _OVER:
            yield f"names aslant are {apart:.0f} pixels apart"
        alike = [one for one in letters_of(ax, texts) if one.get_text().strip()]
        alone = len(ax.get_shared_y_axes().get_siblings(ax)) == 1
        if not alike and ax.axison and ax.lines and alone:
            yield "axes without a number"
    for legend in figure.findobj(Legend):
        assert isinstance(legend, Legend)
        if any(not one.get_text().strip() for one in legend.get_texts()) or None in legend.legend_handles:
            yield "an entry of a legend has no name or no mark"


def letters_of(ax: Any, texts: list[Text]) -> list[Text]:
    """Return the numbers and names beside axes."""
    return [one for one in (*ax.get_xticklabels(), *ax.get_yticklabels()) if one in texts]


def found(plot: str, name: str, theme: str) -> list[str]:
    """Return what is wrong with a plot of odd data in a theme."""
    with matplotlib.rc_context(THEMES[theme]), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = PLOTS[plot](data(name)).figure
        figure.draw_without_rendering()
        wrongs = [f"{theme}, {name}: {one}" for one in (*faults(figure), *wrong(figure))]
    plt.close(figure)
    return wrongs


def drawn(plot: str, themes: Callable[[int], Iterable[str]]) -> list[str]:
    """Return what is wrong with a plot of all odd data, each in some themes, by its number."""
    faults_of = []
    for number, name in enumerate(ODD):
        if plot.startswith("trajectories") and name in REFUSED:
            with pytest.raises(probe.ProbeError):
                PLOTS[plot](data(name))
            continue
        if (plot, name) == TOO_MANY:
            with pytest.raises(probe.ProbeError):
                PLOTS[plot](data(name))
            continue
        faults_of += [fault for theme in themes(number) for fault in found(plot, name, theme)]
    _ = looked_at()
    return faults_of


@pytest.mark.parametrize("plot", PLOTS)
def test_odd_data_can_be_read(plot: str) -> None:
    """Each in one of the themes, another one for each plot."""
    first = list(PLOTS).index(plot)
    assert drawn(plot, lambda number: [list(THEMES)[(first + number) % len(THEMES)]]) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("plot", PLOTS)
def test_odd_data_can_be_read_in_every_theme(plot: str) -> None:
    """Twelve data sets, three themes."""
    assert drawn(plot, lambda _: THEMES) == []
