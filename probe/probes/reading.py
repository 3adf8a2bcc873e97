"""`Reading`: what could be read of a concept off each signal of a recording, beside controls."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several, unknown
from ..methods.probing.fits import Fit
from ..methods.probing.linear import LinearProbe
from ..methods.probing.scores import MARGIN, Score
from ..methods.probing.splits import by_sequence
from ..recording.recording import LayerRecording, Recording
from ..recurrent.signals import Signal
from ..subjects.random_weights import FRESH, SHUFFLED, kind_of
from .points import GivenConcept, Points, parts_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What tables call the recording that was given.
OWN = "this network"
#: Above this a control leaves no room, and what is left unexplained is shown as well.
NO_ROOM = 0.95
#: How numbers look in a table that is shown.
_LOOK: dict[str, Any] = {"float_format": "{:.3f}".format, "na_rep": ""}


@dataclass(frozen=True, eq=False)
class SignalRead:
    """What was read off one signal.

    Attributes:
        part: the layer.
        signal: the signal.
        points: the states.
        scores: the score of each network and control, this network's first.
        probe: the probe of all states, in the signal's own numbers; None where single units were read.
        by_step: step -> the score of each network and control with a map of its own.
        unit: network -> the unit that was selected, or units; empty where all were read together.
        exact: network -> the share of states that one map of one unit reads exactly.
        follows: how closely each unit follows the concept within steps, (unit,); empty where all were read.
    """

    part: LayerRecording
    signal: Signal
    points: Points
    scores: Mapping[str, Score]
    probe: LinearProbe | None = None
    by_step: Mapping[int, Mapping[str, Score]] = field(default_factory=dict)
    unit: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    exact: Mapping[str, float] = field(default_factory=dict)
    follows: Sequence[float] = ()

    def rows(self, seed: int) -> list[dict[str, Any]]:
        """Return the rows of the table."""
        at = {"layer": self.part.layer, "signal": str(self.signal)}
        count = {"states": len(self.points.values), "sequences": len(np.unique(self.points.sequence))}
        found = []
        for network, score in self.scores.items():
            low, high = score.interval(seed) if network == OWN else (None, None)
            row = at | {"unit": _units(self.unit.get(network, ())), "network": network, "score": score.value} | count
            found.append(row | {"low": low, "high": high, "exact": self.exact.get(network)})
        for step, scores in self.by_step.items():
            found += [at | {"step": step, "network": name, "score": score.value} for name, score in scores.items()]
        return found + [at | {"unit": str(unit), "network": OWN, "r": r} for unit, r in enumerate(self.follows)]

    def summary(self, seed: int, networks: Iterable[str]) -> dict[str, Any]:
        """Return the row of the summary."""
        own = self.scores[OWN]
        name, best = max(((n, s) for n, s in self.scores.items() if n != OWN), key=lambda each: each[1].value)
        low, high = own.above(best, seed)
        above = "above every control" if list(networks) else "above step and inputs"
        verdict = above if low > MARGIN else "below a control" if high < -MARGIN else "not specific"
        row = {"layer": self.part.layer, "signal": str(self.signal), "score": own.value, "best control": name}
        row |= {"its score": best.value, "above": own.value - best.value, "low": low, "high": high}
        row |= {"unexplained": 1 - own.value, "of control": 1 - best.value}
        if self.unit:
            row |= {"unit": _units(self.unit[OWN])}
        if self.exact:
            others = [share for network, share in self.exact.items() if network != OWN]
            row |= {"exact": self.exact[OWN], "of controls": max(others, default=None)}
        return row | {"verdict": verdict}


def _units(units: Iterable[int]) -> str:
    return " ".join(map(str, units))


@dataclass(frozen=True, eq=False)
class Reading:
    """What could be read of a concept off each signal of a recording, beside controls.

    It shows itself: a line for each signal with its held-out score, the best control and its score, and a verdict.
    *Above every control*: the 95 % interval of the difference to the best control, over sequences, lies above 0.05.
    *Below a control*: it lies below -0.05. Else *not specific*: nothing here says that training made it.

    Attributes:
        title: what was read, how it was scored, and on what.
        table: a row for each signal, network and step, or unit: `score`, its 95 % interval `low` to `high`, how many
            `states` of how many `sequences` it is of, `r` of single units, and `exact`. A row without a step is of
            one map for all steps, one without a unit of all units.
        summary: a row for each signal: the score, the best control and its score, the difference `above` with its
            interval `low` to `high`, what is left `unexplained`, and what the control leaves, and the verdict. Of
            single units also the `unit` (or units, if the halves select two), and what one map reads `exact`ly.
    """

    title: str
    table: pd.DataFrame
    summary: pd.DataFrame
    _read: tuple[SignalRead, ...] = field(repr=False)
    _last: str = field(repr=False)

    def __repr__(self) -> str:
        shown = self._shown().to_string(index=False, **_LOOK)
        return "\n".join(filter(None, [fill(self.title, 100), shown, self._last]))

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        title, last = (f"<p>{html.escape(text)}</p>" if text else "" for text in (self.title, self._last))
        return title + self._shown().to_html(index=False, border=0, **_LOOK) + last

    def _shown(self) -> pd.DataFrame:
        """Return what a line of the summary shows: the layer, and what is left unexplained, only where they tell."""
        hidden = {"above", "low", "high"}
        if self.summary["layer"].nunique() == 1:
            hidden.add("layer")
        if self.summary["its score"].max() <= NO_ROOM or "exact" in self.summary:
            hidden |= {"unexplained", "of control"}
        return self.summary[[name for name in self.summary if name not in hidden]]

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
        if not len(points.values):
            raise ProbeError(f"No state after step {step} was read; steps {_steps(read.points)} were.")
        moved = points.detrended(_goal(points, value)[:, None])[:, 0]
        if not moved @ moved > 1e-9 * len(moved):
            raise ProbeError(
                "No two states of a step differ in the concept, which follows from the step alone: there is no "
                "direction that is not the step's."
            )
        if not read.scores[OWN].value > 0:
            raise ProbeError(
                f"The probe of {signal} reads nothing (held-out score {read.scores[OWN].value:.2f}), so that its "
                "direction would be noise. Take a signal whose score is above 0."
            )
        states = points.states(read.part, read.signal)
        along = moved @ points.detrended(states) / (moved @ moved)
        if read.unit:
            along = np.where(np.isin(np.arange(len(along)), read.unit[OWN]), along, 0)
        elif not points.named and read.probe is not None:
            along = along / float(read.probe.weight[0] @ along)
        return self._as_signal(read, along)

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
        from ..plots.networks import draw_scores, draw_scores_over_steps

        draw = draw_scores_over_steps if self.table["step"].notna().any() else draw_scores
        random, names = dict.fromkeys((FRESH, SHUFFLED), "random weights"), map(str, self.table["network"].unique())
        return draw(self.table, {name: random.get(kind_of(name), name) for name in names}, ax=ax)

    def _find(self, signal: str | None, layer: str | None) -> SignalRead:
        found = [read for read in self._read if signal in (None, read.signal) and layer in (None, read.part.layer)]
        if not found and not any(read.signal == signal for read in self._read):
            raise ProbeError(
                unknown("signal that was read", signal, dict.fromkeys(str(r.signal) for r in self._read))
            )
        if not found:
            raise ProbeError(unknown("layer that was read", layer, dict.fromkeys(r.part.layer for r in self._read)))
        if len(found) > 1:
            names = ", ".join(repr(read.part.layer) for read in found)
            raise ProbeError(f"Several layers have {signal}: {names}. Name one: layer=...")
        return found[0]

    def _as_signal(self, read: SignalRead, along: np.ndarray) -> Tensor:
        value = read.part.signals[read.signal]
        if value.is_complex():
            real, imaginary = np.split(along, 2)
            return torch.tensor(real + 1j * imaginary)
        return torch.tensor(along, dtype=value.dtype, device=value.device)


def _goal(points: Points, value: Any) -> np.ndarray:
    """Return what a direction is about: the numbers, or whether a state has a category."""
    if not points.named:
        if value is not None:
            raise ProbeError(f"value={value!r} names a category, and the concept is a number: leave it out.")
        return points.values
    if value is None and len(points.labels) == 2:
        return (points.values == 1).astype(float)
    if str(value) not in points.labels:
        raise ProbeError(unknown("category", value, points.labels) + " Name it with value=.")
    return (points.values == points.labels.index(str(value))).astype(float)


def _steps(points: Points) -> str:
    return f"{points.step.min()} to {points.step.max()}"


@dataclass(frozen=True, eq=False)
class Compared:
    """A recording and its controls, with the concept that is read off them.

    Attributes:
        concept: the concept.
        recordings: by name; the one that was given is `OWN`, the first.
        parts: the layers that are read, and the signals of each.
        points: the states of each layer.
    """

    concept: GivenConcept
    recordings: Mapping[str, Recording]
    parts: Sequence[tuple[LayerRecording, Sequence[Signal]]]
    points: Sequence[Points]

    @classmethod
    def of(cls, concept: GivenConcept, recording: Recording, controls: Any, layers: Any, signals: Any) -> Compared:
        """Return what is compared.

        Raises:
            ProbeError: a recording or the concept does not fit.
        """
        parts = parts_of(recording, layers, signals)
        if not isinstance(controls or {}, Mapping):
            raise ProbeError(
                f"controls= is a {type(controls).__name__}; give recordings by name, such as "
                "probe.random_weights(model, x) or {'own initialisation': before}."
            )
        others = dict(controls or {})
        for name, other in others.items():
            if not isinstance(name, str) or name in (OWN, ""):
                raise ProbeError(f"A control is called {name!r}; give it a name of its own.")
            parts_of(other, None, None, f"The control {name!r}")
            if other is recording:
                raise ProbeError(f"The control {name!r} is the recording itself; give that of another network.")
        return cls(concept, {OWN: recording, **others}, parts, [concept.points(recording, part) for part, _ in parts])

    @property
    def score(self) -> str:
        """What scores are, in words."""
        points = self.points[0]
        return f"balanced accuracy (chance {1 / len(points.labels):.2f})" if points.named else "R²"

    def read(self, part: LayerRecording, signal: Signal, points: Points) -> dict[str, np.ndarray]:
        """Return a signal of each network at the states.

        Raises:
            ProbeError: a control has no such signal, or was recorded with other sequences.
        """
        return {
            name: points.states(part if name == OWN else _same(part, signal, name, recording), signal)
            for name, recording in self.recordings.items()
        }

    def reading(self, what: str, read: Sequence[SignalRead]) -> Reading:
        """Return the reading.

        Args:
            what: the title's beginning, up to how many states were read.
            read: what was read off each signal.
        """
        import pandas as pd

        rows = [row for one in read for row in one.rows(self.concept.seed)]
        columns = ("layer", "signal", "unit", "step", "network", "score", "low", "high", "states", "sequences", "r")
        table = pd.DataFrame(rows, columns=[*columns, "exact"])
        table = table.astype({"step": "Int64", "states": "Int64", "sequences": "Int64", "exact": float})
        networks = [name for name in self.recordings if name != OWN]
        summary = pd.DataFrame([one.summary(self.concept.seed, networks) for one in read])
        states, sequences = (int(table[name].max()) for name in ("states", "sequences"))
        title = f"{what}; {several(states, 'state')} of {several(sequences, 'sequence')}"
        title += f", beside {several(len(networks), 'other network')}" if networks else ""
        left_out = sorted({label for points in self.points for label in points.left_out})
        if left_out:
            title += f"; left out, in too few sequences: {', '.join(left_out)}"
        last = "" if networks else "No network was compared: controls=probe.random_weights(model, x)."
        if any(points.inputs is None for points in self.points):
            last = f"{last} The recording does not say what was read: every state counts.".strip()
        return Reading(title, table.fillna({"unit": ""}), summary, tuple(read), last)


def _same(part: LayerRecording, signal: Signal, name: str, recording: Recording) -> LayerRecording:
    """Return the layer of a control that stands where a layer of the recording does."""
    for other in recording.parts:
        if (other.layer, other.call) == (part.layer, part.call) and signal in other.signals:
            shapes = [tuple(each.signals[signal].shape[:2]) for each in (part, other)]
            if shapes[0] != shapes[1] or part.lengths != other.lengths:
                raise ProbeError(
                    f"The control {name!r} was recorded with sequences of another shape, {shapes[1]} for {shapes[0]} "
                    "(batch, time), or of other lengths. Record it with the same inputs."
                )
            return other
    raise ProbeError(
        f"The control {name!r} holds no {signal} of layer {part.layer!r}. Record it with the same inputs, layers and "
        "signals."
    )


def probe_of(points: Points, fit: Fit, states: np.ndarray) -> LinearProbe:
    """Return the probe of all states."""
    return fit.fitted(states, points.values[:, None], by_sequence(points.fold))
