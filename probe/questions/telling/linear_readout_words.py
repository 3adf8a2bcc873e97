"""What a page says and shows of one network's probes of a concept."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import one, only
from ...evidence.words import between, listed, place, said, said_score
from ...methods.probing.fits import MOST_FEATURES
from ...methods.probing.scores import LEAST_MARGIN, MARGIN
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.networks import draw_scores
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import new_figure
from ...recurrent.signals import Signal
from ...subjects.states import reads_ahead, states_of
from ...subjects.subject import Subject
from ..question import Answered, Told
from ..states.linear_readout_drawn import OTHERS, RANDOM, RELABELLED, others_of
from ..states.targets import Target
from .judgements import ControlScore, Objection, judge

#: The most places that are drawn, and how many of the values that are left out are named.
PLACES, NAMED = 8, 8


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and the picture of one network and one concept."""
    subject, table = answered.subject, answered.table
    target = Target.of(subject, name)
    places = only(table, network=subject.network.name, metric="score")
    best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
    layer, signal = str(best["layer"]), str(best["signal"])
    controls = _controls(table, float(best["value"]), tuple(others_of(subject, name)))
    judgement, highest = judge(controls, float(best["low"])), max(controls, key=lambda control: control.value)
    begins = (
        f"“{name}” was not found:" if judgement.objection is Objection.NOT_FOUND else f"A probe reads “{name}” with"
    )
    measure = "balanced accuracy" if target.named else "R²"
    score = f"{measure} {said_score(float(best['value']))} ({between((float(best['low']), float(best['high'])))})"
    first = f"{begins} {score}; best control: {highest.name}, {said(highest.value)}."
    which = f"The best of {len(places)} places is" if len(places) > 1 else "It was read from"
    ahead = ", which has already seen later inputs" * (layer in reads_ahead(subject))
    answer = f"{first} {judgement} {which} {place(layer, signal)}{ahead}."
    units = states_of(subject).states[layer, Signal(signal)].shape[1]
    return Told({"answer": answer, "setup": _setup(subject, target, units)}, partial(figure, answered, first))


def _controls(table: pd.DataFrame, score: float, others: tuple[str, ...]) -> list[ControlScore]:
    """Return each control of the best place's score; `others` are the other concepts that one of them knows."""
    alike = one(table, metric="random_weights_below") <= one(table, metric="random_weights_apart")
    copies = only(table, role=RANDOM, metric="score")["network"].nunique()
    above = only(table, metric="above")
    return [
        ControlScore(
            str(kind),
            score - float(value),
            float(low),
            kind == RANDOM and alike,
            others if kind == OTHERS else (),
            copies,
        )
        for kind, value, low in zip(above["kind"], above["value"], above["low"], strict=True)
    ]


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
