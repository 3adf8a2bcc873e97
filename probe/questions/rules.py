"""What the rules of questions share: they are about networks, not about a task. Their bounds are the counter's."""

from __future__ import annotations

from typing import Any

from ..evidence.claims import Control, Range, Rule
from ..evidence.margins import MARGIN

#: The fewest networks that a verdict is about; one network alone is undecided, whatever its numbers are.
NEEDS = 10
#: A unit, or all together, tell a concept where they read so much: R², balanced accuracy, or a share read exactly.
TELLS = 0.9
#: Whose answers mean something: the heads of other controls are random, and a template answers another question.
ANSWERING = ("trained", "fitted head", "planted", "other")
INITIAL, FITTED = "own initialisation", "fitted head"
#: Where a question looks at one step alone.
ONE_STEP = "after interchange_step, or else after a step from the middle on"


def above(role: str, margin: float = MARGIN) -> Control:
    """Return a control of a metric that is at most 1, above which a network must lie."""
    return Control(role, margin, limit=1.0)


def below(role: str, margin: float = MARGIN) -> Control:
    """Return a control of an error that is at least 0, below which a network must lie."""
    return Control(role, margin, lower=True, limit=0.0)


def rule(
    key: str,
    statement: str,
    metric: str,
    *,
    definition: str,
    source: str,
    at_least: float | None = None,
    at_most: float | None = None,
    needs: int = NEEDS,
    **more: Any,
) -> Rule:
    """Return a rule with one bound, which decides both ways."""
    if at_least is not None:
        established, refuted = Range.at_least(at_least), Range.below(at_least)
    else:
        bound = float(at_most or 0.0)
        established, refuted = Range.at_most(bound), Range.above(bound)
    return Rule(key, statement, metric, definition, source, established, refuted, needs=needs, **more)
