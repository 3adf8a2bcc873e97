"""Writes the pictures of docs/gallery.md and docs/start.md: `make gallery` runs their code and keeps what it saves.

A picture keeps 256 colours, which takes it below 40 kB.
"""

from __future__ import annotations

import io
import os
import re
import runpy
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs/gallery"
START = ROOT / "docs/start.md"
COLOURS = 256


def scripts() -> list[Path]:
    """Return the scripts of the gallery."""
    return sorted(GALLERY.glob("*.py"))


def made(script: Path, folder: Path) -> Path:
    """Run a script in a folder and return the picture that it saved there.

    Raises:
        ValueError: it saved none, or another file beside it.
    """
    _run(script, folder)
    files = sorted(folder.iterdir())
    if [file.stem for file in files] != [script.stem]:
        raise ValueError(f"{script.name} saved {[file.name for file in files]}, not one picture named {script.stem}.")
    return files[0]


def started(folder: Path) -> list[Path]:
    """Run the code of docs/start.md in a folder, and return the pictures that it saved there."""
    blocks = re.findall(
        r"^```python run\n(.*?)^```$", START.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    script = folder / "start.py"
    _ = script.write_text("".join(blocks), encoding="utf-8")
    _run(script, folder)
    return sorted(folder.glob("*.png"))


def _run(script: Path, folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        runpy.run_path(str(script))
    finally:
        os.chdir(before)


def small(picture: Path) -> bytes:
    """Return a picture with few colours; a text as it is."""
    if picture.suffix != ".png":
        return picture.read_bytes()
    with Image.open(picture) as opened:
        few = opened.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    for one in scripts():
        with tempfile.TemporaryDirectory() as room:
            found = made(one, Path(room))
            _ = (GALLERY / found.name).write_bytes(small(found))
    with tempfile.TemporaryDirectory() as room:
        for found in started(Path(room)):
            _ = (START.with_suffix("") / found.name).write_bytes(small(found))
