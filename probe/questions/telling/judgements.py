"""What the controls allow to say of one network's probes: a typed judgement, and the sentence on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from ...errors import several
from ...evidence.words import listed, said
from ...methods.probing.scores import MARGIN, margin_beside
from ..states.linear_readout_drawn import AROUND, CLOCK, CONSTANT, OTHERS, RANDOM, RECENT, RELABELLED

#: A concept is called readable if the lower end of its score's interval is above 0 (or `CONSTANT`) by more than this.
READABLE = 0.05
#: Above such a control the margin is smaller, and what is left unexplained is said.
CEILING = 1 - 2 * MARGIN


class Objection(Enum):
    """What stands against the statement that training made a network hold a concept; the strongest is first."""

    NOT_FOUND = "the score may be that of knowing nothing"
    BARELY_READ = "the score is hardly above that of knowing nothing"
    CLOCK = "it is not read clearly better than the step alone predicts it"
    RELABELLED = "the values of other sequences at the same step are read as well"
    LAST_INPUTS = "it is not read clearly better than the last inputs alone predict it"
    OTHERS = "it is not read clearly better than what else the study declares predicts it"
    RANDOM_SPREAD = "networks with random weights differ among each other as much"
    RANDOM_MARGIN = "networks with random weights are worse, but not by the margin that we ask for"
    RANDOM_WEIGHTS = "the concept is read from networks with random weights as well"
    NONE = "no control does as well"


#: Those that networks with random weights decide.
_ABOUT_RANDOM = (
    Objection.RANDOM_SPREAD,
    Objection.RANDOM_MARGIN,
    Objection.RANDOM_WEIGHTS,
    Objection.NONE,
)


@dataclass(frozen=True)
class Beside:
    """The best place's score beside one control.

    Attributes:
        kind: the control.
        value: its score.
        low: the lower end of the interval of the network's score minus the control's.
        alike: whether the controls differ among each other as much as the best of them differs from the network.
        steps: how many inputs a probe on the last inputs reads.
        concepts: which other concepts the control knows.
    """

    kind: str
    value: float
    low: float
    alike: bool = False
    steps: int = 1
    concepts: tuple[str, ...] = ()

    @property
    def beaten(self) -> bool:
        """Whether the network beats the control."""
        return self.far and not self.alike

    @property
    def far(self) -> bool:
        """Whether the interval lies above the margin."""
        return self.low > margin_beside(self.value)

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
            OTHERS: f"{listed([f'“{name}”' for name in self.concepts])} alone",
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
        near: whether the verdict beside random weights hangs on one of them.
    """

    objection: Objection
    score: float
    controls: Mapping[str, Beside]
    copies: int
    ahead: str = ""
    near: bool = False

    @property
    def is_near(self) -> bool:
        """Whether networks with random weights decide the judgement, and others may decide otherwise."""
        return self.near and self.objection in _ABOUT_RANDOM

    @property
    def left(self) -> str:
        """What the network and the best control leave unexplained; empty where no control is near the ceiling."""
        best = max((control.value for control in self.controls.values()), default=0.0)
        if best <= CEILING:
            return ""
        left = [f"{max(1 - score, 0.0):.3f}" for score in (self.score, best)]
        margin = margin_beside(best)
        asked = f"so near the ceiling the network must be better by {margin:.3f}"
        if 1 - best <= margin:
            asked = f"nothing can be better by the {margin:.3f} that we ask for so near the ceiling"
        return f" Unexplained are {left[0]} of the network and {left[1]} of the best control: {asked}."

    @property
    def deciding(self) -> Beside | None:
        """The control that the objection is about; None where it is about the score, or about all of them."""
        kinds = {Objection.CLOCK: CLOCK, Objection.RELABELLED: RELABELLED, Objection.OTHERS: OTHERS}
        if self.objection is Objection.LAST_INPUTS:
            return self.recent
        about_random = self.objection in _ABOUT_RANDOM and self.objection is not Objection.NONE
        return self.controls.get(RANDOM if about_random else kinds.get(self.objection, ""))

    @property
    def recent(self) -> Beside | None:
        """The control that knows the last inputs, or those around the state."""
        return self.controls.get(RECENT) or self.controls.get(AROUND)

    @property
    def random_is_better(self) -> bool:
        """Whether networks with random weights score higher, and the objection is another one."""
        random = self.controls.get(RANDOM)
        return random is not None and self.objection not in _ABOUT_RANDOM and random.value - self.score > MARGIN


def judge(
    controls: Mapping[str, Beside], score: float, low: float, copies: int, ahead: str = "", *, near: bool = False
) -> Judgement:
    """Return the strongest objection to a score.

    A concept that cannot be read at all comes first, then one that the step explains, or the last inputs where they
    explain it better. Relabelled values keep the
    step, so they add an objection only if the step alone scores less.

    Args:
        controls: the best score beside each control, by kind.
        score: the best score.
        low: the lower end of its interval.
        copies: how many networks with random weights there are.
        ahead: the layer of the best place if it has seen later inputs.
        near: whether the verdict beside random weights hangs on one of them.
    """
    return Judgement(next(_objections(controls, low)), score, controls, copies, ahead, near)


def _objections(controls: Mapping[str, Beside], low: float) -> Iterator[Objection]:
    unbeaten = {kind for kind, control in controls.items() if not control.beaten}
    above = controls[CONSTANT].low if CONSTANT in controls else low
    # Rounded as the page shows it: a lower end of 0.00 is not called above 0.
    if round(above, 2) <= 0:
        yield Objection.NOT_FOUND
    if above <= READABLE:
        yield Objection.BARELY_READ
    recent = [controls[kind].value for kind in unbeaten & {RECENT, AROUND}]
    if CLOCK in unbeaten and recent and max(recent) - controls[CLOCK].value > MARGIN:
        yield Objection.LAST_INPUTS
    if CLOCK in unbeaten:
        yield Objection.CLOCK
    if RELABELLED in unbeaten:
        yield Objection.RELABELLED
    if unbeaten & {RECENT, AROUND}:
        yield Objection.LAST_INPUTS
    if OTHERS in unbeaten:
        yield Objection.OTHERS
    if RANDOM in unbeaten:
        better = Objection.RANDOM_MARGIN if controls[RANDOM].low > 0 else Objection.RANDOM_WEIGHTS
        yield Objection.RANDOM_SPREAD if controls[RANDOM].far else better
    yield Objection.NONE


def verdict(judgement: Judgement) -> str:
    """Return a judgement in words, to follow the concept's name."""
    text = _conclusion(judgement)
    if judgement.random_is_better:
        random = judgement.controls[RANDOM].value
        text += f" The best of {_networks(judgement.copies)} scores higher ({said(random)})."
    if judgement.is_near:
        text += (
            f" This is near the margin: beside another draw of {_networks(judgement.copies)} the verdict may be "
            "another."
        )
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
    others = controls.get(OTHERS, Beside(OTHERS, 0.0, 0.0))
    one_other = len(others.concepts) < 2
    recently = "" if recent is None else f"{recent.named(0)} alone predict{plural} it {how[recent.kind]}"
    return {
        Objection.NOT_FOUND: f"was not found: the interval of a linear probe's score reaches {nothing}.",
        Objection.BARELY_READ: f"can hardly be read: a linear probe's score is above {nothing}, but it is not shown "
        f"to exceed it by {READABLE}.",
        Objection.CLOCK: f"can be read, but the step alone predicts it {how.get(CLOCK)}: nothing beyond "
        "what the step tells is shown.",
        Objection.RELABELLED: "can be read, but the values of other sequences at the same step can be read "
        f"{how.get(RELABELLED)}: it is not shown that the states hold the value of their own sequence.",
        Objection.LAST_INPUTS: f"can be read, but {recently}: no memory beyond {those} is shown.",
        Objection.OTHERS: f"can be read, but {others.named(0)} predict{'s' * one_other} it {how.get(OTHERS)}: "
        f"nothing beyond {'that' if one_other else 'them'} is shown.",
        Objection.RANDOM_SPREAD: "can be read, better than from networks with random weights. But these differ among "
        "each other as much, so it is not shown that training put it there.",
        Objection.RANDOM_MARGIN: "can be read, better than from networks with random weights, but not by the margin "
        "that we ask for: this is no evidence that training put it there.",
        Objection.RANDOM_WEIGHTS: f"can be read, but {how.get(RANDOM)} from networks with random weights: this is no "
        "evidence that training put it there.",
        Objection.NONE: f"can be read: better than{more} from the step, {near} or shuffled values.",
    }[judgement.objection]


def _as_well(control: Beside, score: float) -> str:
    """Return in words how an unbeaten control compares with the network, by the two numbers on the page."""
    gap = control.value - score
    if gap > margin_beside(score):
        return "better"
    if gap >= -MARGIN:
        return "nearly as well" if control.low > 0 else "about as well"
    return "worse, but not surely by the margin" if control.low > 0 else "not clearly worse"


def _networks(copies: int) -> str:
    return f"{several(copies, 'network')} with random weights"
