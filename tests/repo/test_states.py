"""The section of docs/speed.md that `python -m benchmarks.states` writes."""

from __future__ import annotations

from benchmarks.states import CASES, PAGE, TITLE, written


def test_the_section_stands_in_place_of_an_older_one() -> None:
    """What is before and behind it stays, and written once more nothing changes."""
    lines = [TITLE, "", "new"]
    page = f"# Scale\n\nAbove.\n\n{TITLE}\n\nold\n\n## Other\n\nBelow.\n"
    found = written(page, lines)
    assert found == f"# Scale\n\nAbove.\n\n{TITLE}\n\nnew\n\n## Other\n\nBelow.\n"
    assert written(found, lines) == found
    alone = written("# Scale\n\nAbove.\n", lines)
    assert alone == f"# Scale\n\nAbove.\n\n{TITLE}\n\nnew\n"
    assert written(alone, lines) == alone


def test_the_committed_section_has_every_case() -> None:
    """A row for each."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(TITLE)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(CASES)
