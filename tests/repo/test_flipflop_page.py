"""The flip-flop's page: what it says follows from the findings, and the findings from what was measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from claims_told import check_table, check_told, points, tally

from analyses.__main__ import run
from analyses.flipflop import page, pictures
from analyses.flipflop.pictures import BIT, STEP
from analyses.flipflop.study import CALLED, CELLS, FOLDER, NAMES, QUESTIONS
from probe import Finding
from probe.evidence.measurements import only
from probe.studies import store

COMMITTED = Path(__file__).parents[2] / "reports" / "flipflop" / "index.html"


@pytest.mark.exhaustive
def test_the_committed_page_says_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdicts are printed; `--pages` judges nothing, and writes the page; no other question is asked.

    Each claim stands in its section and in the table, with its cell's number; one open cell is asked about.
    """
    where = ["--findings", str(tmp_path), "--out", str(tmp_path / "page")]
    assert run(["flipflop", *where]) == 0
    printed = capsys.readouterr().out
    assert printed.count("established\n") > printed.count("F5   undecided\n") == 3
    page_of_all = (tmp_path / "page" / "index.html").read_bytes()
    assert run(["flipflop", "--pages", *where]) == 0
    assert (tmp_path / "page" / "index.html").read_bytes() == page_of_all
    assert run(["flipflop", "step-answer"]) == 1
    assert "Did you mean 'step_answers'?" in capsys.readouterr().err
    names = [f"{cell}-{one.name}" for cell in CELLS for one in QUESTIONS]
    findings = {name: Finding.read(tmp_path / name) for name in names}
    text = COMMITTED.read_text(encoding="utf-8")
    claims = [claim for finding in findings.values() for claim in finding.claims]
    check_table(text, claims)
    assert +tally(text) == Counter(claim.verdict for claim in claims)
    check_told(points(text), claims)
    name = "rnn-stable_answers"
    first, *others = findings[name].claims
    asked = replace(findings[name], claims=(replace(first, verdict="undecided"), *others))
    for one, said in ((findings[name], first.rule.on_page), (asked, asked.title)):
        given = findings | {name: one}
        answers = {one.name: {CALLED[cell]: given[f"{cell}-{one.name}"] for cell in CELLS} for one in QUESTIONS}
        built = page.build(answers)
        assert f">{said}.</strong>" in built.render()
        assert all(section.title in text for section in built.sections[1:])


def test_what_is_drawn_of_one_network_is_what_the_table_counts() -> None:
    """As many fixed points of each kind, stable ones at their answers; a saddle parts two that differ in a bit."""
    found, ways = pictures.points(pictures.shown())
    name = "flipflop-gru/seed-4000"
    table = only(store.read(FOLDER / "gru.csv.xz")[name].tables["stable_answers"], network=name)
    counts = only(table, metric="points_unstable_in").set_index("at")["value"]
    assert {number: (found["unstable"] == number).sum() for number in counts.index} == counts.to_dict()
    stable = found[found["unstable"] == 0]
    signs = np.array([[float(part) for part in answer.split(",")] for answer in stable["answer"]])
    assert np.abs(stable[list(NAMES)].to_numpy() - signs).max() < 0.2
    ends = [[end.split(",") for end in both.split(" and ")] for both in found[found["unstable"] == 1]["answer"]]
    assert [sum(a != b for a, b in zip(*both, strict=True)) for both in ends] == [1] * len(ways)
    assert len({str(sorted(both)) for both in ends}) == counts[1] == len(ways)
    # An interchange changes one bit from the patch on until its next pulse, and no other bit.
    pulses, base, patched = pictures.one_interchange(pictures.shown())
    until = STEP + 1 + int(np.flatnonzero(pulses[STEP + 1 :, BIT])[0])
    differ = np.sign(patched) != np.sign(base)
    assert differ[STEP + 1 : until, BIT].all()
    assert not differ[until:, BIT].any()
    assert not np.delete(differ[STEP:], BIT, axis=1).any()
    assert np.isnan(patched[:STEP]).all()
