"""What a rule's metric must be on every planted network: most of them in a line, the others one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analyses.counter.expected import EXACT, Expected

#: How near a value must be that was computed to five digits; and one that also depends on what is drawn.
NEAR, DRAWN = 1e-4, 0.01
DELAYS, CURVED = "delay-line delay-line-alone", "geometric decoy"


@dataclass(frozen=True)
class Given:
    """A value with its tolerance and its reason.

    Attributes:
        value: what it must be.
        why: what it follows from.
        tolerance: how far it may be away.
        between: whether only a range follows, whose middle is the value.
    """

    value: float
    why: str
    tolerance: float = EXACT
    between: bool = False


def between(low: float, high: float, why: str) -> Given:
    """Return what is given where only a range follows.

    Args:
        low: the least that the value may be.
        high: the most.
        why: what the range follows from.
    """
    return Given((low + high) / 2, why, (high - low) / 2, between=True)


@dataclass(frozen=True)
class Row:
    """What a rule's metric must be on every planted network.

    Attributes:
        rule: its key.
        question: which question measures it.
        metric: which of its metrics.
        most: what it must be on all networks but some.
        besides: names of networks, with spaces between -> what it must be on them.
        signal: of the metric, or None.
        kind: of the metric, or None.
    """

    rule: str
    question: str
    metric: str
    most: Given
    besides: Mapping[str, Given] = field(default_factory=dict)
    signal: str | None = None
    kind: str | None = None

    def of(self, network: str) -> Expected:
        """Return what is expected of one network."""
        found = [given for names, given in self.besides.items() if network in names.split()]
        given = found[0] if found else self.most
        return Expected(
            network,
            self.question,
            self.metric,
            given.value,
            given.tolerance,
            given.why,
            signal=self.signal,
            kind=self.kind,
            rule=self.rule,
            between=given.between,
        )
