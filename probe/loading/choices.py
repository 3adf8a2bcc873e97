"""The arguments of `probe.load` that decide what a file leaves open; one that decides nothing is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProbeError, unknown
from ..recurrent.cells.nonlinearities import check_activation

RESETS = ("before", "after")
MERGES = ("concat", "sum", "mul", "ave")
#: The words of an order of gates, by how many gates there are.
LETTERS = {4: "ifgo", 3: "rzn"}
#: What a survey goes on with where a choice was not made, so that it finds the others too.
_STAND_INS = {
    "gate_order": None,
    "forget_bias": 0.0,
    "gate_activation": "sigmoid",
    "activation": "tanh",
    "reset": "after",
}


@dataclass(frozen=True)
class Open:
    """A choice that a file leaves open.

    Attributes:
        argument: of `probe.load`, that decides it.
        layer: which it is about.
        why: the file does not decide it, a clause.
        usual: answers, as code with a word on each.
    """

    argument: str
    layer: str
    why: str
    usual: str

    @property
    def option(self) -> str:
        """What decides it at the command line."""
        return "--" + self.argument.replace("_", "-")

    def __str__(self) -> str:
        return f"{self.layer}: {self.why}. Say which with {self.argument}=; usual are {self.usual}."


@dataclass
class Choices:
    """The caller's choices.

    Attributes:
        given: by the name of the argument, None where it was not given.
        renamed: what arrays are called in the file, by the names that the caller gave them.
        survey: whether choices that were not made are noted in `open` instead of demanded; what is loaded then is not
            the network, and only its names and sizes may be told.
        open: what a survey found open.
        taken: the names that decided something.
        agreed: the names of those with which a file agreed that says it itself.
        denied: of those with which it did not, the message.
        chosen: what they decided, as sentences for `Source.chosen`.
        assumed: what was taken for granted, for `Source.assumed`.
    """

    given: Mapping[str, Any]
    renamed: Mapping[str, str] = field(default_factory=dict)
    survey: bool = False
    open: list[Open] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    agreed: set[str] = field(default_factory=set)
    denied: dict[str, str] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise ProbeError where a choice is none that exists."""
        for name, value in self.given.items():
            kinds = (int, float) if name == "forget_bias" else (str,)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                wanted = "a number, such as 1.0" if name == "forget_bias" else "a word, see probe.load"
                raise ProbeError(f"{name}={value!r} is a {type(value).__name__}; it must be {wanted}.")
        for name in ("gate_activation", "activation"):
            if self.given.get(name) is not None:
                check_activation(name, self.given[name])
        if self.given.get("reset") not in (None, *RESETS):
            raise ProbeError(unknown("reset", self.given["reset"], RESETS))
        bias = self.given.get("forget_bias")
        if bias is not None and not abs(bias) < 1e6:
            raise ProbeError(f"forget_bias={bias!r} must be a number, such as 1.0 or 0.0.")

    def get(self, argument: str, where: str) -> Any:
        """Return a choice or None, and note that it decided something about a layer."""
        value = self.given.get(argument)
        if value is not None:
            self.taken.add(argument)
            self.note(self.chosen, f"{argument}={value!r} for {where}")
        return value

    def need(self, argument: str, where: str, why: str, usual: str) -> Any:
        """Return a choice that must be made.

        Args:
            argument: its name.
            where: the layer.
            why: why the file does not decide it, a clause.
            usual: the usual answers, as code with a word on each.

        Raises:
            ProbeError: it was not made.
        """
        value = self.get(argument, where)
        if value is not None:
            return value
        open_choice = Open(argument, where, why, usual)
        if not self.survey:
            raise ProbeError(str(open_choice))
        if open_choice not in self.open:
            self.open.append(open_choice)
        return _STAND_INS[argument]

    def confirm(self, argument: str, where: str, told: Any) -> None:
        """Compare a choice, where one was made, with what the file itself says of a layer."""
        value = self.given.get(argument)
        if value is not None and value == told:
            self.agreed.add(argument)
        elif value is not None:
            self.denied.setdefault(
                argument,
                f"{where}: the file itself says {argument}={told!r}, and {value!r} was given. Leave {argument}= "
                "out; with another value this would be another network.",
            )

    def assume(self, sentence: str) -> None:
        """Note what is taken for granted."""
        self.note(self.assumed, sentence)

    def check_all_taken(self, what: str) -> None:
        """Raise ProbeError where a choice was given that contradicts a file, or decides nothing in it."""
        for name, value in self.given.items():
            # One that some layer needed may say otherwise than the file does of the layers that do not need it.
            if value is None or name in self.taken:
                continue
            if name in self.denied:
                raise ProbeError(self.denied[name])
            if name not in self.agreed:
                raise ProbeError(
                    f"{name}={value!r} decides nothing in {what}: either the file says it itself, or has no layer "
                    f"that it could be about. Leave {name}= out."
                )

    @staticmethod
    def note(notes: list[str], sentence: str) -> None:
        """Add a sentence once."""
        if sentence not in notes:
            notes.append(sentence)


def order_of(text: str, gates: int) -> tuple[int, ...]:
    """Return at which place of a file's order each gate of torch's order stands.

    Args:
        text: the file's order, such as `i o f g`; a candidate may be c, j or g, an update gate u or z, n may be h or
            c.
        gates: 4 or 3.

    Raises:
        ProbeError: it names other gates, or one twice.
    """
    same = {"c": "g", "j": "g"} if gates == 4 else {"u": "z", "h": "n", "c": "n"}
    letters = [same.get(letter, letter) for letter in text.lower().split()]
    if sorted(letters) != sorted(LETTERS[gates]):
        wanted = " ".join(LETTERS[gates])
        raise ProbeError(
            f"gate_order={text!r} must name the {gates} gates {wanted} once each, with spaces, such as {wanted!r}."
        )
    return tuple(letters.index(letter) for letter in LETTERS[gates])
