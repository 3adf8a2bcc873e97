"""A site publishes pages as they were written: with their content security policy, and scripts that it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from refusing import refused

from probe.command_line import main
from probe.report import Page, Section, Table, Text
from probe.studies.pages.site import write_site

FOREIGN = "<script>alert(1)</script>"
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n')


def written(folder: Path) -> Path:
    """Write a study's page with a table that sorts, so that it has a script of ours."""
    rows = Table(["a", "b"], [[1, 2], [2, 1]], "Two rows.", sortable=True)
    page = Page("What it <learned>", "It counts.", [Section("One", [rows, Text("<script>x</script>")], key="one")])
    return page.write(folder / "index.html")


def test_a_page_as_it_was_written_is_published(tmp_path: Path) -> None:
    """Also from a site, in which the same page lies already; the site's own index is such a page too."""
    _ = written(tmp_path / "one")
    assert "<script>" in (tmp_path / "one" / "index.html").read_text()
    assert main.run(["site", str(tmp_path / "one"), "-o", str(tmp_path / "site")]) == 0
    assert (
        main.run(["site", str(tmp_path / "site" / "one"), str(tmp_path / "site"), "-o", str(tmp_path / "all")]) == 0
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: POLICY.sub("", text), "does not begin with the content security policy"),
        (lambda text: POLICY.sub("", text).replace("</body>", f"{FOREIGN}</body>"), "does not begin"),
        (lambda text: text.replace("</body>", f"{FOREIGN}</body>"), r"does not name \('alert\(1\)'\)"),
        (lambda text: text.replace("</body>", '<script src="https://a.org/x.js"></script></body>'), "not name"),
        (lambda text: text.replace("<script>", "<script>alert(1);", 1), "does not name"),
        (lambda text: text.replace("script-src ", "script-src &#39;unsafe-inline&#39; "), "does not begin"),
        (lambda text: text.replace("script-src ", "script-src https://a.org "), "does not begin"),
        (lambda text: text.replace("default-src &#39;none&#39;", "default-src *"), "does not begin"),
        (lambda text: text.replace("<head>\n", f"<head>\n{FOREIGN}"), "does not begin"),
        (lambda text: text.replace("<head>\n", "<head>\n<!-- -->\n<body>"), "does not begin"),
    ],
)
def test_a_page_that_somebody_changed_is_not_published(
    change: Callable[[str], str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written; the sentence names the file and what to do, and done so the page is published."""
    path = written(tmp_path / "one")
    text = path.read_text()
    assert change(text) != text
    _ = path.write_text(change(text))
    assert main.run(["site", str(tmp_path / "one"), "-o", str(tmp_path / "site")]) == 1
    message = capsys.readouterr().err
    assert re.search(said, message)
    assert str(path) in message
    assert "Write it again, with rnn-probe report" in message
    assert not (tmp_path / "site").exists()
    _ = written(tmp_path / "one")
    assert main.run(["site", str(tmp_path / "one"), "-o", str(tmp_path / "site")]) == 0


def test_a_page_that_lies_in_the_site_already_is_read_too(tmp_path: Path) -> None:
    """It is not copied, and would be linked."""
    path = written(tmp_path / "one")
    _ = path.write_text(POLICY.sub("", path.read_text()))
    with refused():
        _ = write_site([tmp_path / "one"], tmp_path)
