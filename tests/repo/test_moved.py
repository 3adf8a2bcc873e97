"""docs/moved.md names what is there now, for whoever has the names from before."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import nn

import probe
from analyses.counter import measured, merged
from probe.evidence import Claim, Control, Range, Rule, judge
from probe.evidence.measurements import COLUMNS, ROLES, Network, measurement, tabulate
from probe.studies import store

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/moved.md").read_text(encoding="utf-8")


def rows(head: str) -> list[list[str]]:
    """Return the rows of the page's table whose first column has that head, a list of the cells' code each."""
    lines = PAGE[PAGE.index(f"| {head} ") :].split("\n\n")[0].splitlines()[2:]
    return [[", ".join(re.findall(r"`([^`]+)`", cell)) for cell in line.strip("| ").split(" | ")] for line in lines]


def paths(value: Any, start: str = "") -> Iterator[str]:
    """Yield the path of each key of JSON values, such as `differences[].role`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            path = f"{start}.{key}".removeprefix(".")
            yield path
            yield from paths(item, path)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from paths(item, f"{start}[]")


def judged() -> dict[str, Any]:
    """Return a claim as findings.json holds it, with a control."""
    made = [
        measurement("a", "b", Network(f"{role}-{pair}", role, nn.Identity(), pair), value)
        for role, value in (("trained", 1.0), ("own initialisation", 0.0))
        for pair in range(10)
    ]
    bounds = Range.above(0.5), Range.at_most(0.5)
    rule = Rule("c", "It is.", "b", "b", "here", *bounds, (Control("own initialisation", 0.1),), needs=10)
    (claim,) = judge(tabulate(made), [rule])
    return merged.entry("a", claim)


def test_the_keys_of_findings_are_what_the_page_says() -> None:
    """What was renamed is there under its new name alone; so renamed, the committed file has the keys of today."""
    moved, today = dict(rows("key was")), set(paths(judged()))
    assert set(moved.values()) <= today
    assert set(moved) & today == set()
    committed = json.loads((ROOT / "reports/counter/findings.json").read_text(encoding="utf-8"))
    found = {moved.get(path, path) for claim in committed for path in paths(claim)}
    assert {path for path in found if not path.startswith("planted.")} == today


@pytest.mark.parametrize(("head", "today"), [("column was", COLUMNS), ("role was", ROLES)])
def test_columns_and_roles_are_what_the_page_says(head: str, today: tuple[str, ...]) -> None:
    """Each new word is one of the tables' own, and no old one is."""
    for was, now in rows(head):
        assert now in today
        assert was not in today


def test_every_metric_stands_in_the_column_that_the_page_says() -> None:
    """In the counter's committed measurements; the metrics of summaries are not stored."""
    groups = list(store.read(measured.FOLDER / "counter.csv.xz").values())[:2]
    groups += store.read(measured.FOLDER / "planted.csv.xz").values()
    seen = 0
    for question, metrics, was, now in rows("question"):
        tables = [group.tables[question] for group in groups if question in group.tables]
        for metric in metrics.split(", ") if tables else ():
            table = pd.concat(tables)
            own = table[table["metric"] == metric]
            seen += len(own) > 0
            assert own[now].notna().all() if now == "at" else (own[now] != "").all(), (question, metric)
            # A metric may have used the old column for two things, and uses it for one.
            assert (own[was] == "").all(), (question, metric)
    assert seen > 30


def test_every_module_that_moved_is_where_the_page_says() -> None:
    """The new module exists, and the old one does not."""
    for was, now in rows("module was"):
        assert importlib.util.find_spec(now) is not None, now
        assert not (ROOT / (was.replace(".", "/") + ".py")).exists(), was


def test_every_name_that_left_probe_is_where_the_page_says() -> None:
    """The package on the right gives it, and `probe` does not."""
    for names, package in rows("left `probe`"):
        for name in names.split(", "):
            assert name in importlib.import_module(package).__all__
            assert not hasattr(probe, name)


def test_the_names_in_python_are_what_the_page_says() -> None:
    """The parameters and attributes of the right column exist."""
    assert list(Network.__dataclass_fields__) == ["name", "role", "model", "pair"]
    assert list(Control.__dataclass_fields__)[:2] == ["role", "margin"]
    assert {"own_initialisation"} <= set(Claim.__dataclass_fields__)
    assert "networks" in probe.Study.__dataclass_fields__
    assert {now for _, now in rows("name was")} == {
        "Network(name, role, model, pair)",
        "Control(role, margin)",
        "Claim.own_initialisation",
        "Difference.role",
        "Study(networks=...)",
    }
