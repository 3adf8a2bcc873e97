"""Which units does the answer need, and how few are enough? The others take another sequence's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...evidence.margins import MARGIN
from ...evidence.measurements import one, only
from ...evidence.words import largest, listed, said
from ...methods.causal.ablation import Resampling
from ...methods.probing.targets import LEAST_SEQUENCES
from ...methods.readouts import Answers
from ...subjects import ends
from ...subjects.answers import takes_levels
from ...subjects.subject import Subject
from .. import needs
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..readings import by_following
from ..rules import ANSWERING, FITTED, rule
from ..told import controls_of
from .patching import Value, draw_lines, table_of
from .shares import draw_ranked

#: Where not all units are ablated, so many are those that follow the concept most; the others are random.
FOLLOWING = 16
#: So many units are kept together.
KEPT = 4


def question(subject: Subject) -> Question:
    """Return the question, bounded: 4 draws, and up to 4 units are kept together."""
    return Question(
        "ablation",
        "Which units does the answer need, and how few are enough?",
        measure,
        (needs.machine, needs.better_than_a_guess),
        ANSWERING,
        rules=(
            rule(
                "no-unit-suffices",
                "No unit that was ablated suffices: alone, the best keeps less than half of what the network can do.",
                "best_single_unit_score",
                definition="(Accuracy of the best unit alone - that of none) / (own accuracy - that of none), the "
                "other units resampled after every step.",
                source="Chan et al. 2022",
                at_most=0.5,
            ),
        ),
        draw=draw,
        tell=tell,
        settings={"draws": ends.DRAWS, "keep": KEPT, "by_value": True},
        version=6,
        heading=by_rule(
            "No single unit is enough for the answers",
            "One unit alone is enough for half of what the network answers",
        ),
        caption="Right answers with a few units alone, each the one that adds most; medians over networks.",
    )


def measure(
    subjects: Sequence[Subject],
    *,
    draws: int = 32,
    keep: int | None = None,
    by_value: bool = False,
) -> pd.DataFrame:
    """Measure what is lost without a unit, and what is kept with a few alone.

    After every step the states of the ablated units (for an LSTM the pairs c_u, h_u) are those after another distinct
    prefix of as many steps, each as likely, drawn anew for each step; of several units, after the same prefix. For
    the accuracy see `accuracy_of`. A stack's units have their layer before their number (`units`). Of more than 24
    units 24 are ablated: the 16 that follow the concept most, and random ones.

    Metrics: `unit_drop`, own accuracy minus that without the unit; `unit_answer_change`, the mean absolute change of
    the expected answer; `costly_units`, how many drops exceed .05; `own_accuracy`, `none_kept_accuracy`. But for
    fitted heads also `kept_accuracy` of each unit alone; `best_kept_accuracy` of k units (`units` names them): the
    best for k = 1, and for each further one the unit that adds most to those before it, which need not be the best k;
    `best_single_unit_score` = (accuracy of the best unit alone - that of none) / (own accuracy - that of none), left
    out where that is at most .05.

    Args:
        draws: how many other prefixes each prefix is given; the search for the next unit uses an eighth of them.
        keep: how many units the search keeps at most; None for all.
        by_value: give each value of the right answer the same weight, see `accuracy_of`.

    Raises:
        ProbeError: no draw is asked for, or a network cannot be run from its states.

    Reference:
        Chan et al. 2022, Causal scrubbing; Lakretz et al. 2019, The emergence of number and syntax units, section 3
        (ablation of every unit); docs/science.md, claim 14.
    """
    return table_of("unit_ablation", subjects, partial(_values, draws=draws, keep=keep, by_value=by_value))


def accuracy_of(answers: Answers, right: np.ndarray, *, levels: bool = True, by_value: bool = False) -> float:
    """Return how right answers are: the share that is right, or 1 minus the error in deviations of the right answers.

    Args:
        answers: those of one sequence stand one after the other.
        right: the right answers, (sequence,).
        levels: whether answers take a few values, so that they can be right or wrong.
        by_value: whether each value of the right answer has the same weight, values that fewer than 8 sequences
            have together; of numbers that take many it has not.
    """
    wanted = torch.as_tensor(right).repeat_interleave(len(answers.chosen) // len(right))
    if not levels:
        return 1 - float((answers.expected - wanted).abs().double().mean()) / (float(np.std(right)) or 1.0)
    hits = torch.isclose(answers.chosen.double(), wanted).double()
    if not by_value:
        return float(hits.mean())
    _, value, counts = np.unique(right, return_inverse=True, return_counts=True)
    together = np.where(counts >= LEAST_SEQUENCES, np.arange(len(counts)), -1)[value]
    _, group, sizes = np.unique(together, return_inverse=True, return_counts=True)
    return float(hits.view(len(right), -1).mean(1) @ torch.as_tensor(1 / (len(sizes) * sizes[group])))


def _values(subject: Subject, draws: int, keep: int | None, *, by_value: bool) -> Iterator[Value]:
    end, levels = ends.ends_of(subject), takes_levels(subject)
    resampling = Resampling(end.machine, draws=draws, seed=subject.seed)
    every, clean = range(end.machine.dynamics.units), end.machine.clean.answers
    units = _units(subject, end)

    def score(answers: Answers) -> float:
        return accuracy_of(answers, end.values[:, -1], levels=levels, by_value=by_value)

    def without(gone: Sequence[int], count: int | None = None) -> Answers:
        return resampling.answers([column for unit in gone for column in end.machine.dynamics.unit(unit)], count)

    def only_with(kept: Sequence[int], count: int | None = None) -> float:
        return score(without([unit for unit in every if unit not in kept], count))

    def named(kept: Sequence[int]) -> dict[str, str]:
        return {"units": " ".join(map(end.name, kept))}

    own, none, costly = score(clean), score(without(every)), 0
    yield "own_accuracy", own, {}
    yield "none_kept_accuracy", none, {}
    for unit in units:
        answers = without([unit])
        drop, expected = own - score(answers), clean.expected.repeat_interleave(draws)
        costly += drop > MARGIN
        yield "unit_drop", drop, named([unit])
        yield "unit_answer_change", float((answers.expected - expected).abs().mean()), named([unit])
    yield "costly_units", float(costly), {}
    if subject.network.role != FITTED:
        alone = [only_with([unit]) for unit in units]
        yield from (("kept_accuracy", accuracy, named([unit])) for unit, accuracy in zip(units, alone, strict=True))
        kept = [units[int(np.argmax(alone))]]
        yield "best_kept_accuracy", max(alone), named(kept)
        if own - none > MARGIN:
            yield "best_single_unit_score", (max(alone) - none) / (own - none), named(kept)
        while len(kept) < (len(units) if keep is None else min(keep, len(units))):
            rest = [unit for unit in units if unit not in kept]
            added = [only_with([*kept, unit], max(1, draws // 8)) for unit in rest] if len(rest) > 1 else [0.0]
            kept = [*kept, rest[int(np.argmax(added))]]
            yield "best_kept_accuracy", own if len(kept) == len(every) else only_with(kept), named(kept)


def _units(subject: Subject, end: ends.Ends) -> list[int]:
    """Return which units are ablated."""
    units = end.machine.dynamics.units
    if units <= ends.UNITS:
        return list(range(units))
    first = (by_following(subject, end) or [])[:FOLLOWING]
    rest, rng = np.setdiff1d(np.arange(units), first), np.random.default_rng([subject.seed, 7])
    return [*first, *sorted(rng.choice(rest, ends.UNITS - len(first), replace=False).tolist())]


draw = partial(draw_ranked, metric="unit_drop", label="accuracy lost")


def draw_kept(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy with k units alone, each the one that adds most: medians over networks."""
    ax = draw_lines(kept_by_number(frame), at="kept", x="units kept", y="accuracy", ax=ax)
    ax.set_ylim(0, 1.05)
    return ax


def kept_by_number(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `best_kept_accuracy` with the number of units kept as the column `kept`, 0 for none."""
    rows = frame[frame["metric"].isin(["best_kept_accuracy", "none_kept_accuracy"])]
    rows = rows.assign(kept=[len(units.split()) for units in rows["units"]])
    return rows.sort_values(["network", "kept"], kind="stable")


def tell(answered: Answered) -> Told:
    """Say which unit one network needs most, and whether it or a few are enough."""
    subject, table = answered.subject, only(answered.table, network=answered.subject.network.name)
    end, levels = ends.ends_of(subject), takes_levels(subject)
    count = len(only(table, metric="unit_drop"))
    right = "the share of right answers" if levels else "1 minus the mean error in standard deviations"
    weight = " in which each value of the right answer has the same weight" * levels
    setup = (
        f"We ran {end.said}, and ablated {count} of {end.machine.dynamics.units} units, each alone: after every step "
        "its state is that after another beginning of a sequence, at the same distance from the end (resample "
        f"ablation, {ends.DRAWS} draws each). Then all other units are ablated, and the one that adds most is kept, "
        f"up to {KEPT}. The accuracy is {right}{weight}. Units are enough if they lose at most {MARGIN}, and at most "
        "half of what all units make."
    )
    return Told({"answer": words(table, controls_of(answered, "unit_drop")), "setup": setup})


def words(table: pd.DataFrame, controls: str = "") -> str:
    """Return the sentences on what the ablations of one network show."""
    own, none = (one(table, metric=metric) for metric in ("own_accuracy", "none_kept_accuracy"))
    if own - none <= MARGIN:
        return (
            f"With all units ablated the accuracy is {said(none)}, and without ablation {said(own)}: so the cost of "
            "a single unit means nothing."
        )
    drops = only(table, metric="unit_drop")
    most = largest(dict(zip(drops["units"], drops["value"], strict=True)))
    which = f"Units {listed(most)} cost" if len(most) > 1 else f"Unit {most[0]} costs"
    without = "one of them" if len(most) > 1 else "it"
    answer = (
        f"{which} most of the {len(drops)} that were ablated: without {without} the accuracy falls by "
        f"{said(drops['value'].max())}{controls}. {int((drops['value'] > MARGIN).sum())} of them cost more than "
        f"{MARGIN}."
    )
    kept = only(table, metric="best_kept_accuracy")
    enough = kept[kept["value"] >= own - min(MARGIN, (own - none) / 2)]
    last = enough.iloc[0] if len(enough) else kept.iloc[-1]
    units = str(last["units"]).split()
    alone = f"unit {units[0]} alone keeps" if len(units) == 1 else f"units {listed(units)} alone keep"
    verdict = "which is enough" if len(enough) else "which is not enough"
    return f"{answer} Of the {said(own)}, {alone} {said(float(last['value']))}, {verdict}."
