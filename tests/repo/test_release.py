"""What is built of a version, what its page in a package index shows, and what a release asks for before.

That the wheel passes the tests of the sdist where there is no checkout, .ci/run tries.
"""

from __future__ import annotations

import configparser
import email
import re
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import markdown
import pytest

import probe
from tests.repo.test_house_rules import ROOT, tracked

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
ADDRESS = SETTINGS["project"]["urls"]["Repository"]


def build(folder: Path, target: str, to: Path) -> dict[str, bytes]:
    """Build the wheel or the sdist of a folder, without isolation, which needs no network; return its files."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(to)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    if target == "wheel":
        archive = zipfile.ZipFile(next(to.glob("*.whl")))
        return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(next(to.glob("*.tar.gz"))) as packed:
        packed.extractall(to, filter="data")
    unpacked = to / f"rnn_probe-{probe.__version__}"
    return {str(file.relative_to(unpacked)): file.read_bytes() for file in unpacked.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the wheel."""
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def kept(*starts: str) -> set[str]:
    """Return the files of the checkout whose paths start so."""
    return {name for name in (file.relative_to(ROOT).as_posix() for file in tracked()) if name.startswith(starts)}


def test_the_wheel_holds_the_library_and_nothing_else(wheel: dict[str, bytes]) -> None:
    """One import package, its data files, the licence and every entry point; no tests, no models."""
    library, info = sorted({name.split("/")[0] for name in wheel})
    assert (library, info.endswith(".dist-info")) == ("probe", True)
    assert f"{info}/licenses/LICENSE" in wheel
    assert {name for name in wheel if name.startswith("probe/")} == kept("probe/")
    # A colon in a name ends it for Python's own parser, which then meets one name twice and refuses the file.
    parser = configparser.ConfigParser()
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] (names keep their capitals)
    parser.read_string(wheel[f"{info}/entry_points.txt"].decode())
    declared = SETTINGS["project"]["entry-points"]
    assert {group: dict(parser[group]) for group in declared} == declared


def test_the_sdist_holds_tests_and_docs_and_gives_the_same_wheel(wheel: dict[str, bytes], tmp_path: Path) -> None:
    """All that git has of the library, of the rooms' tests and of the documentation, and what these need."""
    files = build(ROOT, "sdist", tmp_path)
    left = kept(*(f"{one[1:]}/" for one in SETTINGS["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]))
    alone = {"pyproject.toml", "hatch_build.py", "mkdocs.yml", "LICENSE", "CITATION.cff", ".gitignore", "PKG-INFO"}
    alone |= {file.name for file in ROOT.glob("*.md")}
    assert set(files) == (kept("probe/", "tests/", "docs/") - left) | alone
    assert build(tmp_path / f"rnn_probe-{probe.__version__}", "wheel", tmp_path) == wheel


def targets(text: str) -> list[str]:
    """Return what the links and pictures of a text in Markdown lead to, as a browser has them."""
    return re.findall(r'(?:href|src)="([^"]*)"', markdown.markdown(text, extensions=["fenced_code"]))


def test_readme_as_it_is_uploaded_has_no_relative_link(wheel: dict[str, bytes], tmp_path: Path) -> None:
    """Each leads to a file of the checkout, as it is at the tag; code, addresses and headings stay as they are."""
    (uploaded,) = (content.decode() for name, content in wheel.items() if name.endswith("/METADATA"))
    readme, shown = (ROOT / "README.md").read_text(), email.message_from_string(uploaded).get_payload()
    assert isinstance(shown, str)
    at, pictures = f"{ADDRESS}/blob/v{probe.__version__}/", f"{ADDRESS}/raw/v{probe.__version__}/"
    assert len(targets(readme)) == len(targets(shown)) > 10
    assert f"{pictures}reports/counter/hundred.png" in targets(shown)
    assert [one for one in targets(shown) if not one.startswith((at, pictures))] == []
    assert [one.removeprefix(at).removeprefix(pictures) for one in targets(shown)] == targets(readme)
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["AbsoluteLinks"](str(tmp_path), {})
    (tmp_path / "README.md").write_text("```python\na[0](b)\n```\n[c](https://d.e) [f](#g) [![h](i.svg)](j.md#k)")
    metadata = {"urls": {"Repository": "//l"}, "version": "1"}
    hook.update(metadata)
    made = "```python\na[0](b)\n```\n[c](https://d.e) [f](#g) [![h](//l/raw/v1/i.svg)](//l/blob/v1/j.md#k)"
    assert metadata["readme"] == {"content-type": "text/markdown", "text": made}


#: What stands in a file when all is done, and there a word and what it was before.
READY = {
    "pyproject.toml": ('[project.urls]\nRepository = "https://a.b/me"\n', "me", "OWNER"),
    "probe/__init__.py": ('__version__ = "1.2.3"\n', "1.2.3", "1.2.4"),
    "CHANGELOG.md": ("# Changelog\n\n## 1.2.3 (2030-01-02)\n", "2030-01-02", "unreleased"),
    "CITATION.cff": ("version: 1.2.3\ndate-released: 2030-01-02\nrepository-code: https://a.b/me", "2030", "2029"),
    "README.md": ("pip install rnn-probe # in a package", "in a package", "not in a package index"),
    "docs/index.md": ("pip install rnn-probe # in a package", "in a package", "not in a package index"),
}


def test_a_release_is_refused_until_all_is_filled_in(tmp_path: Path) -> None:
    """Each thing left undone is an obstacle. The newest version of the changelog is this one, dated or unreleased."""
    obstacles = runpy.run_path(str(ROOT / ".ci/release.py"))["obstacles"]
    assert ("OWNER" in ADDRESS) == any("OWNER" in sentence for sentence in obstacles(ROOT, f"v{probe.__version__}"))
    for room in ("probe", "docs"):
        (tmp_path / room).mkdir()
    for undone in ["", *READY]:
        for name, (text, done, before) in READY.items():
            (tmp_path / name).write_text(text.replace(done, before) if name == undone else text)
        found = obstacles(tmp_path, "v1.2.3")
        assert any(sentence.startswith((undone, "The tag")) for sentence in found) == bool(undone) == bool(found)
    heading = re.findall(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[0]
    assert re.fullmatch(rf"## {re.escape(probe.__version__)} \((unreleased|\d{{4}}-\d\d-\d\d)\)", heading)
