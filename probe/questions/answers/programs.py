"""Which program gives the network's answers? Rivals are compared on its sequences and at other lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from ...errors import ProbeError, several
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import listed
from ...methods.abstraction import programs as rivals
from ...methods.abstraction.programs import Drifting, Program
from ...plots.legends import legend_above
from ...plots.networks import draw_median_line
from ...plots.study_figures import medians_in_words
from ...plots.style import IN_INK, axes_or_new
from ...subjects.alphabet import affordable, around, at_lengths, is_exhaustive
from ...subjects.answers import answered_rows, answers, answers_by_length, takes_levels
from ...subjects.functions import answers_of, calling
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, INITIAL
from ..told import asked_around, figure_of, of_network

QUESTION = "programs"
#: What the picture shows.
CAPTION = (
    "The vertical line is the length of the study's sequences. If a program says a half, the answers on both sides "
    "count as equal."
)


def measure(
    subjects: Sequence[Subject],
    programs: Mapping[str, Program | Drifting] | None = None,
    *,
    lengths: Iterable[int] | None = None,
    most: int = rivals.MOST,
) -> pd.DataFrame:
    """Measure how often networks answer as programs do, length by length; `kind` is the program's name.

    Metrics by length (`at`): `agreement`, the share of answers within the concept's `Known.near` of the program's,
    with its interval where sequences were drawn; `distance`, the root of the mean squared difference of the expected
    answer and the program's. One value a network and program: `unseen_agreement`, the mean of `agreement` over the
    lengths that are neither the study's nor fitted on; `drift` of a fitted program.

    Args:
        subjects: what is measured: networks of one study, with a small alphabet and a concept that is a function.
        programs: name -> a function from one sequence (a tuple) to its answer, or a `Drifting` one that is fitted;
            None for those of the study.
        lengths: which lengths; None for those around the study's own.
        most: how many sequences of a length at most.

    Raises:
        ProbeError: no sequence can be asked, or a program returns other than numbers.

    Reference:
        Meloux et al. 2025 (several programs may fit the same behaviour); docs/science.md, "Theorem".
    """
    every, rows = as_subjects(subjects), list[dict[str, Any]]()
    programs = every[0].programs if programs is None else programs
    asked = at_lengths(every[0], around(every[0]) if lengths is None else lengths, most=most)
    x = {length: found.x for length, found in asked.items()}
    read = {length: rivals.as_tuples(batch) for length, batch in x.items()}
    said = {name: _said(name, program, read) for name, program in programs.items()}
    for subject in every:
        given, shown = answers_by_length(subject, x)
        for name, program in programs.items():
            used, own, unseen = {every[0].x.shape[1]}, said[name], []
            row = partial(measurement, QUESTION, network=subject.network, kind=name)
            if isinstance(program, Drifting):
                drift = program.drift(shown, own)
                used |= set(program.fitted_on)
                own = program.at(drift, own)
                rows.append(row("drift", value=drift))
            for length, found in asked.items():
                agreement = _agreement(given[length], own[length], found.exhaustive, subject.answered.near)
                rows.append(row("agreement", at=length, **agreement))
                distance = float(np.sqrt(((shown[length] - own[length]) ** 2).mean()))
                rows.append(row("distance", value=distance, at=length))
                unseen += [agreement["value"]] * (length not in used)
            if unseen:
                rows.append(row("unseen_agreement", value=float(np.mean(unseen))))
    return tabulate(rows)


def _agreement(given: np.ndarray, own: np.ndarray, exhaustive: bool, near: float) -> dict[str, Any]:
    """Return the share of answers that are a program's, with its interval where the sequences were drawn."""
    score = rivals.agreement(given, own, exhaustive=exhaustive, near=near)
    low, high = (None, None) if exhaustive else score.interval
    return {"value": score.share, "low": low, "high": high}


def measure_own(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how often networks answer as the study's programs do on the study's own sequences.

    Metrics by program (`kind`): `agreement`, the share of equal answers (numbers: within `Known.near`), with its
    interval unless the inputs are all sequences of their length; `right`, the share of the
    program's answers that are right.

    Raises:
        ProbeError: a program fails, returns no single answer, or a text where the concept is a number.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        concept, asked = subject.answered, answered_rows(subject)
        chosen, expected = answers(subject, asked) if subject.programs else (np.empty(0), np.empty(0))
        given = chosen if takes_levels(subject) else expected
        right = concept.values[asked, subject.lengths[asked] - 1]
        sequences = [rivals.as_tuples(subject.x[[place], : subject.lengths[place]])[0] for place in asked]
        near = 0.0 if concept.is_categorical else concept.near
        whole = is_exhaustive(subject) and len(asked) == len(subject.x)
        for name, program in subject.programs.items():
            codes = _codes(subject, name, answers_of(name, program, sequences))
            row = partial(measurement, QUESTION, network=subject.network, kind=name, n=len(asked))
            rows.append(row("agreement", **_agreement(given, codes, whole, near)))
            rows.append(row("right", value=rivals.agreement(right, codes, near=near).share))
    return tabulate(rows)


def _codes(subject: Subject, name: str, results: Sequence[Any]) -> np.ndarray:
    """Return a program's answers as values of the concept, NaN for what is none of its categories."""
    concept = subject.answered
    if not concept.is_categorical and any(isinstance(result, str) for result in results):
        raise ProbeError(
            f"The program {name!r} answers with texts and the concept {concept.name!r} is a number; return numbers."
        )
    return concept.codes_of(results)


def why_not(subject: Subject) -> str | None:
    """Return why the study's programs cannot be compared at other lengths, or None."""

    def said_around(subject: Subject) -> None:
        for found in at_lengths(subject, around(subject), most=affordable(subject, around(subject))).values():
            for name, program in subject.programs.items():
                _ = _said(name, program, {0: rivals.as_tuples(found.x)})

    reason = needs.programs(subject) or needs.numbers(subject) or needs.other_lengths(subject)
    return reason or needs.refusal(said_around)(subject) or None


def _said(
    name: str, program: Program | Drifting, read: Mapping[int, list[tuple]]
) -> dict[int, Float[np.ndarray, " row"]]:
    """Return what a program answers by length, one that drifts as if it did not."""
    plain = program.program if isinstance(program, Drifting) else program
    with calling(f"The program {name!r}", "At other lengths it must return one number for each sequence, too."):
        return {length: rivals.run_program(name, plain, batch) for length, batch in read.items()}


def measure_study(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Return what `measure_own` measures, and `measure` at the lengths around the study's where programs reach them.

    Raises:
        ProbeError: a program fails, or returns no answer.
    """
    every = as_subjects(subjects)
    tables = [measure_own(every)]
    if every and why_not(every[0]) is None:
        tables.append(measure(every, most=affordable(every[0], around(every[0]))))
    return pd.concat(tables, ignore_index=True)


def draw(frame: pd.DataFrame, *, reference: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw how often networks answer as each program does, by length: the median, its 95 % interval a band."""
    rows = only(frame, metric="agreement", role="trained")
    rows = rows[rows["at"].notna()]
    ax = axes_or_new(ax)
    for number, (name, own) in enumerate(rows.groupby("kind", sort=False)):
        draw_median_line(own, ax=ax, at="at", label=str(name), markersize=4.5, **IN_INK[number % len(IN_INK)].line())
    if reference is not None:
        ax.axvline(reference, color="black", linewidth=0.8, zorder=0)
    ax.set_xticks(sorted(rows["at"].astype(int).unique()))
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("length of the sequence")
    ax.set_ylabel("share of equal answers")
    legend_above(ax)
    return ax


def question(subject: Subject) -> Question:
    """Return the question, asked on the study's own sequences and at the lengths around them."""
    return Question(
        QUESTION,
        "Which program gives the same answers?",
        measure_study,
        (needs.programs, needs.right_answers),
        (*ANSWERING, INITIAL),
        draw=partial(draw, reference=subject.x.shape[1]) if why_not(subject) is None else None,
        tell=tell,
        version=2,
        caption=CAPTION,
    )


def tell(answered: Answered) -> Told:
    """Return which program agrees most, on the study's sequences and at other lengths, with a picture by length."""
    subject, reason = answered.subject, why_not(answered.subject)
    agreement = of_network(answered, "agreement")
    shares = agreement[agreement["at"].isna()].set_index("kind")["value"]
    text = f"Of {several(len(shares), 'rival program')}, {_best(shares)}."
    setup = f"We asked {several(len(answered_rows(subject)), 'sequence')} of the study."
    if not takes_levels(subject):
        setup += f" An answer within {subject.answered.near:g} counts as the same."
    if reason is not None:
        return Told({"answer": f"{text} Other lengths were not asked: {reason}.", "setup": setup})
    unseen = of_network(answered, "unseen_agreement").set_index("kind")["value"]
    text += f" At other lengths, {_best(unseen)}." if len(unseen) else ""
    picture = figure_of(
        answered,
        partial(draw, reference=subject.x.shape[1]),
        "agreement",
        title="How often the network answers as a program does",
        alt=medians_in_words(agreement[agreement["at"].notna()]),
        caption=CAPTION,
    )
    return Told({"answer": text, "setup": f"{setup} {asked_around(subject)}"}, picture)


def _best(shares: pd.Series) -> str:
    """Return which programs agree most; where several do, all of them."""
    ties = [f"“{name}”" for name in shares[shares == shares.max()].index]
    many = len(ties) > 1
    return f"{listed(ties)} agree{'s' * (not many)} with the network most often, on {shares.max():.1%} of the answers"
