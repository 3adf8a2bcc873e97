"""What a page says and shows of one network's probes of a concept, and what their controls allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.claims import RANDOM, called
from ...evidence.findings import DataFigure
from ...evidence.measurements import one, only
from ...evidence.words import between, listed, place, said, said_score
from ...methods.probing.linear import MOST_FEATURES
from ...methods.probing.scores import LEAST_MARGIN, MARGIN, margin_beside
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.networks import draw_scores
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import new_figure
from ...recurrent.signals import Signal
from ...subjects.states import reads_ahead, states_of
from ...subjects.subject import Subject
from ..question import Answered, Told
from .linear_readout_drawn import CLOCK, CONSTANT, OTHERS, RELABELLED, others_of
from .targets import Target

#: The most places that are drawn, and how many of the values that are left out are named.
PLACES, NAMED = 8, 8
#: A concept is read if the lower end of its score's interval is above that of knowing nothing by more than this.
READABLE = 0.05
#: Values of a concept are told one by one where the shares of their states that are named right differ by more.
APART = 0.1


class Objection(Enum):
    """What stands against the statement that training made a network hold a concept; the strongest is first."""

    NOT_FOUND = "The score may be that of knowing nothing"
    BARELY_READ = f"The score is not shown to exceed that of knowing nothing by {READABLE}"
    CLOCK = "It is not read clearly better than from the step"
    RELABELLED = "It is not read clearly better than values of another sequence"
    LAST_INPUTS = "It is not read clearly better than from inputs alone"
    OTHERS = "It is not read clearly better than from other concepts"
    RANDOM_SPREAD = "It is not read clearly better than from random weights, which differ as much among each other"
    RANDOM_WEIGHTS = "It is not read clearly better than from random weights"
    NONE = "No control does as well"


#: What a control that is not beaten objects; those of other kinds read inputs.
_OF_KIND = {CLOCK: Objection.CLOCK, RELABELLED: Objection.RELABELLED, OTHERS: Objection.OTHERS}


@dataclass(frozen=True)
class ControlScore:
    """The best place's score and that of one control, and what the control is called.

    `low` is the lower end of the interval of the network's score minus the control's. `alike`: the controls differ
    among each other as much as the best of them from the network.
    """

    kind: str
    value: float
    low: float
    alike: bool = False
    name: str = ""

    @property
    def objection(self) -> Objection | None:
        """What the control objects; None if the network beats it, or if naming one value for all is not beaten."""
        far = self.low > margin_beside(self.value)
        if self.kind == CONSTANT or (far and not self.alike):
            return None
        if self.kind == RANDOM:
            return Objection.RANDOM_SPREAD if far else Objection.RANDOM_WEIGHTS
        return _OF_KIND.get(self.kind, Objection.LAST_INPUTS)


def judge(controls: Sequence[ControlScore], low: float) -> tuple[Objection, ControlScore | None]:
    """Return the strongest objection to a score, and the control that it is about; None for the score, or all.

    A concept that cannot be read at all comes first, then one that the step explains, or the inputs where they
    explain it better. Relabelled values keep the step, so they add an objection only if the step alone scores less.
    """
    above = next((control.low for control in controls if control.kind == CONSTANT), low)
    # Rounded as the page shows it: a lower end of 0.00 is not called above 0.
    if round(above, 2) <= 0:
        return Objection.NOT_FOUND, None
    if above <= READABLE:
        return Objection.BARELY_READ, None
    against = {objection: control for control in controls if (objection := control.objection) is not None}
    clock, inputs = against.get(Objection.CLOCK), against.get(Objection.LAST_INPUTS)
    if clock is not None and inputs is not None and inputs.value - clock.value > MARGIN:
        return Objection.LAST_INPUTS, inputs
    strongest = next(one for one in Objection if one in against or one is Objection.NONE)
    return strongest, against.get(strongest)


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and the picture of one network and one concept."""
    subject, table = answered.subject, answered.table
    target = Target.of(subject, name)
    places = only(table, network=subject.network.name, metric="score")
    best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
    layer, signal = str(best["layer"]), str(best["signal"])
    controls = _controls(table, float(best["value"]), others_of(subject, name))
    (objection, control), highest = judge(controls, float(best["low"])), max(controls, key=lambda each: each.value)
    begins = f"“{name}” was not found:" if objection is Objection.NOT_FOUND else f"A probe reads “{name}” with"
    about = f" ({control.name}, {said(control.value)})" if control else ""
    measure = "balanced accuracy" if target.named else "R²"
    interval = between((float(best["low"]), float(best["high"])))
    score = f"{measure} {said_score(float(best['value']))} ({interval}{_by_class(table)})"
    first = f"{begins} {score}; best control: {highest.name}, {said(highest.value)}."
    which = f"The best of {len(places)} places is" if len(places) > 1 else "It was read from"
    ahead = ", which has already seen later inputs" * (layer in reads_ahead(subject))
    answer = f"{first} {objection.value}{about}. {which} {place(layer, signal)}{ahead}."
    units = states_of(subject).states[layer, Signal(signal)].shape[1]
    return Told({"answer": answer, "setup": _setup(subject, target, units)}, partial(figure, answered, first))


def _controls(table: pd.DataFrame, score: float, others: Sequence[str]) -> list[ControlScore]:
    """Return each control of the best place's score; `others` are the other concepts that one of them knows."""
    alike = one(table, metric="random_weights_below") <= one(table, metric="random_weights_apart")
    words = {
        CONSTANT: "naming one value for all",
        OTHERS: listed([f"“{name}”" for name in others]),
        RELABELLED: "other sequences' values at the same step",
        RANDOM: called(only(table, metric="score"), RANDOM),
    }
    return [
        ControlScore(kind, score - value, low, kind == RANDOM and alike, words.get(kind, f"the {kind}"))
        for kind, value, low in only(table, metric="above")[["kind", "value", "low"]].itertuples(index=False)
    ]


def _by_class(table: pd.DataFrame) -> str:
    """Return the share of each value's states that is named right, where these differ; of many the two ends."""
    rows = only(table, metric="class_score").sort_values("value", ascending=False, kind="stable")
    if not len(rows) or rows["value"].max() - rows["value"].min() <= APART:
        return ""
    if len(rows) > NAMED:
        rows = rows.iloc[[0, -1]]
    shares = [
        f"“{shortened(kind, 20)}” {said(value)}" for kind, value in rows[["kind", "value"]].itertuples(index=False)
    ]
    return f"; by value: {listed(shares)}"


def _setup(subject: Subject, target: Target, units: int) -> str:
    known, scored = target.concept, set(target.values.tolist())
    rest = " and before another rest" if target.left is not None else ""
    text = (
        f"We fitted {target.fit.name} probes on {several(len(target.values), 'state')} of "
        f"{several(len(np.unique(target.sequence)), 'sequence')}, each after another prefix{rest}; no sequence was "
        "used both to fit and to score. The network beats a control if the 95 % interval of the difference, over "
        f"sequences, lies above {MARGIN}, or above half of what the control leaves unexplained where that is less "
        f"(but at least {LEAST_MARGIN}). It beats networks with random weights only if also the ratio of unexplained "
        "variance (best control / network) is larger than the ratio between the median and the best control of that "
        "kind."
    )
    if target.named:
        text += (
            " Balanced accuracy is the mean over the values of the share of their states that the probe names right."
        )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    if target.named and rare:
        text += (
            f" Left out: {several(len(rare), 'value')} that fewer than {LEAST_SEQUENCES} sequences have among these "
            f"states ({listed(rare[:NAMED])}{' and others' * (len(rare) > NAMED)})."
        )
    if units > MOST_FEATURES:
        text += f" The probe read the {MOST_FEATURES} largest principal components of the {units:,} units."
    return text


def figure(answered: Answered, first: str) -> tuple[DataFigure]:
    """Return the picture of the scores: a row for each of the best places, all controls in it."""
    own, rows = answered.subject.network.name, only(answered.table, metric="score")
    places = only(rows, network=own).nlargest(PLACES, "value")[["layer", "signal"]]
    columns = ["role", "network", "layer", "signal", "value", "low", "high"]
    everywhere = rows[rows["layer"] == ""].drop(columns=["layer", "signal"]).merge(places, how="cross")
    shown = pd.concat([rows.merge(places), everywhere])[columns].reset_index(drop=True)
    kinds = {
        name: role if role == RANDOM else RELABELLED if name.startswith(RELABELLED) else name
        for name, role in zip(shown["network"].astype(str), shown["role"].astype(str), strict=True)
    }
    kinds[own] = "this network"
    with drawing():
        table = shown.rename(columns={"value": "score"}).assign(how="", step=np.nan)
        table["layer"] = [shortened(layer, 18) for layer in table["layer"]]
        axes = new_figure(height=1.2 + 0.32 * len(places))[1]
        picture: Any = draw_scores(table, kinds, ax=axes[0, 0]).get_figure()
        axes[0, 0].set_ylim(0.5 - len(places), 0.5)
        title, caption = "Where it can be read", "A row for each layer and signal; the line is the 95 % interval."
        return (drawn(picture, name=f"{answered.name}-scores", title=title, alt=first, caption=caption, data=shown),)
