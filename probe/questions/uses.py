"""Whether a network's answers say something: they are better than a guess, and its state moves them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ProbeError, several
from ..evidence.words import said
from ..methods.causal.pairs import Pairs, all_pairs, whole
from ..subjects.computed.answers import answered_rows, answers, answers_at_steps, rows_at_steps, takes_levels
from ..subjects.computed.ends import ends_of, step_of
from ..subjects.computed.plans import affordable_pairs
from ..subjects.computed.right_answers import only_last, task_of
from ..subjects.computed.splices import LEAST, can_occur
from ..subjects.subject import Subject, per_subject

#: By chance alone a network passes for better than a guess in one of so many.
CHANCE = 1 / 40
#: The most pairs that are run at a step, and the share of them in which another state must move the answer.
MOST, MOVED = 512, 0.05
#: A rule on the share of right answers that is kept asks for so much.
KEPT = 0.95


@per_subject
def guessing(subject: Subject) -> str | None:
    """Return why a network's answers are no better than a guess, or None.

    A guess gives the most frequent answer to every sequence, or the mean of numbers. Of the sequences that one of the
    two answers better than the other, the network must win more than a fair coin would (sign test), and of numbers
    its squared error must be smaller as well. A network that is never wrong is better however rare the others are.

    Raises:
        ProbeError: there is no readout, or it does not give one finite number a sequence.
    """
    rows = answered_rows(subject)
    given, expected = answers(subject, rows)
    right, name = subject.answered.values[rows, subject.lengths[rows] - 1], f"“{subject.answered.name}”"
    if not takes_levels(subject):
        own, guess = (expected - right) ** 2, (right.mean() - right) ** 2
        if own.mean() < guess.mean() and _wins(own < guess, guess < own):
            return None
        explained = 1 - own.mean() / guess.mean() if guess.any() else float("nan")
        return (
            f"the network's answers are not clearly nearer to {name} than its mean: they have R² {said(explained)} "
            f"({several(len(rows), 'sequence')}). What moves them says nothing about {name}"
        )
    values, counts = np.unique(right, return_counts=True)
    own, guess = np.isclose(given, right), right == values[counts.argmax()]
    if _wins(own & ~guess, guess & ~own) or bool(own.all() and not guess.all()):
        return None
    return (
        f"the network answers {name} right on {own.mean():.1%} of {several(len(rows), 'sequence')}, not clearly more "
        f"often than always giving the most frequent answer ({guess.mean():.1%}). What moves such answers, or keeps "
        f"them, says nothing about {name}"
    )


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

    Raises:
        ProbeError: there is no head, or a step of the readout does not exist in one of the sequences.
    """
    rows = rows_at_steps(subject)
    given, _ = answers_at_steps(subject, subject.x[rows], subject.lengths[rows])
    right = np.where(np.isfinite(given), subject.answered.values[rows], np.nan)
    own, guess = np.isclose(given, right), np.zeros(right.shape, dtype=bool)
    for step, values in enumerate(right.T):
        levels, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        guess[:, step] = values == (levels[counts.argmax()] if len(levels) else np.nan)
    ahead, asked = own.sum(1) - guess.sum(1), int(np.isfinite(right).sum())
    if _wins(ahead > 0, ahead < 0) or guess.sum() < own.sum() == asked:
        return None
    return (
        f"the network is right in {own.sum() / max(asked, 1):.1%} of {several(asked, 'answer')} to "
        f"“{subject.answered.name}”, not clearly more often than always giving the most frequent answer of the step "
        f"({guess.sum() / max(asked, 1):.1%})"
    )


def _wins(ahead: np.ndarray, behind: np.ndarray) -> bool:
    from scipy.stats import binomtest

    count = int(ahead.sum() + behind.sum())
    return count > 0 and bool(binomtest(int(ahead.sum()), count, alternative="greater").pvalue < CHANCE)


def unmoved(subject: Subject) -> str | None:
    """Return why no part of the state at the study's step can be scored: the whole of it moves no answer; or None.

    Raises:
        ProbeError: the network cannot be run from its states.
    """
    found = _put_in(subject, step_of(subject, None))
    return None if found.moves else found.said


def unmoved_anywhere(subject: Subject) -> str | None:
    """Return why the answer does not come from the state at all, or None: at the study's step, or later.

    Raises:
        ProbeError: the network cannot be run from its states.
    """
    steps = list(_from_step_on(subject))
    found = [_put_in(subject, step) for step in steps]
    return None if any(one.moves for one in found) else found[0].said


def _from_step_on(subject: Subject) -> Iterator[int]:
    """Yield the study's step, and steps ever nearer to the end, up to the last but one."""
    last, step = ends_of(subject).steps - 1, step_of(subject, None)
    left = last - step
    yield step
    while left > 1:
        left //= 2
        yield last - left


@dataclass(frozen=True)
class _Found:
    """What the whole state of another sequence does.

    Attributes:
        moves: whether it moves answers.
        said: why it does not, in words.
    """

    moves: bool
    said: str


@per_subject
def _known(subject: Subject) -> dict[int, _Found]:
    return {}


def _put_in(subject: Subject, step: int) -> _Found:
    known = _known(subject)
    if step not in known:
        known[step] = _measured(subject, step)
    return known[step]


@torch.no_grad()
def _measured(subject: Subject, step: int) -> _Found:
    """Put whole states of other sequences in after a step.

    Where the right answer after that is known, it must become the answer more often than it was before. Else right
    answers must be lost.
    """
    end, task, pairs = ends_of(subject), task_of(subject), _pairs(subject, step)
    where = end.after(step)
    name, clean = f"“{subject.answered.name}”", end.machine.clean.answers
    if not len(pairs):
        return _Found(False, f"no two sequences differ in {name} {where}, or their spliced sequence cannot occur")
    after, own = end.machine.answers(whole(pairs), pairs.base, step), task.final(pairs.base)
    moved = after.expected - clean.expected[pairs.base]
    target = None
    with suppress(ProbeError):
        target = None if only_last(subject) else task.target(pairs.base, pairs.source, step)
    if target is None:
        if takes_levels(subject):
            right = torch.isclose(clean.chosen[pairs.base].double(), own)
            share = float((right & (after.chosen != clean.chosen[pairs.base])).double().mean())
        else:
            share = float(moved.square().mean().sqrt() / max(float(own.std()), 1e-12))
        text = f"with the whole state of another sequence put in {where} its answers stay as they are"
        return _Found(share > MOVED, f"{text}, so that no part of the state can be scored against it")
    other = target != own
    if int(other.sum()) < min(LEAST, len(pairs)):
        stays = f"the right answer stays the base's in {1 - float(other.double().mean()):.0%} of the pairs"
        return _Found(False, f"{stays} that differ in {name} {where}, which leaves too few to score a state")
    if takes_levels(subject):
        right, before = (
            float(torch.isclose(one[other].double(), target[other]).double().mean())
            for one in (after.chosen, clean.chosen[pairs.base])
        )
        text = (
            f"with the whole state of another sequence put in {where} {right:.0%} of its answers are right for "
            f"the spliced sequence, and without it {before:.0%}"
        )
        moves = right - before > MOVED
    else:
        way = (target - own)[other]
        share = float(moved[other].double() @ way / (way @ way))
        text = (
            f"with the whole state of another sequence put in {where} the answer goes {said(share)} of the way to "
            "the right one of the spliced sequence"
        )
        moves = share > MOVED
    return _Found(moves, f"{text}: the answer does not follow this state, and no part of it can be scored against it")


def _pairs(subject: Subject, step: int) -> Pairs:
    """Return pairs that differ in the concept after a step, or, where it has no value there, at the end."""
    end, task = ends_of(subject), task_of(subject)
    most = affordable_pairs(subject, step, 1, most=8 * MOST)
    pairs = all_pairs(end.machine, step, most=most, seed=subject.seed)
    so_far = torch.as_tensor(end.values[:, step])
    differ = so_far[pairs.base] != so_far[pairs.source]
    defined = torch.isfinite(so_far)
    differ &= defined[pairs.base] & defined[pairs.source]
    if not bool(differ.any()):
        differ = task.final(pairs.base) != task.final(pairs.source)
    kept = differ.nonzero().flatten()
    drawn = np.random.default_rng([subject.seed, 13]).permutation(len(kept))[:MOST]
    kept = kept[torch.as_tensor(np.sort(drawn))]
    base, source = pairs.base[kept], pairs.source[kept]
    possible = torch.as_tensor(can_occur(subject, end, base, source, step))
    return Pairs(end.machine, step, base[possible], source[possible], exhaustive=False)
