"""What the controls allow to say of one network's probes: a typed judgement, and the sentences from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.measurements import one, only
from ...evidence.words import between, listed, place, said
from ...methods.probing.fits import MOST_FEATURES
from ...methods.probing.scores import MARGIN
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.study_figures import shortened
from ...recurrent.signals import Signal
from ...subjects.computed.sample import reads_ahead
from ...subjects.computed.sampled import sample_of
from ...subjects.concepts import Known
from ...subjects.subject import Subject
from ..question import Answered, Told
from ..states.linear_readout_drawn import AROUND, CLOCK, CONSTANT, MEMORIES, RANDOM, RECENT, RELABELLED
from ..states.targets import Target
from . import linear_readout_figures as figures

#: A concept is called readable if the lower end of its score's interval is above 0 (or `CONSTANT`) by more than this.
READABLE = 0.05


class Objection(Enum):
    """What stands against the statement that training made a network hold a concept; the strongest is first."""

    NOT_FOUND = "the score may be that of knowing nothing"
    BARELY_READ = "the score is hardly above that of knowing nothing"
    CLOCK = "the step alone predicts the concept"
    RELABELLED = "the values of other sequences at the same step are read as well"
    LAST_INPUTS = "the last inputs alone predict the concept"
    RANDOM_SPREAD = "networks with random weights differ among each other as much"
    RANDOM_WEIGHTS = "the concept is read from networks with random weights as well"
    NONE = "no control does as well"


@dataclass(frozen=True)
class Beside:
    """The best place's score beside one control.

    Attributes:
        kind: the control.
        value: its score.
        low: the lower end of the interval of the network's score minus the control's.
        alike: whether the controls differ among each other as much as the best of them differs from the network.
        steps: how many inputs a probe on the last inputs reads.
    """

    kind: str
    value: float
    low: float
    alike: bool = False
    steps: int = 1

    @property
    def beaten(self) -> bool:
        """Whether the network beats the control."""
        return self.low > MARGIN and not self.alike

    def named(self, copies: int) -> str:
        """Return the control in words; `copies` is how many networks with random weights there are."""
        recent = f"the last {self.steps} inputs" if self.steps > 1 else "the last input"
        words = {
            CLOCK: "the step alone",
            RECENT: recent,
            AROUND: f"the last {self.steps} and the next {self.steps} inputs"
            if self.steps > 1
            else "the inputs around",
            CONSTANT: "naming one value for all",
            RELABELLED: "the values of other sequences at the same step",
            RANDOM: f"the best of {_networks(copies)}",
        }
        return words[self.kind]


@dataclass(frozen=True)
class Judgement:
    """What the controls allow to conclude.

    Attributes:
        objection: the strongest objection.
        score: the network's best score.
        controls: the controls that were measured, by kind.
        copies: how many networks with random weights there are.
        ahead: the layer of the best place if it has seen later inputs, otherwise empty.
    """

    objection: Objection
    score: float
    controls: Mapping[str, Beside]
    copies: int
    ahead: str = ""

    @property
    def recent(self) -> Beside | None:
        """The control that knows the last inputs, or those around the state."""
        return self.controls.get(RECENT) or self.controls.get(AROUND)

    @property
    def random_is_better(self) -> bool:
        """Whether networks with random weights score higher, and the objection is another one."""
        about_random = (Objection.RANDOM_SPREAD, Objection.RANDOM_WEIGHTS, Objection.NONE)
        random = self.controls.get(RANDOM)
        return random is not None and self.objection not in about_random and random.value - self.score > MARGIN


def judge(controls: Mapping[str, Beside], score: float, low: float, copies: int, ahead: str = "") -> Judgement:
    """Return the strongest objection to a score.

    A concept that cannot be read at all comes first, then one that the step explains. Relabelled values keep the
    step, so they add an objection only if the step alone scores less.

    Args:
        controls: the best score beside each control, by kind.
        score: the best score.
        low: the lower end of its interval.
        copies: how many networks with random weights there are.
        ahead: the layer of the best place if it has seen later inputs.
    """
    return Judgement(next(_objections(controls, low)), score, controls, copies, ahead)


def _objections(controls: Mapping[str, Beside], low: float) -> Iterator[Objection]:
    unbeaten = {kind for kind, control in controls.items() if not control.beaten}
    above = controls[CONSTANT].low if CONSTANT in controls else low
    # Rounded as the page shows it: a lower end of 0.00 is not called above 0.
    if round(above, 2) <= 0:
        yield Objection.NOT_FOUND
    if above <= READABLE:
        yield Objection.BARELY_READ
    if CLOCK in unbeaten:
        yield Objection.CLOCK
    if RELABELLED in unbeaten:
        yield Objection.RELABELLED
    if unbeaten & {RECENT, AROUND}:
        yield Objection.LAST_INPUTS
    if RANDOM in unbeaten:
        yield Objection.RANDOM_SPREAD if controls[RANDOM].low > MARGIN else Objection.RANDOM_WEIGHTS
    yield Objection.NONE


def verdict(judgement: Judgement) -> str:
    """Return a judgement in words, to follow the concept's name."""
    text = _conclusion(judgement)
    if judgement.random_is_better:
        random = judgement.controls[RANDOM].value
        text += f" The best of {_networks(judgement.copies)} scores higher ({said(random)})."
    if judgement.ahead and judgement.objection is not Objection.NOT_FOUND:
        text += (
            f" {judgement.ahead} reads the sequence from its end, or reads a layer that does. It has already seen "
            "the next inputs, so nothing here is a prediction."
        )
    return text


def _conclusion(judgement: Judgement) -> str:
    controls, recent = judgement.controls, judgement.recent
    nothing = "the score of naming one value for all" if CONSTANT in controls else "0"
    near = "the inputs around it" if AROUND in controls else "the last inputs"
    several_inputs = recent is not None and (recent.steps > 1 or recent.kind == AROUND)
    plural, those = ("", "them") if several_inputs else ("s", "it")
    more = " from any network with random weights, and better than" if judgement.copies else ""
    how = {kind: _as_well(control, judgement.score) for kind, control in controls.items()}
    recently = "" if recent is None else f"{recent.named(0)} alone predict{plural} it {how[recent.kind]}"
    return {
        Objection.NOT_FOUND: f"was not found: the interval of a linear probe's score reaches {nothing}.",
        Objection.BARELY_READ: f"can hardly be read: a linear probe's score is above {nothing}, but it is not shown "
        f"to exceed it by {READABLE}.",
        Objection.CLOCK: f"can be read, but the step alone predicts it {how.get(CLOCK)}: nothing beyond a clock is "
        "shown.",
        Objection.RELABELLED: "can be read, but the values of other sequences at the same step can be read "
        f"{how.get(RELABELLED)}: it is not shown that the states hold the value of their own sequence.",
        Objection.LAST_INPUTS: f"can be read, but {recently}: no memory beyond {those} is shown.",
        Objection.RANDOM_SPREAD: "can be read, better than from networks with random weights. But these differ among "
        "each other as much, so it is not shown that training put it there.",
        Objection.RANDOM_WEIGHTS: f"can be read, but {how.get(RANDOM)} from networks with random weights: this is no "
        "evidence that training put it there.",
        Objection.NONE: f"can be read: better than{more} from the step, {near} or shuffled values.",
    }[judgement.objection]


def _as_well(control: Beside, score: float) -> str:
    """Return in words how an unbeaten control compares with the network, by the two numbers on the page."""
    gap = control.value - score
    return "better" if gap > MARGIN else "about as well" if gap >= -MARGIN else "not clearly worse"


def _networks(copies: int) -> str:
    return f"{several(copies, 'network')} with random weights"


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and pictures of one network and one concept; none says more than the controls allow.

    Args:
        answered: what `measure_drawn` measured.
        name: the concept.
    """
    subject, table = answered.subject, answered.table
    target = Target.of(subject, name)
    places = only(table, network=subject.network.name, metric="score")
    best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
    where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
    copies = len(set(only(table, role=RANDOM, metric="score")["network"]))
    ahead = where["layer"] if where["layer"] in reads_ahead(subject) else ""
    score, low = float(best["value"]), float(best["low"])
    judgement = judge(controls_beside(table, where, score), score, low, copies, ahead)
    headline = f"“{name}” {verdict(judgement)}"
    at = place(where["layer"], where["signal"])
    which = f"The best of {len(places)} places is {at}" if len(places) > 1 else f"It was read from {at}"
    beside = [f"{control.named(copies)} {said(control.value)}" for control in judgement.controls.values()]
    interval = between((low, float(best["high"])))
    measured = (
        f"{which}, held-out {figures.measure_of(target)} {said(score)} ({interval}); beside it, {listed(beside)}."
    )
    memories = one(table, metric="memories", **where)
    notes = {
        "verdict": headline,
        "short": _short(target.concept, figures.measure_of(target), judgement),
        "measured": measured,
        "answer": f"{headline} {measured}",
        "selectivity": selectivity(memories, judgement, categorical=target.concept.is_named),
        "unit": unit(table, categorical=target.concept.is_named),
        "setup": _setup(subject, target, len(only(table, metric="follows", **where))),
    }
    return Told(notes, partial(figures.draw, answered, target, (where["layer"], Signal(where["signal"]))))


def _short(concept: Known, measure: str, judgement: Judgement) -> str:
    """Return one sentence with the score and the best control."""
    best = max(judgement.controls.values(), key=lambda control: control.value)
    kept = "no control does as well" if judgement.objection is Objection.NONE else judgement.objection.value
    described = f" ({concept.description})" if concept.description else ""
    return (
        f"A probe reads “{concept.name}”{described} with {measure} {said(judgement.score)}; the best control, "
        f"{best.named(judgement.copies)}, has {said(best.value)}: {kept}."
    )


def controls_beside(table: pd.DataFrame, where: dict[str, str], score: float) -> dict[str, Beside]:
    """Return the score beside each control, by kind.

    Args:
        table: what `measure_drawn` measured.
        where: the columns of the best place, and of several networks the network's name.
        score: the score there.
    """
    rows = only(table, **where)
    alike = one(rows, metric="random_weights_below") <= one(rows, metric="random_weights_apart")
    above = only(rows, metric="above")
    return {
        str(kind): Beside(
            str(kind),
            score - float(value),
            float(low),
            kind == RANDOM and alike,
            int(steps) if np.isfinite(steps) else 1,
        )
        for kind, value, low, steps in zip(above["kind"], above["value"], above["low"], above["at"], strict=True)
    }


def _setup(subject: Subject, target: Target, units: int) -> str:
    known = target.concept
    scored = set(target.values.tolist())
    fit = f"categorical ({len(scored)} values)" if known.is_named else "a number"
    described = f" ({known.description})" if known.description else ""
    sequences = several(len(np.unique(target.sequence)), "sequence")
    rest = "" if target.left is None else " and before another rest"
    text = (
        f"We took “{known.name}”{described} as {fit} and fitted {target.fit.name} probes. We fitted and scored them "
        f"on {several(len(target.values), 'state')} of {sequences}, each after another prefix{rest} (the recorded "
        f"sequences have {sample_of(subject).distinct:,} distinct prefixes). No sequence was used both to fit and to "
        f"score. The network beats a control if the 95 % interval of the difference, over sequences, lies above "
        f"{MARGIN}. It beats networks with random weights only if also the ratio of unexplained variance (best "
        "control / network) is larger than the ratio between the worst and the best control of that kind."
    )
    if known.is_named:
        text += (
            " Balanced accuracy is the share of a value's states that the probe names right, averaged over the "
            "values. A rare value counts as much as the others, and naming one value for all scores 1 divided by the "
            "number of values. The claim about the recipe is about the difference to that."
        )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    if known.is_named and rare:
        text += (
            f" Left out: {several(len(rare), 'value')} with states in fewer than {LEAST_SEQUENCES} sequences "
            f"({listed(rare[:8])}{' and others' * (len(rare) > 8)})."
        )
    if units > MOST_FEATURES:
        text += (
            f" The probe read the {MOST_FEATURES} largest principal components of the {units:,} units, because a "
            "probe on all would take too long. It cannot see what the other components hold."
        )
    return text


def selectivity(memories: float, judgement: Judgement, *, categorical: bool) -> str:
    """Return the sentence on how well other memories of the inputs are read; empty if there are none.

    Args:
        memories: their mean R²; NaN if none was measured.
        judgement: of the concept.
        categorical: whether the concept's score is a balanced accuracy.
    """
    if not np.isfinite(memories):
        return ""
    which = (
        "those up to the state's step, which this layer may not have read" if judgement.ahead else "all inputs so far"
    )
    text = (
        f"Selectivity: from the same states a probe reads {MEMORIES} other memories of the inputs ({which}, summed "
        f"with random signs) with mean R² {said(memories)}"
    )
    if categorical:
        return (
            text + ". This is not on the scale of a balanced accuracy; it only says how much of all inputs is kept."
        )
    if judgement.score <= READABLE:
        meaning = "the concept is not kept, so the comparison means nothing"
    elif not judgement.controls[CLOCK].beaten:
        meaning = "the step alone predicts the concept, so the comparison means nothing"
    elif not all(control.beaten for control in judgement.controls.values()):
        meaning = "a control above does as well, so the comparison means nothing"
    elif judgement.score - memories > READABLE:
        meaning = "the concept is kept better than other memories"
    else:
        meaning = "the states keep other memories as well as the concept"
    return f"{text}, and the concept with {said(judgement.score)}: {meaning}."


def unit(table: pd.DataFrame, *, categorical: bool) -> str:
    """Return the sentence on the unit that follows the concept most.

    Args:
        table: what was measured.
        categorical: whether a unit is compared by its correlation ratio.
    """
    rows = only(table, metric="best_unit")
    random, shuffled = only(rows, role=RANDOM)["value"], only(rows, role="null")["value"]
    own = rows[~rows["role"].isin([RANDOM, "null"])]
    best = own.sort_values("value", ascending=False, kind="stable").iloc[0]
    measure = "correlation ratio" if categorical else "|r|"
    units = str(best["units"]).split()
    which = (
        f"unit {units[0]}"
        if len(units) == 1
        else f"units {listed(units)} (one selected on each half of the sequences)"
    )
    parts = [f"in the best network with random weights {said(float(random.max()))}"] if len(random) else []
    parts.append(f"for shuffled values {said(float(shuffled.max()))}")
    at = place(str(best["layer"]), str(best["signal"]))
    ends = (
        f"within steps, on sequences that did not select it, {measure} is {said(float(best['value']))}; "
        f"{listed(parts)}"
    )
    if not figures.unit_follows(table):
        return f"One unit: none is shown to follow it. For the best, {which} of {at}, {ends}."
    return (
        f"One unit: {which} of {at} follow{'s' * (len(units) == 1)} it most; {ends}. "
        "A unit that follows a concept need not be used by anything."
    )
