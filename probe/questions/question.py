"""`Question`: what is asked of networks, what it needs of them, and the rules that its measurements are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..errors import ProbeError
from ..evidence.claims import Claim, Rule
from ..evidence.findings import DataFigure
from ..evidence.measurements import COLUMNS, ROLES, tabulate
from ..evidence.words import listed
from ..subjects.functions import calling
from ..subjects.subject import Subject
from .needs import OF_ANSWERS, rest_on

#: What each row of a table says at least.
NAMED = ("metric", "role", "network", "value")
_NEED = "It is called with a subject, and must return the reason why it cannot be asked, a text, or None."
_MEASURE = (
    "It is called with a network and its controls, a list of subjects, and must return a table or its rows, each a "
    "probe.evidence.measurement."
)


class QuestionError(ProbeError):
    """Raised where the code of a question fails; no network lacks anything then, and the study stops."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What was measured of one network and its controls, for the words and pictures of its page.

    Attributes:
        name: of the question.
        table: the measurements.
        claims: the judged rules.
        subjects: the network, then its controls.
    """

    name: str
    table: pd.DataFrame
    claims: tuple[Claim, ...]
    subjects: tuple[Subject, ...]

    @property
    def subject(self) -> Subject:
        """The network."""
        return self.subjects[0]


@dataclass(frozen=True, eq=False)
class Told:
    """What a page says and shows of one network.

    Attributes:
        notes: sentences by name: the first of `answer` is the finding, and `setup` says how it was measured.
        draw: returns the pictures; None for the one that the question draws of any table.
    """

    notes: Mapping[str, str]
    draw: Callable[[], Sequence[DataFigure]] | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """A question that a study asks of each of its networks, and of the controls beside it.

    Attributes:
        name: short name: that of its folder and its section, such as `noise-margin`.
        title: the question in words.
        measure: from a network and its controls to the table of measurements, or to its rows, each a
            `probe.evidence.measurement`.
        needs: what a network must have: each returns the reason why a subject cannot be asked, or None; see
            `probe.questions.needs`.
        roles: the networks that are asked; an answer that is a random head's says nothing.
        rules: what would establish a statement, and what would refute it, fixed before the networks are measured.
        draw: from the table to a picture, an `Axes` or a `Figure`, or to `probe.evidence.DataFigure`s with
            their words; None for none.
        tell: what the page of one network says and shows; None says what the rules come to.
        settings: keyword arguments of `measure`. With another setting it is measured again.
        version: raised by hand when what the question computes is changed.
        together: whether `measure` takes all networks of a study at once, to compare them with each other.
        copies: how many networks with random weights are measured beside a network at most; None for all there are.
            A rule is judged against the best of a pair.
        heads: the same of networks that were not trained, with heads that are fitted to them in several ways.
        text: what a page says of the question below its answer: what is done, in words that no number decides.
        heading: what heads its finding on the first screens of a study's page, in a sentence without a full stop;
            empty where there is nothing to say so plainly. None for a question that only stands among the others.
        topic: under which topic of a study's page it stands; a question of your own needs none.
        caption: what the picture of `draw` shows, for who reads a page; `DataFigure`s have their own.
    """

    name: str
    title: str
    measure: Callable[..., Any]
    needs: tuple[Callable[[Subject], str | None], ...] = ()
    roles: tuple[str, ...] = ROLES
    rules: tuple[Rule, ...] = ()
    draw: Callable[[pd.DataFrame], Any] | None = None
    tell: Callable[[Answered], Told] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    together: bool = False
    copies: int | None = 1
    heads: int | None = 1
    text: str = ""
    heading: Callable[[Answered], str] | None = None
    topic: str = ""
    caption: str = "Each dot or line is a network, in the colour of its role."

    def __post_init__(self) -> None:
        name = self.name
        if name in ("", ".", "..") or name != name.strip() or {*"/\\\0"} & {*name}:
            raise ProbeError(
                f"A question is called {name!r}; its name is that of a folder: give a short one without / and \\, "
                "such as 'noise-margin'."
            )

    def why_not(self, subject: Subject) -> str | None:
        """Return the first reason why the question cannot be asked of a subject, or None."""
        if subject.network.role not in self.roles:
            return f"it is not asked of a network of the role {subject.network.role!r}"
        for need in self.needs:
            with calling(f"A need of the question {self.name!r}", _NEED, QuestionError):
                reason: Any = need(subject)
            if not isinstance(reason, (str, type(None))):
                raise QuestionError(f"A need of the question {self.name!r} returned {str(reason)[:60]}. {_NEED}")
            if reason is not None:
                return reason
        return None

    def _counts(self, one: Subject, network: Subject) -> bool:
        """Return whether a control answers as the question asks of the network: else it is no control of that."""
        if one is network or self.together:
            return True
        return all(need(one) is None for need in OF_ANSWERS if rest_on(self.needs, need))

    def ask(self, subjects: Sequence[Subject]) -> pd.DataFrame:
        """Measure a network and its controls, those among them that are asked.

        Raises:
            ProbeError: as `measure` says; or it raises something else, or returns no table of measurements.
        """
        asked = [one for one in subjects if one.network.role in self.roles and self._counts(one, subjects[0])]
        left_out = set[str]()
        for role, most in (("random weights", self.copies), ("fitted head", self.heads)):
            if most is not None and not self.together:
                # A network whose several answers are asked about is several subjects.
                names = list(dict.fromkeys(one.network.name for one in asked if one.network.role == role))
                left_out |= set(names[most:])
        what = f"The measure of the question {self.name!r}"
        with calling(what, _MEASURE, QuestionError):
            found = self.measure([one for one in asked if one.network.name not in left_out], **self.settings)
            if found is None:
                raise QuestionError(f"{what} returned None. {_MEASURE}")
            if list(getattr(found, "columns", ())) == list(COLUMNS):
                return found
            rows = found.to_dict("records") if hasattr(found, "columns") else list(found)
            missing = [name for name in NAMED if any(name not in row for row in rows)]
            if missing:
                raise QuestionError(f"{what} returned rows without {listed(missing)}. {_MEASURE}")
            return tabulate(rows)
