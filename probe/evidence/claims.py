"""`Rule`, `judge`, `Claim`: rules fixed before the results, and the verdict that measurements give each one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import ProbeError, several, unknown
from ..intervals import median_interval, share_interval
from .claim_checks import check_judging, check_pairing, check_rule, check_values
from .ranges import Interval, Range
from .strongest import with_strongest

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["established", "refuted", "undecided", "not specific", "passed", "failed"]
Statistic = Literal["median", "share"]
#: Raised by hand when the same rule and the same table could get another verdict.
JUDGING = 1
_FIRST_SPELLED = {"own initialisation": "untrained", "fitted head": "readout"}


@dataclass(frozen=True)
class Control:
    """A network that has not learned the task, and by how much a trained one must differ from it.

    Attributes:
        role: which control, such as `own initialisation`; `strongest head` is, pair by pair, the fitted head that
            does best by the rule.
        margin: what the paired difference (trained minus control, pair by pair) must exceed.
        lower: whether the trained network must lie below the control by more than the margin instead.
    """

    role: str
    margin: float
    lower: bool = False


@dataclass(frozen=True)
class Rule:
    """What would establish a statement, and what would refute it, fixed in code before it is measured.

    Attributes:
        key: short name, such as `1a`.
        statement: the statement in words.
        metric: the metric of the table that decides it, one value a network.
        definition: how the metric is computed, in a sentence.
        source: where the question comes from.
        established_if: the whole interval must lie in this range.
        refuted_if: the whole interval must lie in this range.
        controls: what the paired difference to each control must exceed. Where its whole interval does not, the claim
            is not specific; where a part of it does, undecided.
        needs: how many networks a verdict needs.
        signal: which signal's (or which kind's) rows of the metric count, or empty for all of them.
        statistic: `median` over networks, or `share` of networks for a metric of 0 and 1.
        check: whether this checks the method (every network must satisfy it) and is no evidence.
        sentence: the statement as a page says it, which stands alone; empty for the statement. It is no part of the
            digest, so that its English can be mended.
    """

    key: str
    statement: str
    metric: str
    definition: str
    source: str
    established_if: Range
    refuted_if: Range
    controls: tuple[Control, ...] = ()
    needs: int = 50
    signal: str = ""
    statistic: Statistic = "median"
    check: bool = False
    sentence: str = ""

    def __post_init__(self) -> None:
        check_rule(self.key, self.statistic, self.needs, get_args(Statistic))

    @property
    def on_page(self) -> str:
        """What a page says: the sentence, or the statement, without a full stop."""
        return (self.sentence or self.statement).rstrip(".")

    @property
    def digest(self) -> str:
        """SHA-256 of the rule's content: another threshold, another digest.

        Roles are spelled as they were when the first rules were fixed, so that the digests of those still tell.
        """
        content = asdict(self)
        del content["sentence"]
        for control in content["controls"]:
            role = control.pop("role")
            control["subject"] = _FIRST_SPELLED.get(role, role)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """A paired difference, trained minus control: median, interval at 95 %, in how many networks it holds."""

    role: str
    margin: float
    control: float
    value: float
    interval: Interval | None
    exceeds_in: int


@dataclass(frozen=True)
class Claim:
    """A rule judged on measurements.

    Attributes:
        rule: the rule.
        value: median (or share) over the networks.
        interval: its interval at 95 %, or None where so few networks have none.
        n: how many networks.
        holds_in: how many of them satisfy the rule, each taken alone.
        null: the metric's value without information, where one was measured.
        own_initialisation: its median over the networks before training, where measured.
        planted: its value in each network whose mechanism is known.
        differences: the paired difference to each of the rule's controls that was measured.
        verdict: the outcome.
        reason: why, in a sentence.
    """

    rule: Rule
    value: float
    interval: Interval | None
    n: int
    holds_in: int
    null: float | None
    own_initialisation: float | None
    planted: Mapping[str, float]
    differences: tuple[Difference, ...]
    verdict: Verdict
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON values, with the rule and its digest."""
        return asdict(self) | {"rule": asdict(self.rule) | {"digest": self.rule.digest}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Claim:
        """Return the claim that `to_dict` described.

        Raises:
            ProbeError: the rule's digest does not fit the rule, or the verdict is none.
        """
        described = dict(content["rule"])
        digest = described.pop("digest")
        described["established_if"] = Range(**described["established_if"])
        described["refuted_if"] = Range(**described["refuted_if"])
        described["controls"] = tuple(Control(**control) for control in described["controls"])
        rule = Rule(**described)
        if rule.digest != digest:
            raise ProbeError(f"Rule {rule.key!r} was changed after it was judged; judge it again.")
        if content["verdict"] not in get_args(Verdict):
            raise ProbeError(f"Rule {rule.key!r}: {unknown('verdict', content['verdict'], get_args(Verdict))}")
        fields: dict[str, Any] = dict(content) | {"rule": rule}
        fields["differences"] = tuple(
            Difference(**(item | {"interval": _pair(item["interval"])})) for item in content["differences"]
        )
        fields["interval"] = _pair(content["interval"])
        fields["value"] = float(content["value"])
        return cls(**fields)


def _pair(interval: Iterable[float] | None) -> Interval | None:
    if interval is None:
        return None
    low, high = interval
    return low, high


def judge(table: pd.DataFrame, rules: Iterable[Rule], *, family: int | None = None) -> tuple[Claim, ...]:
    """Judge rules on a table of measurements.

    The unit is the network. Intervals shown are at 95 %; verdicts are decided at 1 - 0.05 / family, so that
    one wrong verdict among all of them stays a one-in-twenty event (Bonferroni).

    Args:
        table: measurements, one row a value, with columns metric, role, network, pair and value; the
            networks under test have the role `trained`.
        rules: what to judge.
        family: how many rules are decided together; None for the rules given that are no checks.

    Raises:
        ProbeError: a rule's metric was not measured on any trained network, or more than once on one, or is
            NaN; two controls of a rule share a pair; or the table lacks a column.
    """
    listed = check_judging(table, rules, family, Rule)
    size = family if family is not None else sum(not rule.check for rule in listed)
    return tuple(_judge(table, rule, 1 - 0.05 / max(size, 1)) for rule in listed)


def _judge(table: pd.DataFrame, rule: Rule, level: float) -> Claim:
    table = with_strongest(table, rule)
    values = _by_network(table, rule, "trained")
    if not values:
        raise ProbeError(
            f"Rule {rule.key!r} needs the metric {rule.metric!r} of role 'trained', which the table lacks."
        )
    numbers = list(values.values())
    paired = {control: _paired(table, rule, values, control) for control in rule.controls}
    differences = tuple(_difference(control, pairs) for control, pairs in paired.items() if pairs)
    verdict, reason = _verdict(rule, numbers, paired, level)
    initial = list(_by_network(table, rule, "own initialisation").values())
    null = list(_by_network(table, rule, "null").values())
    return Claim(
        rule,
        _centre(rule, numbers),
        _interval(rule, numbers, 0.95),
        len(numbers),
        sum(value in rule.established_if for value in numbers),
        _centre(rule, null) if null else None,
        _centre(rule, initial) if initial else None,
        {network: float(value) for (network, _), value in _by_network(table, rule, "planted").items()},
        differences,
        verdict,
        reason,
    )


def _verdict(
    rule: Rule,
    numbers: list[float],
    paired: Mapping[Control, list[tuple[float, float]]],
    level: float,
) -> tuple[Verdict, str]:
    if rule.check:
        failing = sum(value not in rule.established_if for value in numbers)
        return (
            ("failed", f"{failing} of {several(len(numbers), 'network')} fail")
            if failing
            else ("passed", "in every network")
        )
    if len(numbers) < rule.needs:
        return "undecided", f"{several(len(numbers), 'network')}; a verdict about the recipe needs {rule.needs}"
    interval = _interval(rule, numbers, level)
    if interval is None:
        return "undecided", f"{several(len(numbers), 'network')}: too few for an interval at {level:.2%}"
    shown = f"interval {interval[0]:.3g} to {interval[1]:.3g} at {level:.2%}"
    if rule.refuted_if.covers(interval):
        return "refuted", f"{shown} lies in the range {rule.refuted_if}"
    if not rule.established_if.covers(interval):
        return "undecided", f"{shown} is not wholly in the range {rule.established_if}"
    return _against_controls(rule, paired, level) or ("established", shown)


def _against_controls(
    rule: Rule, paired: Mapping[Control, list[tuple[float, float]]], level: float
) -> tuple[Verdict, str] | None:
    """Return what a rule that holds comes to where a control does as well, or may: as well as any of them decides."""
    found = [verdict for control, pairs in paired.items() if (verdict := _against(rule, control, pairs, level))]
    return min(found, key=lambda verdict: verdict[0] != "not specific", default=None)


def _against(
    rule: Rule, control: Control, pairs: list[tuple[float, float]], level: float
) -> tuple[Verdict, str] | None:
    if not pairs:
        return "undecided", f"the control {control.role!r} was not measured"
    if len(pairs) < rule.needs:
        return "undecided", f"{several(len(pairs), 'pair')} with {control.role!r}; a verdict needs {rule.needs}"
    difference = median_interval([_gap(control, *pair) for pair in pairs], level)
    if difference is None:
        return "undecided", f"{several(len(pairs), 'pair')} with {control.role!r}: too few at {level:.2%}"
    if difference[0] > control.margin:
        return None
    shown = f"{difference[0]:.3g} to {difference[1]:.3g} at {level:.2%}"
    if difference[1] <= control.margin:
        return "not specific", f"the difference to the {control.role} ({shown}) does not exceed {control.margin:g}"
    return "undecided", f"the difference to the {control.role} ({shown}) may exceed {control.margin:g}, or may not"


def true_of(table: pd.DataFrame, rule: Rule) -> dict[str, bool]:
    """Return of each trained network whether a rule is true of it alone: in the bound, and beyond its own controls.

    A control that was not measured beside a network says nothing of it.

    Args:
        table: measurements, as of `judge`.
        rule: the rule.
    """
    table = with_strongest(table, rule)
    values = _by_network(table, rule, "trained")
    found = {network: value in rule.established_if for (network, _), value in values.items()}
    for control in rule.controls:
        others = {pair: value for (_, pair), value in _by_network(table, rule, control.role).items() if pair}
        for (network, pair), value in values.items():
            found[network] &= pair not in others or _gap(control, value, others[pair]) > control.margin
    return found


def _by_network(table: pd.DataFrame, rule: Rule, role: str) -> dict[tuple[str, str], float]:
    rows = table[table["role"] == role]
    keys = list(zip(rows["network"], rows["pair"].astype(object).fillna("").astype(str), strict=True))
    if len(set(keys)) != len(keys):
        raise ProbeError(
            f"Rule {rule.key!r} needs one value a network; {rule.metric!r} has {len(keys)} values for "
            f"{len(set(keys))} networks of role {role!r}."
        )
    values = dict(zip(keys, rows["value"].astype(float), strict=True))
    check_values(rule, role, values)
    return values


def _paired(
    table: pd.DataFrame, rule: Rule, values: Mapping[tuple[str, str], float], control: Control
) -> list[tuple[float, float]]:
    """Return (trained, control) values of the same pair; without pairing, networks' spread drowns the gap."""
    measured = _by_network(table, rule, control.role)
    check_pairing(rule, control.role, measured)
    others = {pair: value for (_, pair), value in measured.items() if pair}
    return [(value, others[pair]) for (_, pair), value in values.items() if pair in others]


def _gap(control: Control, trained: float, other: float) -> float:
    return other - trained if control.lower else trained - other


def _difference(control: Control, pairs: list[tuple[float, float]]) -> Difference:
    import numpy as np

    gaps = [_gap(control, *pair) for pair in pairs]
    return Difference(
        control.role,
        control.margin,
        float(np.median([other for _, other in pairs])),
        float(np.median(gaps)),
        median_interval(gaps),
        sum(gap > control.margin for gap in gaps),
    )


def _centre(rule: Rule, numbers: list[float]) -> float:
    import numpy as np

    return float(np.mean(numbers) if rule.statistic == "share" else np.median(numbers))


def _interval(rule: Rule, numbers: list[float], level: float) -> Interval | None:
    if rule.statistic == "share":
        return share_interval(round(sum(numbers)), len(numbers), level)
    return median_interval(numbers, level)
