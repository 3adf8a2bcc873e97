"""`Rule`, `judge`, `Claim`: rules fixed before the results, and the verdict that measurements give each one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import ProbeError, several, unknown
from ..intervals import median_interval, share_interval
from .margins import margin_beside
from .measurements import CONTROLS, FITTED_HEADS

if TYPE_CHECKING:
    import pandas as pd

Interval = tuple[float, float]
#: Networks by name and pair, each with its value.
Values = Mapping[tuple[str, str], float]
Verdict = Literal["established", "refuted", "undecided", "not specific", "passed", "failed"]
Statistic = Literal["median", "share"]
#: Raised by hand when the same rule and the same table could get another verdict.
JUDGING = 1
#: The role of the networks with random weights; and what the best of the heads is called, as a role and in tables.
RANDOM, STRONGEST = CONTROLS[0], "strongest head"
_FIRST_SPELLED = {"own initialisation": "untrained", "fitted head": "readout"}
#: The columns that a table must have to be judged.
_COLUMNS = ("metric", "role", "network", "pair", "value")


@dataclass(frozen=True)
class Range:
    """A range of values, its ends included unless it says otherwise.

    Attributes:
        low: lower end.
        high: upper end.
        open_low: whether the lower end itself lies outside.
        open_high: whether the upper end itself lies outside.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __post_init__(self) -> None:
        numbers = all(isinstance(end, Real) and not math.isnan(end) for end in (self.low, self.high))
        if not numbers or self.low > self.high:
            raise ProbeError(
                f"A range of low={self.low!r} and high={self.high!r} has no inside; give two numbers, low <= high."
            )

    @classmethod
    def at_least(cls, bound: float) -> Range:
        """All values from the bound up."""
        return cls(low=bound)

    @classmethod
    def above(cls, bound: float) -> Range:
        """All values beyond the bound."""
        return cls(low=bound, open_low=True)

    @classmethod
    def at_most(cls, bound: float) -> Range:
        """All values up to the bound."""
        return cls(high=bound)

    @classmethod
    def below(cls, bound: float) -> Range:
        """All values short of the bound."""
        return cls(high=bound, open_high=True)

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def covers(self, interval: Interval) -> bool:
        """Return whether a whole interval lies inside."""
        return interval[0] in self and interval[1] in self

    def __str__(self) -> str:
        low = f"{'>' if self.open_low else '≥'} {self.low:g}"
        high = f"{'<' if self.open_high else '≤'} {self.high:g}"
        parts = [low] * math.isfinite(self.low) + [high] * math.isfinite(self.high)
        return " and ".join(parts) or "any value"


@dataclass(frozen=True)
class Control:
    """A network that has not learned the task, and by how much a trained one must differ from it.

    Attributes:
        role: which control, such as `own initialisation`; `strongest head` is, pair by pair, the fitted head that
            does best by the rule.
        margin: what the paired difference (trained minus control, pair by pair) must exceed.
        lower: whether the trained network must lie below the control by more than the margin instead.
        limit: the end of the metric's scale, 1 or 0, where no value lies beyond it: beside a control that leaves less
            than twice the margin, half of what it leaves is asked instead. None where there is no such end.
    """

    role: str
    margin: float
    lower: bool = False
    limit: float | None = None

    def asks(self, control: float) -> float:
        """Return what the difference to a control of some value must exceed."""
        if self.limit is None:
            return self.margin
        return margin_beside(control - self.limit if self.lower else self.limit - control, self.margin)

    @property
    def said(self) -> str:
        """What the difference must exceed, in words."""
        return f"{self.margin:g}" + ("" if self.limit is None else ", or half of what the control leaves")


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
        also: a metric of the same quantity that weighs otherwise, such as each state alike and not each length. A
            rule that gets another verdict by it is undecided. Empty for none.
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
    also: str = ""

    def __post_init__(self) -> None:
        if self.statistic not in get_args(Statistic):
            raise ProbeError(f"Rule {self.key!r}: {unknown('statistic', self.statistic, get_args(Statistic))}")
        if not isinstance(self.needs, int) or self.needs < 1:
            raise ProbeError(
                f"Rule {self.key!r} has needs={self.needs!r}; a verdict needs a whole number of networks, at least 1."
            )

    @property
    def on_page(self) -> str:
        """What a page says: the sentence, or the statement, without a full stop."""
        return (self.sentence or self.statement).rstrip(".")

    @property
    def digest(self) -> str:
        """SHA-256 of the rule's content: another threshold, another digest.

        Roles are spelled as they were when the first rules were fixed, and a control without a limit or a rule with
        one metric says nothing of it, so that the digests of those still tell.
        """
        content = asdict(self)
        del content["sentence"]
        if not self.also:
            del content["also"]
        for control in content["controls"]:
            role = control.pop("role")
            control["subject"] = _FIRST_SPELLED.get(role, role)
            if control["limit"] is None:
                del control["limit"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """A paired difference, trained minus control: what it must exceed, its median, interval, in how many it does."""

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
        holds_in: how many of them satisfy the rule, each taken alone; a rule of two metrics by both.
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

    @property
    def too_few(self) -> bool:
        """Whether it has fewer networks than a verdict about the recipe needs."""
        return not self.rule.check and self.n < self.rule.needs

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
            NaN; its two metrics were measured on different networks; two controls of a rule share a pair; or the
            table lacks a column.
    """
    listed = _check_judging(table, rules, family)
    size = family if family is not None else sum(not rule.check for rule in listed)
    level = 1 - 0.05 / max(size, 1)
    return tuple(_judge(table, rule, level) for rule in listed)


def _judge(measured: pd.DataFrame, rule: Rule, level: float) -> Claim:
    table = with_strongest(measured, rule)
    values = _by_network(table, rule, "trained")
    if not values:
        raise ProbeError(
            f"Rule {rule.key!r} needs the metric {rule.metric!r} of role 'trained', which the table lacks."
        )
    numbers = list(values.values())
    paired = {control: _paired(table, rule, values, control) for control in rule.controls}
    differences = tuple(_difference(control, pairs) for control, pairs in paired.items() if pairs)
    verdict, reason = _verdict(rule, numbers, paired, level)
    holding = {network for network, value in values.items() if value in rule.established_if}
    if rule.also:
        second = replace(rule, metric=rule.also, also="")
        verdict, reason = _either_way(verdict, reason, _judge(measured, second, level))
        others = _by_network(with_strongest(measured, second), second, "trained")
        if others.keys() != values.keys():
            raise ProbeError(
                f"Rule {rule.key!r} has two metrics, {rule.metric!r} of {several(len(values), 'network')} and "
                f"{rule.also!r} of {several(len(others), 'network')}; measure both of the same networks."
            )
        holding &= {network for network, value in others.items() if value in rule.established_if}
    initial = list(_by_network(table, rule, "own initialisation").values())
    null = list(_by_network(table, rule, "null").values())
    return Claim(
        rule,
        _centre(rule, numbers),
        _interval(rule, numbers, 0.95),
        len(numbers),
        len(holding),
        _centre(rule, null) if null else None,
        _centre(rule, initial) if initial else None,
        {network: float(value) for (network, _), value in _by_network(table, rule, "planted").items()},
        differences,
        verdict,
        reason,
    )


def _either_way(verdict: Verdict, reason: str, other: Claim) -> tuple[Verdict, str]:
    """Return the verdict of a rule with two metrics: undecided where it is another one by the second."""
    second = f"by {other.rule.metric}, which is {other.value:.3g}, {other.reason}"
    if verdict == other.verdict:
        return verdict, f"{reason}; also {second}"
    return "undecided", f"{verdict}: {reason}; but {other.verdict} {second}"


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
    # What is asked depends on the pair.
    beyond = median_interval([_gap(control, *pair) - control.asks(pair[1]) for pair in pairs], level) or (0.0, 0.0)
    if beyond[0] > 0:
        return None
    shown = f"{difference[0]:.3g} to {difference[1]:.3g} at {level:.2%}"
    if beyond[1] <= 0:
        return "not specific", f"the difference to the {control.role} ({shown}) does not exceed {control.said}"
    return "undecided", f"the difference to the {control.role} ({shown}) may exceed {control.said}, or may not"


def true_of(measured: pd.DataFrame, rule: Rule) -> dict[str, bool]:
    """Return of each trained network whether a rule is true of it alone: in the bound, and beyond its own controls.

    A control that was not measured beside a network says nothing of it. A rule of two metrics must be true by both.

    Args:
        measured: measurements, as of `judge`.
        rule: the rule.
    """
    table = with_strongest(measured, rule)
    values = _by_network(table, rule, "trained")
    found = {network: value in rule.established_if for (network, _), value in values.items()}
    for control in rule.controls:
        others = {pair: value for (_, pair), value in _by_network(table, rule, control.role).items() if pair}
        for (network, pair), value in values.items():
            found[network] &= pair not in others or _gap(control, value, others[pair]) > control.asks(others[pair])
    if rule.also:
        again = true_of(measured, replace(rule, metric=rule.also, also=""))
        found = {network: true and again[network] for network, true in found.items()}
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
    _check_values(rule, role, values)
    return values


def _paired(
    table: pd.DataFrame, rule: Rule, values: Mapping[tuple[str, str], float], control: Control
) -> list[tuple[float, float]]:
    """Return (trained, control) values of the same pair; without pairing, networks' spread drowns the gap."""
    measured = _by_network(table, rule, control.role)
    _check_pairing(rule, control.role, measured)
    others = {pair: value for (_, pair), value in measured.items() if pair}
    return [(value, others[pair]) for (_, pair), value in values.items() if pair in others]


def _gap(control: Control, trained: float, other: float) -> float:
    return other - trained if control.lower else trained - other


def _difference(control: Control, pairs: list[tuple[float, float]]) -> Difference:
    import numpy as np

    gaps, asked = [_gap(control, *pair) for pair in pairs], [control.asks(other) for _, other in pairs]
    return Difference(
        control.role,
        float(np.median(asked)),
        float(np.median([other for _, other in pairs])),
        float(np.median(gaps)),
        median_interval(gaps),
        sum(gap > least for gap, least in zip(gaps, asked, strict=True)),
    )


def _centre(rule: Rule, numbers: list[float]) -> float:
    import numpy as np

    return float(np.mean(numbers) if rule.statistic == "share" else np.median(numbers))


def _interval(rule: Rule, numbers: list[float], level: float) -> Interval | None:
    if rule.statistic == "share":
        return share_interval(round(sum(numbers)), len(numbers), level)
    return median_interval(numbers, level)


def of_rule(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, of every role."""
    rows = table[table["metric"] == rule.metric]
    return rows[(rows["signal"] == rule.signal) | (rows["kind"] == rule.signal)] if rule.signal else rows


def with_strongest(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, each pair with its strongest controls.

    For the control `strongest head` each pair gets a row more: the head that does best by the rule. Of several
    networks with random weights of a pair, or with heads that were fitted in several ways, only the one that does
    best by the rule is left.

    Args:
        table: measurements of trained networks and of their controls.
        rule: the rule.
    """
    import pandas as pd

    rows = of_rule(table, rule).reset_index(drop=True)
    best_first = rows.sort_values("value", ascending=math.isfinite(rule.established_if.high), kind="stable")
    paired = best_first["pair"].notna() & (best_first["pair"] != "")
    beaten = best_first["role"].isin(CONTROLS) & paired & best_first.duplicated(["role", "pair"])
    rows = best_first[~beaten].sort_index()
    if all(control.role != STRONGEST for control in rule.controls):
        return rows
    best = strongest_heads(table, rule)
    names = [f"{name.rpartition('/')[0]}/{STRONGEST}" for name in best["network"]]
    return pd.concat([rows, best.assign(role=STRONGEST, network=names)], ignore_index=True)


def strongest_heads(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return of each pair the row of the fitted head that does best by a rule; none of a pair that lacks a head.

    Args:
        table: measurements of networks and of their fitted heads.
        rule: the rule.
    """
    rows = of_rule(table, rule)
    heads = rows[rows["role"].isin(FITTED_HEADS)]
    best_first = heads.sort_values("value", ascending=math.isfinite(rule.established_if.high), kind="stable")
    # A pair that lacks a head has no strongest one: the others alone would be a weaker control.
    whole = best_first.groupby("pair")["role"].transform("nunique") == len(FITTED_HEADS)
    return best_first[whole].drop_duplicates("pair")


def called(table: pd.DataFrame, role: str, best: str = "best") -> str:
    """Return what words call the controls of a role: of several that a study makes beside a network the best."""
    copies = table[table["role"] == role].groupby("pair")["network"].nunique().max()
    names = dict(zip(CONTROLS, ("networks with random weights", "fitted heads"), strict=True))
    return f"the {best} of {copies} {names[role]}" if role in names and copies > 1 else role


def _check_judging(table: Any, rules: Any, family: Any) -> tuple[Rule, ...]:
    """Return the rules as a tuple, and refuse what `judge` cannot judge.

    Raises:
        ProbeError: the rules are none, the family is no number of rules, or the table lacks a column.
    """
    import pandas as pd

    if isinstance(rules, Rule):
        raise ProbeError(f"rules is the one rule {rules.key!r} and must be several: give [rule].")
    if not isinstance(rules, Iterable):
        raise ProbeError(f"rules must be several probe.evidence.Rule; this is a {type(rules).__name__}.")
    listed = tuple(rules)
    for rule in listed:
        if not isinstance(rule, Rule):
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


def _check_values(rule: Rule, role: str, values: Values) -> None:
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


def _check_pairing(rule: Rule, role: str, values: Values) -> None:
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
