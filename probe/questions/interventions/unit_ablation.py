"""Which units does the answer need, and how few are enough? The others take another sequence's values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.ablation import Resampling
from ...methods.probing.targets import LEAST_SEQUENCES
from ...methods.readouts import Answers
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...subjects.computed import ends
from ...subjects.computed.answers import takes_levels
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Question
from ..rules import ANSWERING, FITTED, rule
from ..states.targets import following
from ..telling.unit_ablation_words import COSTLY, DRAWN, tell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "unit_ablation"
#: How many of the draws the search for units that suffice uses; what it finds is then measured with all of them.
SEARCH_DRAWS = 4
#: Where not all units are ablated, so many are those that follow the concept most; the others are random.
FOLLOWING = 16
#: So many units are kept together; all ablations of a study take about so many times those of single units.
KEPT, TIMES = 4, 4


def measure(
    subjects: Sequence[Subject],
    *,
    draws: int = 32,
    search_draws: int = SEARCH_DRAWS,
    most: int | None = None,
    keep: int | None = None,
    by_value: bool = False,
    alone: Collection[str] | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Measure what is lost without a unit, and what is kept with a few alone.

    After every step the states of the ablated units (for an LSTM the pairs c_u, h_u) are those after another distinct
    prefix of as many steps, each as likely, drawn anew for each step; of several units, after the same prefix. Of
    answers that take few values the accuracy is the share that is right, of other numbers see `Score`. A stack's
    units have their layer before their number (`units`).
    Metrics: `unit_drop`, own accuracy minus that without the unit; `unit_answer_change`, the mean absolute change of
    the expected answer; `costly_units`, how many drops exceed .05; `kept_accuracy` of each unit alone;
    `best_kept_accuracy` of k units (`units` names them): the best for k = 1, and for each further one the unit that
    adds most to those before it, which need not be the best k; `best_single_unit_score` = (accuracy of the best unit
    alone - that of none) / (own accuracy - that of none), left out where that is at most .05; `own_accuracy`,
    `none_kept_accuracy`; `answers_moved`, the share of answers that change without all units, or how far they move
    in deviations. Where not all units are ablated, `follows` says how closely each follows the concept within steps,
    and random ones have the `kind` drawn.

    Args:
        subjects: what is measured.
        draws: how many other prefixes each prefix is given.
        search_draws: how many of them the search for the next unit uses.
        most: how many units are ablated at most: those that follow the concept most, and random ones.
        keep: how many units the search keeps at most; None for all.
        by_value: give each value of the right answer the same weight, see `Score`.
        alone: the roles of the networks whose units are kept alone, too; None for all.
        seed: of the drawing; None for the subject's.

    Raises:
        ProbeError: no draw is asked for, or a network cannot be run from its states.

    Reference:
        Chan et al. 2022, Causal scrubbing; Lakretz et al. 2019, The emergence of number and syntax units, section 3
        (ablation of every unit); docs/science.md, claim 14.
    """
    if not 1 <= search_draws <= draws:
        raise ProbeError(f"search_draws={search_draws} must be from 1 to draws={draws}.")
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        end = ends.ends_of(subject)
        resampling = Resampling(end.machine, draws=draws, seed=subject.seed if seed is None else seed)
        ablation = _Ablation(resampling, Score(end.values[:, -1], levels=takes_levels(subject), by_value=by_value))
        units, drawn, how = _units(subject, end, most)
        found = [*_lost(ablation, units)]
        found += _kept(ablation, units, keep, search_draws) if alone is None or subject.network.role in alone else ()
        found += [("follows", value, [unit]) for unit, value in how.items()]
        for name, value, which in found:
            place: dict[str, Any] = {"layer": subject.layer, "units": " ".join(map(end.name, which))}
            kind = DRAWN if name == "unit_drop" and drawn.intersection(which) else ""
            rows.append(measurement(QUESTION, name, subject.network, value, kind=kind, **place))
    return tabulate(rows)


@dataclass(frozen=True, eq=False)
class Score:
    """How right answers are: the share that is right, or 1 minus the error in deviations of the right answers.

    Attributes:
        right: the right answers, (sequence,).
        levels: whether answers take a few values, so that they can be right or wrong.
        by_value: whether each value of the right answer has the same weight, values that fewer than 8 sequences
            have together; of numbers that take many it has not.
    """

    right: np.ndarray
    levels: bool = True
    by_value: bool = False

    @cached_property
    def weights(self) -> np.ndarray | None:
        """The weight of each sequence, (sequence,), which add up to 1; None where all are the same."""
        if not (self.levels and self.by_value):
            return None
        _, value, counts = np.unique(self.right, return_inverse=True, return_counts=True)
        together = np.where(counts >= LEAST_SEQUENCES, np.arange(len(counts)), -1)[value]
        _, group, sizes = np.unique(together, return_inverse=True, return_counts=True)
        return 1 / (len(sizes) * sizes[group])

    def _mean(self, values: Tensor) -> float:
        """Return the mean of numbers; those of one sequence stand one after the other."""
        if self.weights is None:
            return float(values.double().mean())
        return float(values.double().view(len(self.right), -1).mean(1) @ torch.as_tensor(self.weights))

    @property
    def _spread(self) -> float:
        return float(np.std(self.right)) or 1.0

    def of(self, answers: Answers) -> float:
        """Return the accuracy of answers; those of one sequence stand one after the other."""
        right = torch.as_tensor(self.right).repeat_interleave(len(answers.chosen) // len(self.right))
        if self.levels:
            return self._mean(torch.isclose(answers.chosen.double(), right))
        return 1 - self._mean((answers.expected - right).abs()) / self._spread

    def moved(self, answers: Answers, clean: Answers) -> float:
        """Return the share of answers that differ from the clean run's, or how far they moved, in deviations."""
        count = len(answers.chosen) // len(self.right)
        if self.levels:
            chosen = clean.chosen.double().repeat_interleave(count)
            return self._mean(~torch.isclose(answers.chosen.double(), chosen))
        return self._mean((answers.expected - clean.expected.repeat_interleave(count)).abs()) / self._spread


#: Metric, value, and which units.
_Found = tuple[str, float, Sequence[int]]


@dataclass(frozen=True, eq=False)
class _Ablation:
    """Ablations of units, and how right the answers are."""

    resampling: Resampling
    score: Score

    @property
    def units(self) -> range:
        return range(self.resampling.machine.dynamics.units)

    @property
    def clean(self) -> Answers:
        return self.resampling.machine.clean.answers

    def answers(self, units: Sequence[int], draws: int | None = None) -> Answers:
        """Return the answers without some units."""
        unit = self.resampling.machine.dynamics.unit
        return self.resampling.answers([column for one in units for column in unit(one)], draws)

    @cached_property
    def own(self) -> float:
        """The accuracy of the network itself."""
        return self.score.of(self.clean)

    def change(self, answers: Answers) -> float:
        """Return the mean absolute change of the expected answer."""
        count = len(answers.expected) // len(self.clean.expected)
        return float((answers.expected - self.clean.expected.repeat_interleave(count)).abs().mean())

    def only(self, units: Sequence[int], draws: int | None = None) -> float:
        """Return the accuracy with some units alone."""
        return self.score.of(self.answers([unit for unit in self.units if unit not in units], draws))


def _units(subject: Subject, end: ends.Ends, most: int | None) -> tuple[list[int], set[int], dict[int, float]]:
    """Return which units are ablated, which of them are random ones, and how closely each follows the concept."""
    units = end.machine.dynamics.units
    if most is None or units <= most:
        return list(range(units)), set(), {}
    how = following(subject, end)
    first = [] if how is None else [int(unit) for unit in np.argsort(-how, kind="stable")[: min(FOLLOWING, most)]]
    rest = np.setdiff1d(np.arange(units), first)
    rng = np.random.default_rng([subject.seed, 7])
    drawn = sorted(int(unit) for unit in rng.choice(rest, most - len(first), replace=False))
    picked = [*first, *drawn]
    return picked, set(drawn), {} if how is None else {unit: float(how[unit]) for unit in picked}


def _lost(ablation: _Ablation, units: Sequence[int]) -> Iterator[_Found]:
    """Yield what is lost without all units, and without each."""
    without_all = ablation.answers(ablation.units)
    own, costly = ablation.own, 0
    yield "own_accuracy", own, []
    yield "none_kept_accuracy", ablation.score.of(without_all), []
    yield "answers_moved", ablation.score.moved(without_all, ablation.clean), []
    for unit in units:
        answers = ablation.answers([unit])
        drop = own - ablation.score.of(answers)
        costly += drop > COSTLY
        yield "unit_drop", drop, [unit]
        yield "unit_answer_change", ablation.change(answers), [unit]
    yield "costly_units", float(costly), []


def _kept(ablation: _Ablation, units: Sequence[int], keep: int | None, search_draws: int) -> Iterator[_Found]:
    """Yield what is kept with each unit alone, and with a few, each the one that adds most to those before it."""
    own, none = ablation.own, ablation.score.of(ablation.answers(ablation.units))
    alone = [ablation.only([unit]) for unit in units]
    yield from (("kept_accuracy", accuracy, [unit]) for unit, accuracy in zip(units, alone, strict=True))
    best = units[int(np.argmax(alone))]
    yield "best_kept_accuracy", max(alone), [best]
    if own - none > COSTLY:
        yield "best_single_unit_score", (max(alone) - none) / (own - none), [best]
    kept = [best]
    while len(kept) < (len(units) if keep is None else min(keep, len(units))):
        rest = [unit for unit in units if unit not in kept]
        added = [ablation.only([*kept, unit], search_draws) for unit in rest] if len(rest) > 1 else [0.0]
        kept = [*kept, rest[int(np.argmax(added))]]
        yield "best_kept_accuracy", own if len(kept) == len(ablation.units) else ablation.only(kept), kept


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy with k units alone, each the one that adds most: medians over networks; a line a planted one.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no kept accuracy.
    """
    rows = kept_by_number(frame)
    if rows.empty:
        raise ProbeError("The table has no best_kept_accuracy; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at="kept")
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("units kept")
    ax.set_ylabel("accuracy")
    return ax


def kept_by_number(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `best_kept_accuracy` with the number of units kept as the column `kept`, 0 for none.

    Args:
        frame: what `measure` returned.
    """
    rows = frame[frame["metric"].isin(["best_kept_accuracy", "none_kept_accuracy"])]
    return rows.assign(kept=[len(units.split()) for units in rows["units"]]).sort_values(
        ["network", "kept"], kind="stable"
    )


def _affordable(subject: Subject) -> bool:
    """Return whether all ablations of a network and its control, searches too, take no more than the budget."""
    if needs.machine(subject) is not None:
        return False
    end = ends.ends_of(subject)
    one = ends.cost(end.stack) * end.steps * len(end.rows) * ends.DRAWS
    return TIMES * one * min(end.machine.dynamics.units, ends.UNITS) <= ends.BUDGET


def question(subject: Subject) -> Question:
    """Return the question, bounded: 24 units at most, 4 draws, and the units of controls are not kept alone.

    Up to 4 units are kept together, where all of this takes no more than the budget; otherwise only each alone.

    Args:
        subject: one of the networks.
    """
    return Question(
        "ablation",
        "Which units does the answer need, and how few are enough?",
        measure,
        (needs.machine, needs.better_than_a_guess),
        ANSWERING,
        (
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
        draw,
        tell,
        {
            "draws": ends.DRAWS,
            "search_draws": 1,
            "most": ends.UNITS,
            "keep": KEPT if _affordable(subject) else 1,
            "by_value": True,
            "alone": tuple(role for role in ANSWERING if role != FITTED),
        },
        version=4,
    )
