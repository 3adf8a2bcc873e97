"""Findings, which read back the same and have the same bytes twice, and intervals, which cover what they state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from refusing import refused
from torch import nn

from probe import Finding, ProbeError
from probe.evidence import DataFigure, Range, Rule, judge
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate
from probe.intervals import median_interval, share_interval
from probe.plots.style import new_figure

RULE = Rule("1", "It counts.", "accuracy", "share", "a test", Range.at_least(8 / 9), Range.at_most(0.5), needs=6)


def rows() -> pd.DataFrame:
    """Return measurements of eight networks and one null."""
    values = [(f"net/{k}", "trained", k, 0.9 + k / 300) for k in range(8)] + [("null", "null", "", 1 / 3)]
    model = nn.LSTM(1, 1)
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
    found = table, judge(table, [RULE]), (picture,)
    return Finding("counting", "Does it count?", *found, {"code": "abc"}, {"note": "It does, ä bit."})


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finding_is_one_folder_of_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Measurements, claims, each figure with its table; six digits of each number, as a seventh differs elsewhere."""
    folder = finding().write(tmp_path / "counting")
    assert (folder, files(folder)) == (tmp_path / "counting", files(finding().write(tmp_path / "again")))
    pictures = ("figures.json", "figures/line.csv", "figures/line.svg")
    assert set(files(folder)) == {"claims.json", "finding.json", "measurements.csv", *pictures}
    (entry,) = json.loads((folder / "figures.json").read_text())
    assert (entry["alt"], entry["caption"], entry["data"]) == ("It rises.", "x", "figures/line.csv")
    assert "null,null,,,,3,,,,0.333333,,,\n" in (folder / "measurements.csv").read_text()
    assert json.loads((folder / "claims.json").read_text())[0]["null"] == 0.333333
    assert (folder / "figures" / "line.csv").read_text() == "x,y\n0,1\n1,0.666667\n"


def test_a_written_finding_reads_back(tmp_path: Path) -> None:
    """Words, table, claims, figures and notes return; writing it again changes no byte."""
    written = finding()
    folder = written.write(tmp_path / "a")
    back = Finding.read(folder)
    assert ((back.question, back.title), back.provenance) == ((written.question, written.title), {"code": "abc"})
    assert back.notes == {"note": "It does, ä bit."}
    assert (back.claims[0].rule, back.claims[0].verdict) == (RULE, written.claims[0].verdict)
    assert (back.figures[0].svg, back.measurements["units"].tolist()) == (written.figures[0].svg, ["3"] * 9)
    assert back.measurements["pair"].tolist() == [*map(str, range(8)), ""]
    assert files(back.write(tmp_path / "b")) == files(folder)


def test_every_byte_of_a_finding_is_checked(tmp_path: Path) -> None:
    """A damaged number would be another result: whatever file of the folder is damaged or gone, it is not opened."""
    folder = finding().write(tmp_path / "a")
    for name, content in files(folder).items():
        for place in {0, len(content) // 3, len(content) // 2, len(content) - 3}:
            damaged = bytearray(content)
            damaged[place] ^= 4
            _ = (folder / name).write_bytes(bytes(damaged))
            with pytest.raises(ProbeError, match=r"a' cannot be read as a finding"):
                _ = Finding.read(folder)
        (folder / name).unlink()
        with pytest.raises(ProbeError, match=r"a' (cannot be read as a finding|has no)"):
            _ = Finding.read(folder)
        _ = (folder / name).write_bytes(content)
    assert Finding.read(folder).question == "counting"


def test_every_row_has_the_same_columns() -> None:
    """One tidy table for every question, with its types; a network's part must be one of the known ones."""
    table = rows()
    assert tuple(table.columns) == COLUMNS == tuple(tabulate([]).columns)
    types = {name: str(table[name].dtype) for name in ("step", "at", "n")}
    assert types == {"step": "Int64", "at": "float64", "n": "Int64"}
    assert all(isinstance(pair, str) for pair in table["pair"])
    assert table.loc[3, "value"] == pytest.approx(0.91)
    with refused():
        _ = Network("a", "teached", nn.LSTM(1, 1))


def test_the_medians_interval_is_of_two_values_or_none() -> None:
    """The binomial distribution says which, as Conover does of ten; of five 2 / 2^5 lie outside: they have none."""
    intervals = {10: (2, 9), 6: (1, 6), 5: None, 0: None}
    for count, interval in intervals.items():
        assert median_interval([float(1 + 7 * place % count) for place in range(count)], 0.95) == interval
    assert median_interval([1.0, 8.0], 0.4) == (1.0, 8.0)


@pytest.mark.parametrize(("n", "level"), [(9, 0.95), (25, 0.99), (50, 0.9)])
def test_the_medians_interval_covers_the_median_as_often_as_it_says(n: int, level: float) -> None:
    """Over 300 draws of a skewed distribution it covers the true median at its level or more often."""
    draws = np.random.default_rng(0).lognormal(size=(300, n))
    intervals = [median_interval(list(draw), level) for draw in draws]
    covered = np.mean([ends is not None and ends[0] <= 1.0 <= ends[1] for ends in intervals])
    assert covered >= level - 3 * np.sqrt(level * (1 - level) / 300)
    # The control arm: it is not simply everything that was drawn.
    if n >= 25:
        assert np.mean([ends is not None and ends[0] <= 1.6 <= ends[1] for ends in intervals]) < 0.9


def test_a_shares_interval_is_clopper_and_pearsons() -> None:
    """The textbook's numbers: 0 of 10 goes up to 1 - 0.025^(1/10); 9 of 10 from 0.555 to 0.9975."""
    assert share_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert share_interval(9, 10) == pytest.approx((0.55498, 0.99747), abs=1e-4)
    assert share_interval(9, 10, 0.5) != share_interval(9, 10)
    assert share_interval(0, 0) is None
