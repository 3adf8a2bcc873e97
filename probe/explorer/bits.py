"""`ExplorerBits`: an explorer's sequence with its answer, small enough for the top of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import ProbeError
from .explorer import Explorer, file_of


@dataclass(frozen=True)
class ExplorerBits:
    """The sequence that an explorer of the page runs, to be clicked or typed, and what the network answers.

    Both have one state: what is changed here is changed there. Without scripts a sentence says the answer to the
    example. Figures of the page draw the sequence, too: of lines with the ids `run-K-frame` and `run-K-line`
    (matplotlib: `artist.set_gid`) the second becomes what network K, counted from 0, answers after each step. The
    first must be drawn before it and lead from step 1 and answer 0 to step 2 and answer 1.

    Args:
        whole: the explorer; the page has it in a section.
        target: where the link to it leads, such as `#explore`.
        right: the sentence that tells the answer of the explorer's program `truth=`, written for `{}`.
        right_of_one: the same where that answer is 1; empty takes `right`.

    Raises:
        ProbeError: the explorer runs no network, or reads numbers and no symbols.
    """

    whole: Explorer
    target: str
    right: str = "The right answer is {}."
    right_of_one: str = ""
    kind: ClassVar[str] = "bits"
    template: ClassVar[str] = file_of("templates/bits.html.j2")

    def __post_init__(self) -> None:
        if self.whole.data is None or not isinstance(self.whole.example, str):
            lacks = "runs no network" if self.whole.data is None else "reads rows of numbers"
            raise ProbeError(
                f"Bits show the symbols that an explorer's network reads, and this explorer {lacks}. Leave them "
                "out, or give the explorer an alphabet= and a network that a page runs."
            )

    @property
    def told(self) -> str:
        """The sentence on what is right of the example, or nothing."""
        sentence = self.right_of_one if self.whole.right == "1" and self.right_of_one else self.right
        return sentence.replace("{}", self.whole.right) if self.whole.right else ""
