"""Behind every sentence of the counter's pages with a number stands a claim, a measurement or a rule."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import sentences

#: A claim's key, as it stands in a row.
KEY = re.compile(r"\b(?:II\.|III\.)?(?:\d+[a-z]?|T\d)\b")
A_PAGE = """<main class="page"><h1>Two cells</h1><p>In <b>3</b> of 4 networks. After a 1 it waits.</p>
<div class="explorer"><p>5 units</p></div><svg><text>6</text></svg><p>Seven in <a href="#x">ten</a>.</p></main>"""


@pytest.mark.parametrize("page", sorted(sentences.PAGES.glob("*.html")), ids=lambda page: page.stem)
def test_every_sentence_with_a_number_has_what_it_rests_on_and_a_weight(page: Path) -> None:
    """In the rows beside the command, or, of a line of a claim, in the claim."""
    said = list(sentences.said_of(page))
    assert len(said) > 10
    assert [one.sentence for one in said if not one.rests_on or not one.weight] == []


def test_no_row_is_left_of_a_sentence_that_is_gone() -> None:
    """Each row is the longest beginning of some sentence."""
    rows, used = sentences.sources(), set[str]()
    for page in sentences.PAGES.glob("*.html"):
        for one in sentences.said_of(page):
            used.add(sentences.begun(one.sentence, rows))
    assert [begins for begins in rows if begins not in used] == []


def test_rows_name_claims_that_there_are() -> None:
    """By the keys of findings.json; 23a and 23b are among them, replaced rules are not."""
    text = (sentences.PAGES / "findings.json").read_text(encoding="utf-8")
    known = {claim["key"] for claim in json.loads(text)["claims"]}
    for begins, (rests_on, _) in sentences.sources().items():
        named = [word.strip() for word in re.split(r"[,;:]| of | and ", rests_on)]
        keys = {word for word in named if KEY.fullmatch(word) and not word.isdigit()}
        assert keys <= known, begins


def test_sentences_are_read_out_of_headings_and_paragraphs_alone(tmp_path: Path) -> None:
    """Not out of drawings and the explorer, and a bit is no number; what has no row says so."""
    page = tmp_path / "page.html"
    page.write_text(A_PAGE, encoding="utf-8")
    found = list(sentences.said_of(page))
    assert [one.sentence for one in found] == ["Two cells", "In 3 of 4 networks.", "Seven in ten."]
    assert {one.rests_on for one in found} == {""}


def test_a_sentence_without_a_row_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here each that no claim stands behind, as the table of rows is empty; drawing shows some and judges all."""
    empty = tmp_path / "sentences.csv"
    empty.write_text("begins,rests on,weight\n", encoding="utf-8")
    assert sentences.main(draw=2) == 0
    monkeypatch.setattr(sentences, "SOURCES", empty)
    assert sentences.main(draw=2) == 1
    assert "without a row in sentences.csv" in capsys.readouterr().out.splitlines()[-1]
