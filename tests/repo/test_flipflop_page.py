"""The flip-flop's page: what it says follows from the tables, and the tables from the weights that are here."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure

from analyses.flipflop import command, measuring, page, pictures, verdicts
from analyses.flipflop.shown import BIT, NAMES, STEP, Shown, shown
from probe.command_line import main
from probe.evidence import DataFigure
from probe.report import Page, Section, Text

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "reports" / "flipflop" / "index.html"


@cache
def tables() -> dict[str, pd.DataFrame]:
    """Return the committed measurements."""
    return {cell: measuring.read(cell) for cell in measuring.CELLS}


@cache
def one() -> Shown:
    """Return the network that the page draws."""
    return shown()


def headings(of: Page) -> dict[str, str]:
    """Return the headings of a page by their anchors."""
    return {section.key: section.title for section in of.sections}


def changed(cell: str, metric: str, pair: int, value: float, role: str = "trained") -> dict[str, pd.DataFrame]:
    """Return the tables with one value changed."""
    table = tables()[cell].copy()
    table.loc[(table["metric"] == metric) & (table["pair"] == str(pair)) & (table["role"] == role), "value"] = value
    return tables() | {cell: table}


def test_the_tables_are_of_the_weights_that_are_here() -> None:
    """So that nothing is measured again where nobody changed anything."""
    assert [cell for cell in measuring.CELLS if not measuring.is_current(cell)] == []


def test_a_table_of_other_weights_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one of another version, one that was cut off, one that nothing describes, and one that is missing."""
    committed = tables()
    monkeypatch.setattr(measuring, "FOLDER", tmp_path)
    cell, about = "gru", measuring.about("gru")
    assert about == {}
    source = ROOT / "analyses" / "flipflop" / "measured"
    table, described = (source / f"{cell}{ending}" for ending in (".csv.xz", ".json"))
    whole = json.loads(described.read_text())
    for content, made_from, current in (
        (table.read_bytes(), whole, True),
        (table.read_bytes()[:-1], whole, False),
        (table.read_bytes(), whole | {"version": 0}, False),
        (table.read_bytes(), whole | {"weights": "0"}, False),
        (table.read_bytes(), [], False),
    ):
        _ = (tmp_path / table.name).write_bytes(content)
        _ = (tmp_path / described.name).write_text(json.dumps(made_from))
        assert measuring.is_current(cell) is current
    (tmp_path / table.name).unlink()
    written: list[str] = []
    monkeypatch.setattr(measuring, "write", written.append)
    monkeypatch.setattr(measuring, "read", lambda cell: committed[cell])
    assert list(measuring.tables()) == list(measuring.CELLS)
    assert written == list(measuring.CELLS)


def test_the_committed_page_has_the_sections_of_today() -> None:
    """Its headings are what the committed tables say."""
    text = COMMITTED.read_text(encoding="utf-8")
    for key, heading in headings(page.build(tables(), one())).items():
        assert f'id="{key}"' in text
        assert heading in text


@pytest.mark.parametrize(
    ("cell", "metric", "value", "key", "heading"),
    [
        ("lstm", "one_stable_each", 0.0, "corners", "in 29 of 30 networks"),
        ("gru", "worst_step_error", 0.5, "task", "29 of 30 networks answer all"),
        ("rnn", "worst_followed", 0.5, "interchange", "in 29 of 30 networks"),
    ],
)
def test_the_headings_follow_the_tables(cell: str, metric: str, value: float, key: str, heading: str) -> None:
    """One network that is otherwise is counted."""
    assert heading not in headings(page.build(tables(), one()))[key]
    assert heading in headings(page.build(changed(cell, metric, 3000, value), one()))[key]


def test_saddles_are_counted_where_a_network_has_none() -> None:
    """A number of unstable directions that no point of a network has is 0, and not left out."""
    counts = page.unstable(tables()["gru"])
    assert counts.shape == (10, 4)
    assert counts[0].tolist() == [8] * 10
    assert 0 in counts[3].tolist()


def test_why_a_claim_is_undecided_is_said_with_its_numbers() -> None:
    """The score of one fitted head divides two differences, which are those of the table beside the sentence."""
    claims = {cell: measuring.claims(table) for cell, table in tables().items()}
    others = [(cell, one.rule.key) for cell in claims for one in claims[cell] if one.verdict != "established"]
    assert others == [("rnn", "F4")]
    section: Section = verdicts.section(tables(), claims)
    (said,) = [block for block in section.blocks if isinstance(block, Text) and "undecided" in str(block)]
    rows = tables()["rnn"].query("pair == '3007' and role == 'fitted head' and kind == 'bit 2'").set_index("metric")
    part, whole = (
        rows["value"][name] - rows["value"]["followed_unpatched"] for name in ("followed", "followed_whole")
    )
    assert f"divides {part:.3f} by {whole:.3f}" in str(said)
    assert rows["value"]["followed_score"] == pytest.approx(part / whole)


def test_what_is_drawn_of_one_network_is_what_the_table_counts() -> None:
    """As many fixed points of each kind; the stable ones stand at their answers; saddles part two of them."""
    points = one().points
    counts = page.unstable(tables()["gru"]).loc["flipflop-gru/seed-3000"]
    assert [int((points["unstable"] == number).sum()) for number in range(4)] == list(counts)
    stable = points[points["unstable"] == 0]
    signs = np.array([[float(part) for part in answer.split(",")] for answer in stable["answer"]])
    assert np.abs(stable[list(NAMES)].to_numpy() - signs).max() < 0.1
    assert len({frozenset(ends) for _, ends in one().flows}) == counts[1]


def test_the_interchange_that_is_drawn_changes_one_bit_until_its_next_pulse() -> None:
    """From the patch on, and no other bit."""
    found = one().interchange
    assert found.changed == found.until - STEP - 1
    assert found.others == 0
    assert np.isnan(found.patched[:STEP]).all()
    assert found.pulses[STEP + 1 : found.until, BIT].tolist() == [0.0] * (found.until - STEP - 1)


def test_an_answer_stands_until_the_pulse_that_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the picture as in the table: just before each step the line is where the answer after the last step is."""
    found: list[Figure] = []
    picture = pictures.picture

    def kept(draw: Callable[[], Figure], **words: Any) -> DataFigure:
        found.append(draw())
        return picture(lambda: found[-1], **words)

    monkeypatch.setattr(pictures, "picture", kept)
    _ = [pictures.task(one()), pictures.interchange(one())]
    lines = [line for figure in found for ax in figure.axes for line in ax.lines if str(line.get_label())[0] != "_"]
    assert len(lines) == 3 + 2 * 3
    for line in lines:
        steps, values = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        across, up = STEP_LOOKUP_MAP[line.get_drawstyle()](steps, values)
        before = np.interp(steps[1:] - 0.01, across, up)
        assert before == pytest.approx(values[:-1], nan_ok=True)


def test_one_line_builds_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of the analyses and that of the library write the same page, and the first prints the verdicts."""
    assert command.run(["--out", str(tmp_path / "one")]) == 0
    printed = capsys.readouterr().out
    assert "rnn F4: undecided" in printed
    assert printed.endswith(f"{tmp_path / 'one' / 'index.html'} {COMMITTED.stat().st_size} bytes\n")
    study = ROOT / "analyses" / "flipflop"
    assert main.run(["report", str(study), "-o", str(tmp_path / "other")]) == 0
    pages = [(tmp_path / name / "index.html").read_bytes() for name in ("one", "other")]
    assert pages[0] == pages[1]


def test_wrong_usage_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No processes, and an option that there is not."""
    assert command.run(["--jobs", "0"]) == 2
    assert "--jobs is 0; give 1 or more" in capsys.readouterr().err
    assert command.run(["--cell", "gru"]) == 2
