"""The gallery: every script runs and saves its picture, which is the committed one, and the page shows each."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import painted
import pictured
import pytest
from PIL import Image

from benchmarks.gallery import GALLERY, ROOT, made, scripts, small
from probe import plots

PAGE = (ROOT / "docs/gallery.md").read_text()
#: Other processors round a value differently, and a line then stands a fraction of a pixel elsewhere.
SEEN, SHARE = 64, 0.01


def pixels(picture: bytes) -> np.ndarray:
    """Return a picture as numbers."""
    with Image.open(io.BytesIO(picture)) as opened:
        return np.asarray(opened.convert("RGB"), dtype=int)


def alike(one: bytes, other: bytes) -> bool:
    """Return whether two pictures are of one size and differ visibly in fewer than one of a hundred pixels."""
    first, second = pixels(one), pixels(other)
    return first.shape == second.shape and float((np.abs(first - second).max(axis=2) > SEEN).mean()) < SHARE


def rounded(html: str) -> str:
    """Return a text without its last digits."""
    return re.sub(r"(\d\.\d)\d+", r"\1", html)


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_a_script_makes_the_committed_picture(script: Path, tmp_path: Path) -> None:
    """In an empty folder; otherwise `make gallery` writes it again. None weighs over 40 kB, or lacks a dot."""
    picture = made(script, tmp_path)
    drawn = painted.figures()
    assert len(drawn) == (picture.suffix == ".png")
    assert [fault for figure in drawn for fault in pictured.faults(figure, picture.read_bytes())] == []
    committed = (GALLERY / picture.name).read_bytes()
    assert len(committed) < 40_000
    if picture.suffix == ".png":
        assert alike(small(picture), committed), "run `make gallery`"
    else:
        assert rounded(picture.read_text()) == rounded(committed.decode()), "run `make gallery`"


def test_another_picture_would_be_noticed(tmp_path: Path) -> None:
    """The control arm: another size, and a line elsewhere, are found."""
    one, other = (Image.new("RGB", (100, 100), "white") for _ in range(2))
    for column in range(100):
        other.putpixel((column, 40), (0, 0, 0))
        other.putpixel((column, 41), (0, 0, 0))
    found = []
    for number, picture in enumerate((one, other, one.resize((100, 90)))):
        picture.save(tmp_path / f"{number}.png")
        found.append(small(tmp_path / f"{number}.png"))
    assert [alike(found[0], other) for other in found] == [True, False, False]


def test_a_script_that_saves_nothing_is_refused(tmp_path: Path) -> None:
    """The control arm: a picture under another name is none."""
    script = tmp_path / "one.py"
    script.write_text("open('two.png', 'wb').close()")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"one.py saved \['two.png'\], not one picture named one"):
        _ = made(script, tmp_path / "empty")


def test_the_page_shows_every_picture_with_its_script() -> None:
    """And nothing else lies in the folder."""
    names = [script.stem for script in scripts()]
    assert sorted(re.findall(r'^--8<-- "docs/gallery/(\w+)\.py"$', PAGE, flags=re.MULTILINE)) == names
    pictures = re.findall(r"!\[[^\]]{20,}\]\(gallery/(\w+\.png)\)|src=\"gallery/(\w+\.html)\"", PAGE)
    assert sorted("".join(one) for one in pictures) == sorted(
        file.name for file in GALLERY.iterdir() if file.suffix in (".png", ".html")
    )
    assert len(pictures) == len(names)


def test_the_gallery_has_every_plot() -> None:
    """Each public function of `probe.plots` is called by a script."""
    code = "\n".join(script.read_text() for script in scripts())
    assert [name for name in plots.__all__ if name.islower() and not re.search(rf"plots?\.{name}\(", code)] == []
