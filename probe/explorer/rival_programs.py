"""`ExplorerProgram`: a program as data (each symbol changes a number), which the page runs beside the networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProbeError, unknown

Number = int | float
#: What a symbol does to the number so far: the offset, or the pair (factor, offset).
Step = Number | Sequence[Number]


@dataclass(frozen=True)
class ExplorerProgram:
    """A program that the network may be thought to run, whose answer stands beside the network's.

    A number s begins at `start`; for each symbol that is read it becomes factor s + offset; the answer is s after the
    last symbol. It stands for a class by its place: class k agrees where |s - k| <= 0.5, as in
    `probe.methods.abstraction.programs.agreement`. `ExplorerProgram("ones", 0, {"0": 0, "1": 1})` counts ones, and
    `ExplorerProgram("parity", 0, {"0": 0, "1": (-1, 1)})` says whether there is an odd number of them.

    Args:
        name: what the reader calls it by.
        start: s before the first symbol.
        steps: for each symbol of the alphabet the offset, or the pair (factor, offset); without one the factor is 1.
            It is kept as pairs.
        role: what it does, in a few words.

    Raises:
        ProbeError: the name is empty, a symbol is no single character, or a number is missing or not finite.
    """

    name: str
    start: Number
    steps: Mapping[str, Step] = field(hash=False)
    role: str = ""
    _pairs: dict[str, tuple[float, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ProbeError("A program needs a name: it stands beside its answer.")
        if not self.steps:
            raise ProbeError(f"Program {self.name!r} has no steps; give what each symbol adds, such as {{'1': 1.0}}.")
        wrong = [symbol for symbol in self.steps if len(symbol) != 1]
        if wrong:
            raise ProbeError(f"Program {self.name!r} has steps for {wrong!r}; a symbol is one character.")
        object.__setattr__(self, "start", self._number("start", self.start))
        pairs = {symbol: self._pair(symbol, given) for symbol, given in self.steps.items()}
        object.__setattr__(self, "steps", dict(pairs))
        object.__setattr__(self, "_pairs", pairs)

    def __call__(self, sequence: Iterable[object]) -> float:
        """Return the answer to a sequence of any length.

        Args:
            sequence: symbols, such as a text; a whole number stands for the symbol that writes it, so that
                `probe.questions.answers.programs` can score a program over 0 and 1.

        Raises:
            ProbeError: the sequence has a symbol that the program does not read.
        """
        answer = self.start
        for step in sequence:
            symbol = step if isinstance(step, str) else str(step)
            if symbol not in self.steps:
                raise ProbeError(unknown(f"symbol of program {self.name!r}", symbol, self.steps))
            factor, offset = self._pairs[symbol]
            answer = factor * answer + offset
        return answer

    def check(self, alphabet: Iterable[str], network: str) -> None:
        """Raise where the program has not one step for each symbol that a network reads."""
        known = list(alphabet)
        missing, extra = [s for s in known if s not in self.steps], [s for s in self.steps if s not in known]
        if missing or extra:
            raise ProbeError(
                f"Program {self.name!r} has steps for {list(self.steps)!r}, and network {network!r} reads {known!r}. "
                "Give the program one step for each of these symbols and for no other."
            )

    def _pair(self, symbol: str, given: Step) -> tuple[float, float]:
        what = f"step {symbol!r}"
        if not isinstance(given, Sequence):
            return 1.0, self._number(what, given)
        if len(given) != 2:
            raise ProbeError(
                f"Program {self.name!r} has {what} = {given!r}; give the offset, or the pair (factor, offset)."
            )
        return self._number(what, given[0]), self._number(what, given[1])

    def _number(self, what: str, given: Number) -> float:
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
            raise ProbeError(f"Program {self.name!r} has {what} = {given!r}; it must be a finite number.")
        return float(given)


def merged(shared: Sequence[ExplorerProgram], own: Sequence[ExplorerProgram]) -> list[ExplorerProgram]:
    """Return the programs of one network: its own in the place of those of the same name, further ones at the end."""
    for listed in (shared, own):
        names = [program.name for program in listed]
        if len(set(names)) != len(names):
            raise ProbeError(f"Programs need different names; {names!r} were given.")
    return list(({program.name: program for program in shared} | {program.name: program for program in own}).values())


def described(program: ExplorerProgram) -> dict[str, Any]:
    """Return a program as the explorer's script reads it, ready for JSON."""
    return {"name": program.name, "role": program.role, "start": program.start, "steps": dict(program.steps)}
