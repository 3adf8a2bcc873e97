"""The sentence that heads what a question found: what its first rule comes to, as a colleague would say it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from ..errors import several
from ..evidence.claims import RANDOM, Claim, true_of
from ..evidence.words import listed
from .question import Answered
from .rules import FITTED, INITIAL

#: What a rule comes to: true; true, but not beyond a control of the rule; false.
TRUE, ALIKE, FALSE = "true", "alike", "false"
_BY_VERDICT = {"established": TRUE, "not specific": ALIKE, "refuted": FALSE}
#: What a heading calls controls.
CALLED = {
    FITTED: "random weights with a fitted head",
    INITIAL: "the network before training",
    RANDOM: "random weights",
    "null": "a guess",
}


def by_rule(true: str, false: str) -> Callable[[Answered], str]:
    """Return what heads a question by its first rule: a sentence for each way, without a full stop.

    Of fewer networks than a verdict needs it says in how many that is so. It is empty where nothing was judged, or
    where the verdict is open.
    """
    return partial(_by_rule, true=true, false=false)


def _by_rule(answered: Answered, true: str, false: str) -> str:
    if not answered.claims:
        return ""
    claim = answered.claims[0]
    way, count = came_to(answered.table, claim)
    if not way:
        return ""
    said = false if way == FALSE else true
    return said + in_how_many(count, claim) + (_alike(claim) if way == ALIKE else "")


def came_to(table: pd.DataFrame, claim: Claim) -> tuple[str, int]:
    """Return which way a rule came out, empty where that is open, and in how many networks it did.

    Of fewer networks than its verdict needs it is the way of most of them, each taken alone.
    """
    if not claim.too_few:
        return _BY_VERDICT.get(claim.verdict, ""), claim.n
    beyond = sum(true_of(table, claim.rule).values())
    counts = {TRUE: beyond, ALIKE: claim.holds_in - beyond, FALSE: claim.n - claim.holds_in}
    return max(counts.items(), key=lambda way: way[1])


def in_how_many(count: int, claim: Claim) -> str:
    """Return in how many networks something is so, where there are several and too few for a verdict."""
    return f", in {count} of {several(claim.n, 'network')}" if claim.too_few and claim.n > 1 else ""


def _alike(claim: Claim) -> str:
    """Return which controls a claim is as true of, or nearly."""
    near = [gap for gap in claim.differences if gap.value <= gap.margin] or list(claim.differences)
    alike = [gap for gap in near if gap.control in claim.rule.established_if]
    names = listed([CALLED.get(gap.role, gap.role) for gap in alike or near])
    return f"; {'' if alike else 'nearly '}the same is true of {names}"
