"""What the controls allow to say of a probe: a typed judgement, by the interval of the paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ...evidence.words import listed, said
from ...methods.probing.scores import MARGIN, margin_beside
from ..states.linear_readout_drawn import CLOCK, CONSTANT, OTHERS, RANDOM, RELABELLED

#: A concept is read if the lower end of its score's interval is above that of knowing nothing by more than this.
READABLE = 0.05


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
    """The best place's score and that of one control.

    `low` is the lower end of the interval of the network's score minus the control's. `alike`: the controls differ
    among each other as much as the best of them from the network. It knows the other `concepts`, or is the best of
    so many `copies`.
    """

    kind: str
    value: float
    low: float
    alike: bool = False
    concepts: tuple[str, ...] = ()
    copies: int = 1

    @property
    def far(self) -> bool:
        """Whether the interval lies above the margin."""
        return self.low > margin_beside(self.value)

    @property
    def objection(self) -> Objection | None:
        """What the control objects; None if the network beats it, or if naming one value for all is not beaten."""
        if self.kind == CONSTANT or (self.far and not self.alike):
            return None
        if self.kind == RANDOM:
            return Objection.RANDOM_SPREAD if self.far else Objection.RANDOM_WEIGHTS
        return _OF_KIND.get(self.kind, Objection.LAST_INPUTS)

    @property
    def name(self) -> str:
        """The control in words."""
        words = {
            CONSTANT: "naming one value for all",
            OTHERS: listed([f"“{name}”" for name in self.concepts]),
            RELABELLED: "other sequences' values at the same step",
            RANDOM: f"the best of {self.copies} networks with random weights",
        }
        return words.get(self.kind, f"the {self.kind}")


@dataclass(frozen=True)
class Judgement:
    """The strongest objection, and the control that it is about; None for the score, or all controls."""

    objection: Objection
    control: ControlScore | None = None

    def __str__(self) -> str:
        control = self.control
        return f"{self.objection.value}{f' ({control.name}, {said(control.value)})' if control else ''}."


def judge(controls: Sequence[ControlScore], low: float) -> Judgement:
    """Return the strongest objection to a score.

    A concept that cannot be read at all comes first, then one that the step explains, or the inputs where they
    explain it better. Relabelled values keep the step, so they add an objection only if the step alone scores less.
    """
    above = next((control.low for control in controls if control.kind == CONSTANT), low)
    # Rounded as the page shows it: a lower end of 0.00 is not called above 0.
    if round(above, 2) <= 0:
        return Judgement(Objection.NOT_FOUND)
    if above <= READABLE:
        return Judgement(Objection.BARELY_READ)
    against = {objection: control for control in controls if (objection := control.objection) is not None}
    clock, inputs = against.get(Objection.CLOCK), against.get(Objection.LAST_INPUTS)
    if clock is not None and inputs is not None and inputs.value - clock.value > MARGIN:
        return Judgement(Objection.LAST_INPUTS, inputs)
    strongest = next(one for one in Objection if one in against or one is Objection.NONE)
    return Judgement(strongest, against.get(strongest))
