"""Findings, intervals, and the rules and tables that are refused.

- What a `Finding` promises: a folder that says everything, reads back the same, and has the same bytes twice.
- What the intervals promise: the coverage they state, on few networks, without a distribution.
- Which rules and tables `judge` refuses, with which words, and where too few controls decide nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusing import refused

from probe import Finding, ProbeError
from probe.evidence import Claim, Control, DataFigure, Range, Rule, judge
from probe.evidence.intervals import median_interval, share_interval
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate
from probe.plots.style import new_figure
from probe.storage import digests

RULE = Rule("1", "It counts.", "accuracy", "share", "a test", Range.at_least(8 / 9), Range.at_most(0.5), needs=6)


def rows() -> pd.DataFrame:
    """Return measurements of eight networks and one null."""
    import torch

    values = [(f"net/{k}", "trained", k, 0.9 + k / 300) for k in range(8)] + [("null", "null", "", 1 / 3)]
    model = torch.nn.LSTM(1, 1)
    return tabulate(
        measurement("counting", "accuracy", Network(name, role, model, pair), value, units="3", step=None)
        for name, role, pair, value in values
    )


def finding() -> Finding:
    """Return a finding with a claim, a figure and a note."""
    figure, axes = new_figure()
    axes[0, 0].plot([0, 1], [1, 2])
    data = pd.DataFrame({"x": [0, 1], "y": [1.0, 2 / 3]})
    picture = DataFigure.from_figure(figure, name="line", title="A line", alt="It rises.", caption="x", data=data)
    table = rows()
    return Finding(
        "counting",
        "Does it count?",
        table,
        judge(table, [RULE]),
        (picture,),
        {"code": "abc"},
        {"note": "It does, ä bit."},
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finding_is_one_folder(tmp_path: Path) -> None:
    """Measurements, claims, each figure with the table behind it, and what they were made from."""
    assert finding().write(tmp_path / "counting") == tmp_path / "counting"
    assert set(files(tmp_path / "counting")) == {
        "claims.json",
        "figures.json",
        "figures/line.csv",
        "figures/line.png",
        "figures/line.svg",
        "finding.json",
        "measurements.csv",
    }
    (entry,) = json.loads((tmp_path / "counting" / "figures.json").read_text())
    assert (entry["alt"], entry["caption"], entry["data"]) == ("It rises.", "x", "figures/line.csv")


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    """Nothing in the folder depends on the clock, the process or the order of a set."""
    first, second = (files(finding().write(tmp_path / name)) for name in ("a", "b"))
    assert first == second


def test_numbers_have_six_significant_digits(tmp_path: Path) -> None:
    """A seventh digit would differ between machines; the rule's own bounds are not rounded."""
    folder = finding().write(tmp_path / "a")
    assert "null,null,,,,3,,,,0.333333,,,\n" in (folder / "measurements.csv").read_text()
    (claim,) = json.loads((folder / "claims.json").read_text())
    assert claim["null"] == 0.333333
    assert (folder / "figures" / "line.csv").read_text() == "x,y\n0,1\n1,0.666667\n"


def test_a_written_finding_reads_back(tmp_path: Path) -> None:
    """Words, table, claims, figures and notes return; writing it again changes no byte but the picture's PNG."""
    written = finding()
    folder = written.write(tmp_path / "a")
    back = Finding.read(folder)
    assert (back.question, back.title) == (written.question, written.title)
    assert back.provenance == {"code": "abc"}
    assert back.notes == {"note": "It does, ä bit."}
    assert back.claims[0].rule == RULE
    assert back.claims[0].verdict == written.claims[0].verdict
    assert back.figures[0].svg == written.figures[0].svg
    assert back.measurements["units"].tolist() == ["3"] * 9
    assert back.measurements["pair"].tolist() == [*map(str, range(8)), ""]
    again, before = files(back.write(tmp_path / "b")), files(folder)
    # What finding.json lists is one file less.
    assert (again.pop("finding.json"), again) != (before.pop("finding.json"), before)
    assert again == {name: data for name, data in before.items() if not name.endswith(".png")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("finding.json", None),
        ("claims.json", "[{}]"),
        ("claims.json", "{}"),
        ("figures.json", "{}"),
        ("figures.json", "{"),
        ("measurements.csv", None),
        ("finding.json", "[]"),
        ("figures/line.svg", None),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str, content: str | None) -> None:
    """A missing or damaged file raises ProbeError and says which folder."""
    folder = finding().write(tmp_path / "a")
    if content is None:
        (folder / name).unlink()
    else:
        _ = (folder / name).write_text(content)
    with refused():
        _ = Finding.read(folder)


def test_a_rule_changed_on_disk_is_refused(tmp_path: Path) -> None:
    """A threshold edited after the verdict is noticed by its digest."""
    folder = finding().write(tmp_path / "a")
    claims: Any = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    claims[0]["rule"]["needs"] = 3
    _ = (folder / "claims.json").write_text(json.dumps(claims), encoding="utf-8")
    with refused():
        _ = Finding.read(folder)
    about: Any = json.loads((folder / "finding.json").read_text(encoding="utf-8"))
    about["files"]["claims.json"] = digests.of_file(folder / "claims.json")
    _ = (folder / "finding.json").write_text(json.dumps(about), encoding="utf-8")
    with refused():
        _ = Finding.read(folder)
    del about["sha256"]
    _ = (folder / "finding.json").write_text(json.dumps(digests.sealed(about)), encoding="utf-8")
    with refused():
        _ = Finding.read(folder)


def test_every_byte_of_a_finding_is_checked(tmp_path: Path) -> None:
    """A damaged number would be another result: whatever file of the folder is damaged, it is not opened."""
    folder = finding().write(tmp_path / "a")
    for name, content in files(folder).items():
        for place in {0, len(content) // 3, len(content) // 2, len(content) - 3}:
            damaged = bytearray(content)
            damaged[place] ^= 4
            _ = (folder / name).write_bytes(bytes(damaged))
            with pytest.raises(ProbeError, match=r"a' cannot be read as a finding"):
                _ = Finding.read(folder)
        _ = (folder / name).write_bytes(content)
    assert Finding.read(folder).question == "counting"


def test_every_row_has_the_same_columns() -> None:
    """One tidy table for every question, with its types; a network's part must be one of the known ones."""
    table = rows()
    assert tuple(table.columns) == COLUMNS
    assert {name: str(table[name].dtype) for name in ("step", "at", "n")} == {
        "step": "Int64",
        "at": "float64",
        "n": "Int64",
    }
    assert all(isinstance(pair, str) for pair in table["pair"])
    assert table.loc[3, "value"] == pytest.approx(0.91)
    assert tuple(tabulate([]).columns) == COLUMNS
    import torch

    with refused():
        _ = Network("a", "teached", torch.nn.LSTM(1, 1))


def test_the_medians_interval_is_conovers() -> None:
    """For ten values at 95 % the ends are the second and the ninth (the binomial gives 97.9 %)."""
    values = [float(k) for k in (3, 1, 10, 7, 2, 9, 5, 4, 8, 6)]
    assert median_interval(values) == (2.0, 9.0)


@pytest.mark.parametrize(("n", "level"), [(9, 0.95), (25, 0.95), (25, 0.99), (50, 0.9)])
def test_the_medians_interval_covers_the_median_as_often_as_it_says(n: int, level: float) -> None:
    """Over 600 draws of a skewed distribution it covers the true median at its level or more often."""
    generator = np.random.default_rng(0)
    draws = generator.lognormal(size=(600, n))
    intervals = [median_interval(list(draw), level) for draw in draws]
    covered = np.mean([ends is not None and ends[0] <= 1.0 <= ends[1] for ends in intervals])
    noise = 3 * np.sqrt(level * (1 - level) / 600)
    assert covered >= level - noise
    # The control arm: it is not simply everything that was drawn.
    if n >= 25:
        assert np.mean([ends is not None and ends[0] <= 1.6 <= ends[1] for ends in intervals]) < 0.9


def test_a_higher_level_gives_a_wider_interval() -> None:
    """The level is used."""
    values = list(np.linspace(0, 1, 40))
    wide, narrow = median_interval(values, 0.999), median_interval(values, 0.8)
    assert wide is not None
    assert narrow is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_so_few_networks_have_no_interval() -> None:
    """Five values cannot reach 95 % (2 / 2^5 lie outside), six can; two reach 40 %, one and none nothing."""
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (1.0, 6.0)
    assert median_interval([1.0, 2.0], 0.4) == (1.0, 2.0)
    assert median_interval([1.0], 0.4) is None
    assert median_interval([]) is None


def test_a_shares_interval_is_clopper_and_pearsons() -> None:
    """The textbook's numbers: 0 of 10 goes up to 1 - 0.025^(1/10); 9 of 10 from 0.555 to 0.9975."""
    low, high = share_interval(0, 10) or (-1.0, -1.0)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025**0.1)
    assert share_interval(9, 10) == pytest.approx((0.55498, 0.99747), abs=1e-4)
    assert share_interval(9, 10, 0.5) != share_interval(9, 10)
    assert share_interval(0, 0) is None


def rule(**options: Any) -> Rule:
    """Return a rule: established at 0.9 and above, refuted at 0.5 and below, from ten networks on."""
    bounds: dict[str, Any] = {"established_if": Range.at_least(0.9), "refuted_if": Range.at_most(0.5), "needs": 10}
    words: dict[str, Any] = {
        "key": "1a",
        "statement": "It counts.",
        "metric": "accuracy",
        "definition": "d",
        "source": "s",
    }
    return Rule(**(words | bounds | options))


def table(values: list[float], role: str = "trained", pairs: list[int] | None = None) -> pd.DataFrame:
    """Return one row a network, pairs counting from 0 where none are given."""
    counted = list(range(len(values))) if pairs is None else pairs
    names = [f"{role}/{number}" for number in range(len(values))]
    columns = {"network": names, "pair": list(map(str, counted)), "value": values}
    return pd.DataFrame({"metric": "accuracy", "role": role} | columns)


def judged(rule: Rule, *tables: pd.DataFrame) -> Claim:
    """Judge one rule on several tables."""
    (claim,) = judge(pd.concat(tables, ignore_index=True), [rule], family=1)
    return claim


SPREAD = [0.95 + 0.002 * k for k in range(12)]
CONTROLLED = rule(controls=(Control("own initialisation", 0.2),))
LOW = [value - 0.5 for value in SPREAD]


@pytest.mark.parametrize("role", ["trained", "own initialisation", "null", "planted"])
def test_nan_is_refused_by_metric_and_network(role: str) -> None:
    """A NaN compares false with every bound, and no verdict comes of it."""
    rows = [table(SPREAD)] * (role != "trained") + [table([0.95, math.nan, *SPREAD], role)]
    with refused():
        _ = judged(rule(), *rows)


def test_many_networks_are_not_all_listed() -> None:
    """Five names are shown, and how many more there are."""
    with refused():
        _ = judged(rule(), table([math.nan] * 12))


def test_too_few_control_pairs_decide_nothing() -> None:
    """Both too few for `needs` and too few for an interval leave the claim undecided; enough establish it."""
    claim = judged(CONTROLLED, table(SPREAD), table(LOW[:9], "own initialisation"))
    assert (claim.verdict, claim.reason) == ("undecided", "9 pairs with 'own initialisation'; a verdict needs 10")
    assert judged(CONTROLLED, table(SPREAD), table(LOW[:10], "own initialisation")).verdict == "established"
    few = rule(controls=CONTROLLED.controls, needs=3)
    claim = judged(few, table(SPREAD), table(LOW[:3], "own initialisation"))
    assert (claim.verdict, claim.reason) == ("undecided", "3 pairs with 'own initialisation': too few at 95.00%")


def test_two_controls_of_one_pair_are_refused() -> None:
    """Which of them a network is paired with would depend on their order."""
    twice = table(LOW, "own initialisation", pairs=[0, 0, *range(2, 12)])
    with refused():
        _ = judged(CONTROLLED, table(SPREAD), twice)
    for nothing in ("", None, pd.NA, math.nan):
        alone = table([*LOW, 0.1, 0.1], "own initialisation").astype({"pair": object})
        alone["pair"] = [*alone["pair"][:12], nothing, nothing]
        assert judged(CONTROLLED, table(SPREAD), alone).verdict == "established"


def test_a_share_needs_a_metric_of_0_and_1() -> None:
    """The exact interval counts networks; a mean of other values rounded to a count would be made up."""
    share = rule(statistic="share")
    with refused():
        _ = judged(share, table([1.0, 0.5] + [1.0] * 10))
    assert judged(share, table([1.0] * 12), table([0.3], "null")).null == pytest.approx(0.3)


@pytest.mark.parametrize("make", [lambda: rule(needs=0), lambda: Range(1.0, 0.5), lambda: Range(math.nan, 1.0)])
def test_rules_that_cannot_be_judged_are_refused_when_made(make: Callable[[], object]) -> None:
    """A mistake in a rule is told where the rule is written, not where it is judged."""
    with refused():
        _ = make()


@pytest.mark.parametrize("family", [0, -1])
def test_a_family_has_at_least_one_rule(family: int) -> None:
    """Zero would correct nothing, and below zero nothing is meant."""
    with refused():
        _ = judge(table(SPREAD), [rule()], family=family)


def test_a_table_without_its_columns_is_refused() -> None:
    """The missing ones are named, `signal` and `kind` only where a rule asks for one."""
    with refused():
        _ = judge(table(SPREAD).drop(columns=["pair", "value"]), [rule()])
    with refused():
        _ = judge(table(SPREAD), [rule(signal="cell_state")])


def test_a_claim_read_back_has_a_verdict_word() -> None:
    """A verdict that `judge` never gives was not given by it."""
    written = json.loads(json.dumps(judged(rule(), table(SPREAD)).to_dict()))
    with refused():
        _ = Claim.from_dict(written | {"verdict": "estabished"})
