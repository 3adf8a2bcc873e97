"""Writes the pictures of docs/gallery.md and docs/start.md: `make gallery` runs their code and keeps what it saves.

A picture keeps 256 colours, which takes it below 40 kB.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from probe.command_line.shell import command, run

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs/gallery"
PAGE, CODE = GALLERY.with_suffix(".md"), GALLERY.with_suffix(".py")
START = ROOT / "docs/start.md"
COLOURS = 256


def scripts() -> dict[str, str]:
    """Return the code below each picture of the gallery, behind what stands first, by the picture's name."""
    parts = re.findall(r"\[start:(\w+)\]\n(.*?)# --8<--", CODE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (_, first), *others = parts
    return {name: first + code for name, code in others}


def made(name: str, code: str, folder: Path) -> Path:
    """Run code in a folder and return the picture that it saved there.

    Raises:
        ValueError: it saved none of that name, or another file beside it.
    """
    _run(code, folder)
    files = sorted(folder.iterdir())
    if [file.stem for file in files] != [name]:
        raise ValueError(f"The code of {name} saved {[file.name for file in files]}, not one picture of that name.")
    return files[0]


def started(folder: Path) -> list[Path]:
    """Run the code of docs/start.md in a folder, and return the pictures that it saved there."""
    blocks = re.findall(r"^```python run\n(.*?)^```$", START.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    _run("".join(blocks), folder)
    return sorted(folder.glob("*.png"))


def _run(code: str, folder: Path) -> None:
    plt.close("all")
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(code, {"__name__": "page"})
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


app = command("python -m benchmarks.gallery")


@app.default
def main() -> None:
    """Draw the pictures of docs/gallery.md and docs/start.md anew."""
    for name, code in scripts().items():
        with tempfile.TemporaryDirectory() as room:
            found = made(name, code, Path(room))
            _ = (GALLERY / found.name).write_bytes(small(found))
    with tempfile.TemporaryDirectory() as room:
        for found in started(Path(room)):
            _ = (START.with_suffix("") / found.name).write_bytes(small(found))


if __name__ == "__main__":
    sys.exit(run(app))
