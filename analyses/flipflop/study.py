"""The flip-flop's studies, one a cell: what each network is asked, and where what was measured lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from analyses.flipflop import page
from analyses.flipflop.networks import CALLED, CELLS, SEARCH, STEPS, subjects
from analyses.flipflop.rules import RULES
from models.flipflop import stored
from probe import Finding, Study
from probe.errors import ProbeError, unknown
from probe.questions import Question
from probe.questions.answers import answers
from probe.questions.interventions import single_answers
from probe.questions.states import stable_answers
from probe.storage.files import write_atomically

FOLDER = Path(__file__).parent / "measured"
#: Raised by hand when the sequences, the bits or the answers are defined in another way.
VERSION = 1
#: An untrained network's own head is random, and is asked for its fixed points alone.
ANSWERING = ("trained", "fitted head")
QUESTIONS = (
    Question(
        "stable_answers",
        "Where does the state rest when no pulse comes?",
        stable_answers.measure,
        rules=RULES[1:3],
        settings=SEARCH,
        version=3,
        text="A fixed point is a state that does not change while no pulse comes. It is stable if the network "
        "returns to it from nearby, and a saddle if the state moves away along some directions. The axes of the "
        "picture are the directions along which the states hold the bits.",
    ),
    Question(
        "step_answers",
        "After every step, are all three answers right?",
        answers.measure_steps,
        roles=ANSWERING,
        rules=RULES[:1],
        text="An answer is wrong where its sign is not that of its channel's last pulse.",
    ),
    Question(
        "single_answers",
        "Does one direction of the state carry one bit?",
        single_answers.measure,
        roles=ANSWERING,
        rules=RULES[3:],
        settings={"steps": STEPS},
        text="After a step of one sequence we swap in another sequence's coordinate along one bit's direction, and "
        "go on. An answer unrelated to the bit would match half of the time.",
    ),
)


def of_cell(cell: str, names: Sequence[str] = ()) -> Study:
    """Return the study of a cell's committed networks, the judged ones with controls; of all questions, or some."""
    asked = [one for one in QUESTIONS if one.name in names or not names]
    judged, first = (stored.networks(cell, seeds) for seeds in (stored.SEEDS, stored.FIRST))
    made = [*subjects(judged), *subjects(first, judged=False)]
    return Study.of(made, questions=asked, family=len(RULES), version=VERSION)


#: By the name of the file of what was measured.
STUDIES: dict[str, Callable[[], Study]] = {cell: partial(of_cell, cell) for cell in CELLS}
#: What CI measures again each time.
PANEL = {cell: [f"flipflop-{cell}/seed-{stored.SEEDS[0]}"] for cell in CELLS}


def findings(names: Sequence[str] = ()) -> dict[str, Finding]:
    """Return what was found, by cell and question, such as `gru-step_answers`; errors are those of `each`."""
    return dict(each(names))


def names_of(names: Sequence[str]) -> list[str]:
    """Return the names of what `each` yields of some questions, or of all.

    Raises:
        ProbeError: there is no such question.
    """
    known = [one.name for one in QUESTIONS]
    for name in names:
        if name not in known:
            raise ProbeError(unknown("question", name, known))
    return [f"{cell}-{name}" for cell in CELLS for name in names or known]


def each(names: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Yield what was found, with its name, as soon as its pictures are drawn.

    Raises:
        ProbeError: there is no such question, or something was not measured on the networks that are here.
    """
    _ = names_of(names)
    found = {
        f"{cell}-{name}": replace(one, question=f"{cell}-{name}")
        for cell in CELLS
        for name, one in of_cell(cell, names).findings(FOLDER / f"{cell}.csv.xz").items()
    }
    yield from page.with_figures(found)


def write(folder: Path, out: Path) -> list[Path]:
    """Write the page of the findings in a folder, and return its path.

    Raises:
        ProbeError: a finding is missing or damaged, or the page cannot be written.
    """
    found = {
        one.name: {CALLED[cell]: Finding.read(folder / f"{cell}-{one.name}") for cell in CELLS} for one in QUESTIONS
    }
    shown = folder / "gru-stable_answers" / "figures" / "flows.png"
    return [write_atomically(out / page.PICTURE, shown.read_bytes()), page.build(found).write(out / "index.html")]
