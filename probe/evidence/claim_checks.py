"""Refuses a rule or a table that cannot be judged, and says why."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, unknown

if TYPE_CHECKING:
    from .claims import Rule

_COLUMNS = ("metric", "role", "network", "pair", "value")
#: Networks by name and pair, each with its value.
Values = Mapping[tuple[str, str], float]


def check_range(low: Any, high: Any) -> None:
    """Refuse ends of a range that are no numbers or do not ascend.

    Raises:
        ProbeError: they do not.
    """
    numbers = all(isinstance(end, Real) and not math.isnan(end) for end in (low, high))
    if not numbers or low > high:
        raise ProbeError(f"A range of low={low!r} and high={high!r} has no inside; give two numbers, low <= high.")


def check_rule(key: str, statistic: str, needs: Any, statistics: Collection[str]) -> None:
    """Refuse a rule whose statistic does not exist or that needs no network.

    Raises:
        ProbeError: it is such a rule.
    """
    if statistic not in statistics:
        raise ProbeError(f"Rule {key!r}: {unknown('statistic', statistic, statistics)}")
    if not isinstance(needs, int) or needs < 1:
        raise ProbeError(f"Rule {key!r} has needs={needs!r}; a verdict needs a whole number of networks, at least 1.")


def check_judging(table: Any, rules: Any, family: Any, kind: type[Rule]) -> tuple[Rule, ...]:
    """Return the rules as a tuple, and refuse what `judge` cannot judge.

    Raises:
        ProbeError: the rules are none, the family is no number of rules, or the table lacks a column.
    """
    import pandas as pd

    if isinstance(rules, kind):
        raise ProbeError(f"rules is the one rule {rules.key!r} and must be several: give [rule].")
    if not isinstance(rules, Iterable):
        raise ProbeError(f"rules must be several probe.evidence.Rule; this is a {type(rules).__name__}.")
    listed = tuple(rules)
    for rule in listed:
        if not isinstance(rule, kind):
            raise ProbeError(f"rules must be several probe.evidence.Rule; one of them is a {type(rule).__name__}.")
    if family is not None and (not isinstance(family, int) or family < 1):
        raise ProbeError(f"family={family!r} must be how many rules are decided together, at least 1, or None.")
    if not isinstance(table, pd.DataFrame):
        raise ProbeError(f"The table must be a pandas.DataFrame of measurements; this is a {type(table).__name__}.")
    needed = _COLUMNS + ("signal", "kind") * any(rule.signal for rule in listed)
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ProbeError(
            f"The table lacks the columns {', '.join(missing)}; it needs {', '.join(needed)}, one row a value."
        )
    return listed


def check_values(rule: Rule, role: str, values: Values) -> None:
    """Refuse values that no median or share can be taken of.

    Raises:
        ProbeError: one is NaN, or a share is asked for of other values than 0 and 1.
    """
    unusable = [network for (network, _), value in values.items() if math.isnan(value)]
    if unusable:
        raise ProbeError(
            f"Rule {rule.key!r} needs numbers; {rule.metric!r} is NaN for {_listed(unusable)} of role "
            f"{role!r}. Measure them again, or leave them out of the table."
        )
    if rule.statistic != "share" or role == "null":
        return
    partial = [network for (network, _), value in values.items() if value not in (0, 1)]
    if partial:
        raise ProbeError(
            f"Rule {rule.key!r} asks for the share of networks, and {rule.metric!r} is neither 0 nor 1 for "
            f"{_listed(partial)} of role {role!r}. Use statistic='median', or a metric of 0 and 1."
        )


def check_pairing(rule: Rule, role: str, values: Values) -> None:
    """Refuse controls of which two belong to the same network.

    Raises:
        ProbeError: two of them share a pair.
    """
    by_pair: dict[str, str] = {}
    for network, pair in values:
        # A network without a pair stands alone.
        if pair and by_pair.setdefault(pair, network) != network:
            raise ProbeError(
                f"Rule {rule.key!r} pairs networks, and {by_pair[pair]!r} and {network!r} of role {role!r} both have "
                f"the pair {pair!r}. Leave one of them out of the table."
            )


def _listed(networks: list[str], most: int = 5) -> str:
    shown = ", ".join(map(repr, networks[:most]))
    return shown if len(networks) <= most else f"{shown} and {len(networks) - most} more"
