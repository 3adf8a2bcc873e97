"""Whether a network's answers say something: they are better than a guess, and its state moves them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch

from ..errors import ProbeError, several
from ..evidence.margins import MARGIN
from ..methods.causal.pairs import Pairs, all_pairs, whole
from ..subjects.answers import (
    answered_rows,
    answers,
    answers_at_steps,
    only_last,
    rows_at_steps,
    takes_levels,
    task_of,
)
from ..subjects.ends import ends_of, step_of
from ..subjects.pairs import LEAST, can_occur
from ..subjects.plans import affordable_pairs
from ..subjects.subject import Subject, per_subject

#: By chance alone a network passes for better than a guess in one of so many.
CHANCE = 1 / 40
#: The most pairs that are run at a step.
MOST = 512
#: A rule on the share of right answers that is kept asks for so much.
KEPT = 0.95


@per_subject
def guessing(subject: Subject) -> str | None:
    """Return why a network's answers are no better than a guess, or None.

    A guess gives the most frequent answer to every sequence, or the mean of numbers. Of the sequences that one of the
    two answers better than the other, the network must win more than a fair coin would (sign test), and of numbers
    its squared error must be smaller as well. A network that is never wrong is better however rare the others are.
    """
    rows = answered_rows(subject)
    given, expected = answers(subject, rows)
    right, sequences = subject.answered.values[rows, subject.lengths[rows] - 1], several(len(rows), "sequence")
    if not takes_levels(subject):
        own, guess = (expected - right) ** 2, (right.mean() - right) ** 2
        if own.mean() < guess.mean() and _wins(own < guess, guess < own):
            return None
        return f"its answers to {sequences} are not clearly nearer to “{subject.answered.name}” than its mean"
    return _no_better(subject, given[:, None], right[:, None], "on", sequences)


def mostly_one(subject: Subject) -> str | None:
    """Return why to keep most right answers says nothing, since one answer to everything keeps as many; or None."""
    rows = answered_rows(subject)
    given, _ = answers(subject, rows)
    right = subject.answered.values[rows, subject.lengths[rows] - 1]
    most, own = np.unique(right, return_counts=True)[1].max() / len(rows), np.isclose(given, right).mean()
    if most < KEPT * own:
        return None
    return (
        f"always giving the most frequent answer is right on {most:.1%} of {several(len(rows), 'sequence')}, and the "
        f"network on {own:.1%}: whatever keeps {KEPT:.0%} of its right answers may give one answer alone"
    )


@per_subject
def guessing_at_steps(subject: Subject) -> str | None:
    """Return why a network's answers after the steps of its readout are no better than a guess, or None.

    A guess gives the most frequent answer of each step. Of the sequences of which one of the two answers more steps
    right than the other, the network must win more than a fair coin would.
    """
    rows = rows_at_steps(subject)
    given, _ = answers_at_steps(subject, rows)
    right = np.where(np.isfinite(given), subject.answered.values[rows], np.nan)
    return _no_better(subject, given, right, "in", several(int(np.isfinite(right).sum()), "answer"))


def _no_better(subject: Subject, given: np.ndarray, right: np.ndarray, at: str, counted: str) -> str | None:
    """Return why answers, (sequence, step), are no better than the most frequent one of each step, or None."""
    own, guess = np.isclose(given, right), np.zeros(right.shape, dtype=bool)
    for step, values in enumerate(right.T):
        levels, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        guess[:, step] = values == (levels[counts.argmax()] if len(levels) else np.nan)
    ahead, asked = own.sum(1) - guess.sum(1), max(int(np.isfinite(right).sum()), 1)
    if _wins(ahead > 0, ahead < 0) or guess.sum() < own.sum() == asked:
        return None
    return (
        f"the network answers “{subject.answered.name}” right {at} {own.sum() / asked:.1%} of {counted}, not clearly "
        f"more often than always giving the most frequent answer ({guess.sum() / asked:.1%})"
    )


def _wins(ahead: np.ndarray, behind: np.ndarray) -> bool:
    from scipy.stats import binomtest

    count = int(ahead.sum() + behind.sum())
    return count > 0 and bool(binomtest(int(ahead.sum()), count, alternative="greater").pvalue < CHANCE)


def unmoved(subject: Subject, step: int | None = None) -> str | None:
    """Return why no part of the state after a step can be scored: the whole of it moves no answer; or None.

    None takes the study's step.
    """
    return _why_unmoved(subject, step_of(subject, step))


def unmoved_anywhere(subject: Subject) -> str | None:
    """Return why the answer does not come from the state at all, or None: at the study's step, or later."""
    last, step = ends_of(subject).steps - 1, step_of(subject, None)
    reason, left = _why_unmoved(subject, step), last - step
    while reason and left > 1:
        left //= 2
        if _why_unmoved(subject, last - left) is None:
            return None
    return reason


@per_subject
@torch.no_grad()
def _why_unmoved(subject: Subject, step: int) -> str | None:
    """Put whole states of other sequences in after a step, and return why they do not move the answers, or None.

    Where the right answer after that is known, it must become the answer more often than it was before. Else right
    answers must be lost.
    """
    end, task, pairs = ends_of(subject), task_of(subject), _pairs(subject, step)
    differ, clean = f"that differ in “{subject.answered.name}” {end.after(step)}", end.machine.clean.answers
    if not len(pairs):
        return f"no two sequences {differ}, or their spliced sequence cannot occur"
    after, own = end.machine.answers(whole(pairs), pairs.base, step), task.final(pairs.base)
    moved, before = after.expected - clean.expected[pairs.base], clean.chosen[pairs.base]
    target = None
    with suppress(ProbeError):
        target = None if only_last(subject) else task.target(pairs.base, pairs.source, step)
    if target is None:
        if takes_levels(subject):
            lost = torch.isclose(before.double(), own) & (after.chosen != before)
            share = float(lost.double().mean())
        else:
            share = float(moved.square().mean().sqrt() / max(float(own.std()), 1e-12))
    else:
        other = target != own
        if int(other.sum()) < min(LEAST, len(pairs)):
            stays = f"the right answer stays the base's in {1 - float(other.double().mean()):.0%} of the pairs"
            return f"{stays} {differ}, which leaves too few to score a state"
        if takes_levels(subject):
            right = [torch.isclose(chosen[other].double(), target[other]) for chosen in (after.chosen, before)]
            share = float(right[0].double().mean()) - float(right[1].double().mean())
        else:
            way = (target - own)[other]
            share = float(moved[other].double() @ way / (way @ way))
    if share > MARGIN:
        return None
    return (
        f"with the whole state of another sequence put in {end.after(step)} the answer hardly follows it "
        f"({share if share > 0 else 0:.0%}), and no part of it can be scored against that"
    )


def _pairs(subject: Subject, step: int) -> Pairs:
    """Return pairs that differ in the concept after a step, or, where it has no value there, at the end."""
    end, task = ends_of(subject), task_of(subject)
    most = affordable_pairs(subject, step, 1, most=8 * MOST)
    pairs = all_pairs(end.machine, step, most=most, seed=subject.seed)
    so_far = torch.as_tensor(end.values[:, step])
    # Where one of them is undefined, NaN is no more than 0.
    differ = (so_far[pairs.base] - so_far[pairs.source]).abs() > 0
    if not bool(differ.any()):
        differ = task.final(pairs.base) != task.final(pairs.source)
    rows = differ.nonzero().flatten()
    chosen = np.random.default_rng([subject.seed, 13]).permutation(len(rows))[:MOST]
    rows = rows[torch.as_tensor(np.sort(chosen))]
    base, source = pairs.base[rows], pairs.source[rows]
    possible = torch.as_tensor(can_occur(subject, end, base, source, step))
    return Pairs(end.machine, step, base[possible], source[possible], exhaustive=False)
