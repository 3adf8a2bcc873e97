"""`Reading`: what could be read of a concept off each signal of a recording, beside controls."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import checked_arguments, whole
from ..errors import ProbeError, several, unknown
from ..evidence.margins import LEAST_MARGIN, MARGIN, margin_beside
from ..intervals import bootstrap_counts
from ..methods.probing.linear import LinearProbe
from ..methods.probing.scores import Score
from ..recording.recording import LayerRecording, keys
from ..recurrent.signals import Signal
from ..showing import show
from .points import Points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What tables call the recording that was given.
OWN = "this network"
#: Above this a control leaves little room: the margin is smaller, and what is left unexplained is shown as well.
NO_ROOM = 1 - 2 * MARGIN
#: The two ways in which a unit may follow a concept.
WITHIN, ONE_MAP = "within steps", "one map"
#: The control of single units that has the concept's values in another order.
SHUFFLED = "shuffled concept"
#: The verdicts of a reading, each with what it means in a line.
ABOVE, BELOW, NOT_ABOVE = "above every control", "below every network", "not above every control"
NO_NETWORK = "no network compared"
VERDICTS = {
    ABOVE: "its score is clearly above that of the best control",
    BELOW: "its score is clearly below that of every other network",
    NOT_ABOVE: "a control scores as well, or may: nothing here says that training made it",
    NO_NETWORK: "its score is clearly above what the step, the inputs or a shuffled concept give",
}


def written(value: float) -> str:
    """Return a score as every table and sentence writes it."""
    return f"{value:.3f}"


#: How numbers look in a table that is shown.
_LOOK: dict[str, Any] = {"float_format": written, "na_rep": ""}


@dataclass(frozen=True, eq=False, kw_only=True)
class SignalRead:
    """What was read off one signal.

    Attributes:
        part: the layer.
        signal: the signal.
        points: the states.
        scores: the score of each network and control, this network's first.
        how: of single units, which of the two ways.
        probe: the probe of all states, in the signal's own numbers; None where single units were read.
        by_step: step -> the score of each network and control with a map of its own.
        unit: network -> the unit that was selected, or several if parts selected others; empty where all were read.
        follows: how closely each unit follows the concept within steps, (unit,); empty where all were read.
    """

    part: LayerRecording
    signal: Signal
    points: Points
    scores: Mapping[str, Score]
    how: str = ""
    probe: LinearProbe | None = None
    by_step: Mapping[int, Mapping[str, Score]] = field(default_factory=dict)
    unit: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    follows: Sequence[float] = ()

    @property
    def chance(self) -> float:
        """The score of knowing nothing: of categories one in their number, of numbers 0.

        Of the share of states that are read exactly, the share of the most frequent value.
        """
        if self.points.named:
            return 1 / len(self.points.labels)
        if self.how != ONE_MAP:
            return 0.0
        return float(np.unique(self.points.values, return_counts=True)[1].max()) / len(self.points.values)

    def reads_something(self, samples: np.ndarray) -> bool:
        """Return whether the score's interval lies above chance."""
        return self.scores[OWN].interval(samples)[0] > self.chance

    def samples(self, seed: int) -> np.ndarray:
        """Return bootstrap samples of the sequences, or groups, that were read, (draw, sequence)."""
        return bootstrap_counts(len(self.scores[OWN].loss), seed)

    def _named(self, samples: np.ndarray) -> str:
        """Return the unit that was selected; none where it reads nothing, or a shuffled concept as well."""
        low, _ = self.scores[OWN].above(self.scores[SHUFFLED], samples)
        return _units(self.unit[OWN]) if low > 0 and self.reads_something(samples) else ""

    def rows(self, samples: np.ndarray) -> list[dict[str, Any]]:
        """Return the rows of the table."""
        at = {"layer": self.part.layer, "signal": str(self.signal), "how": self.how}
        count = {"states": len(self.points.values), "sequences": len(np.unique(self.points.sequence))}
        found = []
        for network, score in self.scores.items():
            low, high = score.interval(samples) if network == OWN else (None, None)
            row = at | {"unit": _units(self.unit.get(network, ())), "network": network, "score": score.value} | count
            found.append(row | {"low": low, "high": high})
        for step, scores in self.by_step.items():
            found += [at | {"step": step, "network": name, "score": score.value} for name, score in scores.items()]
        return found + [at | {"unit": str(unit), "network": OWN, "r": r} for unit, r in enumerate(self.follows)]

    def summary(self, samples: np.ndarray, networks: Sequence[str]) -> dict[str, Any]:
        """Return the row of the summary.

        Args:
            samples: of the sequences, for intervals, (draw, sequence).
            networks: the controls that are networks.
        """
        own = self.scores[OWN]
        # Of equal ones the step or the inputs, which say why the others are as good.
        others = sorted((name for name in self.scores if name != OWN), key=lambda name: name in networks)
        name = max(others, key=lambda other: self.scores[other].value)
        best = self.scores[name]
        low, high = own.above(best, samples)
        worst = min((self.scores[network] for network in networks), key=lambda each: each.value, default=own)
        if low > max(margin_beside(1 - best.value), LEAST_MARGIN):
            verdict = ABOVE if networks else NO_NETWORK
        else:
            verdict = BELOW if own.above(worst, samples)[1] < -MARGIN else NOT_ABOVE
        row = {"layer": self.part.layer, "signal": str(self.signal)}
        row |= {"how": self.how, "unit": self._named(samples)} if self.unit else {}
        row |= {"score": own.value, "best control": name, "its score": best.value, "above": own.value - best.value}
        row |= {"low": low, "high": high, "unexplained": 1 - own.value, "of control": 1 - best.value}
        return row | {"verdict": verdict}


def count_of(table: pd.DataFrame) -> str:
    """Return in words how many states a reading's table is of."""
    states, sequences = (int(table[name].max()) for name in ("states", "sequences"))
    return f"{several(states, 'state')} of {several(sequences, 'sequence')}"


def _units(units: Iterable[int]) -> str:
    return " ".join(map(str, units))


@dataclass(frozen=True, eq=False)
class Reading:
    """What could be read of a concept off each signal of a recording, beside controls.

    It shows itself: a line for each signal with its held-out score, the best control and its score, and a verdict,
    and below them what each verdict that occurs means.
    *Above every control*: the 95 % interval of the difference to the best control, over sequences or groups, lies
    above 0.05; above a control of .9 it must lie above half of what the control leaves unexplained, and above 0.01.
    *Below every network*: the interval of the difference to the worst of the networks lies below -0.05. Else *not
    above every control*: nothing here says that training made it. *No network compared*: only the step, the inputs or
    a shuffled concept are beaten.

    Attributes:
        title: what was read, how it was scored, and on what.
        table: a row for each signal, network and step, or unit: `score`, its 95 % interval `low` to `high`, how many
            `states` of how many `sequences` it is of, and `r` of single units. A row without a step is of all steps,
            one without a unit of all units.
        summary: a row for each signal: the score, the best control and its score, the difference `above` with its
            interval `low` to `high`, what is left `unexplained`, and what the control leaves, and the verdict. Of
            single units, two rows: `how`, and the `unit` that was selected, or several if parts selected others; none
            where it reads no more than chance, or a shuffled concept as well.
    """

    title: str
    table: pd.DataFrame
    summary: pd.DataFrame
    _read: tuple[SignalRead, ...] = field(repr=False)
    _last: str = field(repr=False)

    def __repr__(self) -> str:
        shown = self._shown().to_string(index=False, **_LOOK)
        return "\n".join(filter(None, [fill(self.title, 100), shown, *self._verdicts(), self._last]))

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        title, *below = (html.escape(text) for text in (self.title, *self._verdicts(), self._last))
        said = "<br>".join(filter(None, below))
        return f"<p>{title}</p>{self._shown().to_html(index=False, border=0, **_LOOK)}<p>{said}</p>"

    def __getitem__(self, key: str | tuple[str, str]) -> Reading:
        """Return the reading of one signal: `reading[signal]`, or `reading[layer, signal]`."""
        words = key if isinstance(key, tuple) else (key,)
        if len(words) not in (1, 2) or not all(isinstance(word, str) for word in words):
            raise ProbeError(f"A reading has no {key!r}; ask for reading[signal] or reading[layer, signal].")
        found = self._find(words[-1], words[0] if len(words) == 2 else None)
        layer, signal = found.part.layer, str(found.signal)
        table, summary = (
            every[(every["layer"] == layer) & (every["signal"] == signal)].reset_index(drop=True)
            for every in (self.table, self.summary)
        )
        read = tuple(one for one in self._read if (one.part.layer, one.signal) == (layer, found.signal))
        title = self.title.replace(count_of(self.table), count_of(table), 1)
        return replace(self, title=title, table=table, summary=summary, _read=read)

    def _ipython_key_completions_(self) -> list[str | tuple[str, str]]:
        """Return what `reading[...]` takes, for completion: signals of one layer, and layers with signals."""
        return keys(dict.fromkeys((read.part.layer, str(read.signal)) for read in self._read))

    @property
    def score_name(self) -> str:
        """What the scores are, such as `R²`; those by one map are the share of states that are read exactly."""
        one_map = any(read.how == ONE_MAP and not read.points.named for read in self._read)
        return self._read[0].points.score_name + ("; by one map, the share read exactly" if one_map else "")

    def _verdicts(self) -> list[str]:
        """Return what each verdict that occurs means, a line each."""
        return [f"{name}: {VERDICTS[name]}" for name in VERDICTS if name in set(self.summary["verdict"])]

    def _shown(self) -> pd.DataFrame:
        """Return what a line of the summary shows: the layer, and what is left unexplained, only where they tell."""
        hidden = {"above", "low", "high"}
        if self.summary["layer"].nunique() == 1:
            hidden.add("layer")
        if self.summary["its score"].max() <= NO_ROOM or "unit" in self.summary:
            hidden |= {"unexplained", "of control"}
        return self.summary[[name for name in self.summary if name not in hidden]]

    @checked_arguments()
    def states(self, signal: str | None = None, *, layer: str | None = None) -> pd.DataFrame:
        """Return the states that were read: `row` of the batch, `place` on the time axis, `value`, and `fold`.

        A score is of the states of each fold, read by a probe of the others, so that another tool can be given the
        same parts: `recording[signal].numpy()[states["row"], states["place"]]`.

        Args:
            signal: the signal's name; it may be left out where all have the same states.
            layer: the layer's name; it may be left out where one has the signal.

        Raises:
            ProbeError: the signal was not read, or several layers have it and none is named.
        """
        return (self._read[0] if signal is None and layer is None else self._find(signal, layer)).points.table

    @checked_arguments()
    def by_category(self, signal: str, *, layer: str | None = None) -> pd.Series:
        """Return how well each category is read: the share of its states that the probe names right, by its name.

        Args:
            signal: the signal's name.
            layer: the layer's name; it may be left out where one has the signal.

        Raises:
            ProbeError: the signal was not read, or the concept is a number.
        """
        import pandas as pd

        read = self._find(signal, layer)
        if not read.points.named:
            raise ProbeError("The concept is a number, which has no categories.")
        return pd.Series(read.scores[OWN].by_class, index=list(read.points.labels), name="score")

    @checked_arguments(step=whole(0))
    def direction(
        self, signal: str, *, layer: str | None = None, value: Any = None, step: int | None = None
    ) -> Tensor:
        """Return the direction along which a signal encodes the concept, for `probe.steer` and `probe.edit`.

        Of a number: how states of the same step differ where the concept differs by one, scaled so that the probe
        reads one more along it. A probe's own weights are no such direction: they also cancel what is correlated.
        Of a category: how states of the same step that have it differ from those that have not. Of single units:
        the selected unit alone, by what it differs itself.

        Args:
            signal: the signal's name.
            layer: the layer's name; it may be left out where one has the signal.
            value: of categories, which one; it may be left out where there are two, and is then the second.
            step: of the states after this step alone, the first being 0; None for all.

        Returns:
            One number for each unit, (unit,); a state that is a matrix row by row.

        Raises:
            ProbeError: the signal was not read or holds nothing of the concept, the concept has no such value, or it
                follows from the step alone, so that no two states of a step differ in it.

        Reference:
            Haufe et al. 2014, On the interpretation of weight vectors of linear models, equation 6.
        """
        read = self._find(signal, layer)
        points = read.points if step is None else read.points.at(np.flatnonzero(read.points.step == step))
        goal = _goal(points, value)
        if len(np.unique(goal)) < 2:
            raise ProbeError(f"The concept does not vary after step {step}; steps {_steps(read.points)} were read.")
        goal_spread = goal.std()
        moved = points.detrended(goal[:, None] / goal_spread)[:, 0]
        if not moved @ moved > 1e-9 * len(moved):
            raise ProbeError(
                "No two states of a step differ in the concept, which follows from the step alone: there is no "
                "direction that is not the step's."
            )
        if not read.reads_something(read.samples(0)):
            raise ProbeError(
                f"What is read off {signal} is not above chance (held-out score {read.scores[OWN].value:.2f}), so "
                "that its direction would be noise. Take a signal that tells the concept."
            )
        states = points.states(read.part, read.signal)
        along = moved @ points.detrended(states) / (moved @ moved) / goal_spread
        if read.unit:
            along = np.where(np.isin(np.arange(len(along)), read.unit[OWN][0]), along, 0)
        elif not points.named:
            probe = read.probe if step is None else points.probe(points.fit, states)
            along = along / self._moves(probe, along, signal)
        return self._as_signal(read, along)

    def _moves(self, probe: LinearProbe | None, along: np.ndarray, signal: str) -> float:
        """Return by how much the probe's reading moves along a direction in which the concept grows by one."""
        moves = 0.0 if probe is None else float(probe.weight[0] @ along)
        if moves < MARGIN:  # scaled up to one more it would be 20 times as long
            raise ProbeError(
                f"States of {signal} that differ by one in the concept at the same step differ by {moves:.2f} in "
                "what the probe reads: it reads the step. There is no direction that is not the step's."
            )
        return moves

    @checked_arguments()
    def weights(self, signal: str, *, layer: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the probe itself, fitted on all states that were read: weight and bias, in the signal's own numbers.

        Args:
            signal: the signal's name.
            layer: the layer's name; it may be left out where one has the signal.

        Returns:
            Weight (target, unit) and bias (target,): one target for a number or two categories, else one for each
            category, in the order of their names.

        Raises:
            ProbeError: the signal was not read, or single units were.
        """
        read = self._find(signal, layer)
        if read.probe is None:
            raise ProbeError("Single units have no weights; ask probe.linear_probe for a map of all units.")
        return torch.tensor(read.probe.weight), torch.tensor(read.probe.bias)

    def plot(self, ax: Axes | None = None) -> Axes | Figure:
        """Draw the scores: a row for each signal, a dot for the network with its interval, a mark for each control.

        With a map for each step: a panel for each signal, and in it the scores over steps.

        Args:
            ax: where to draw, or None for a new figure.

        Returns:
            The axes of a single panel, or the figure of several.
        """
        return show(self, "plot", ax=ax)

    def _find(self, signal: str | None, layer: str | None) -> SignalRead:
        found = [read for read in self._read if signal in (None, read.signal) and layer in (None, read.part.layer)]
        if not found and not any(read.signal == signal for read in self._read):
            raise ProbeError(
                unknown("signal that was read", signal, dict.fromkeys(str(r.signal) for r in self._read))
            )
        if not found:
            raise ProbeError(unknown("layer that was read", layer, dict.fromkeys(r.part.layer for r in self._read)))
        names = list(dict.fromkeys(read.part.layer for read in found))
        if len(names) > 1:
            listed = ", ".join(map(repr, names))
            raise ProbeError(f"Several layers have {signal}: {listed}. Name one: layer=..., or [layer, signal].")
        return found[0]

    def _as_signal(self, read: SignalRead, along: np.ndarray) -> Tensor:
        value = read.part.signals[read.signal]
        if value.is_complex():
            real, imaginary = np.split(along, 2)
            return torch.tensor(real + 1j * imaginary, dtype=value.dtype, device=value.device)
        return torch.tensor(along, dtype=value.dtype, device=value.device)


def _goal(points: Points, value: Any) -> np.ndarray:
    """Return what a direction is about: the numbers, or whether a state has a category."""
    if not points.named:
        if value is not None:
            raise ProbeError(f"value={value!r} names a category, and the concept is a number: leave it out.")
        return points.values
    if value is None and len(points.labels) == 2:
        return (points.values == 1).astype(float)
    name = str(value).removesuffix(".0") if points.two else str(value)
    if name not in points.labels:
        raise ProbeError(unknown("category", value, points.labels) + " Name it with value=.")
    return (points.values == points.labels.index(name)).astype(float)


def _steps(points: Points) -> str:
    return f"{points.step.min()} to {points.step.max()}"
