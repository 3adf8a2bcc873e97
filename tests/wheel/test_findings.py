"""What a `Finding` promises: a folder that says everything, reads back the same, and has the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from probe import Finding, ProbeError
from probe.evidence import DataFigure, Range, Rule, judge
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
    with pytest.raises(ProbeError, match=r"a' cannot be read as a finding"):
        _ = Finding.read(folder)


def test_a_rule_changed_on_disk_is_refused(tmp_path: Path) -> None:
    """A threshold edited after the verdict is noticed by its digest."""
    folder = finding().write(tmp_path / "a")
    claims: Any = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    claims[0]["rule"]["needs"] = 3
    _ = (folder / "claims.json").write_text(json.dumps(claims), encoding="utf-8")
    with pytest.raises(ProbeError, match=r"'claims\.json' was damaged or changed after it was written"):
        _ = Finding.read(folder)
    about: Any = json.loads((folder / "finding.json").read_text(encoding="utf-8"))
    about["files"]["claims.json"] = digests.of_file(folder / "claims.json")
    _ = (folder / "finding.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ProbeError, match=r"it was changed after it was written: its digest differs"):
        _ = Finding.read(folder)
    del about["sha256"]
    _ = (folder / "finding.json").write_text(json.dumps(digests.sealed(about)), encoding="utf-8")
    with pytest.raises(ProbeError, match="was changed after it was judged"):
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

    with pytest.raises(ProbeError, match=r"role='teached' is none of trained, own initialisation"):
        _ = Network("a", "teached", torch.nn.LSTM(1, 1))
