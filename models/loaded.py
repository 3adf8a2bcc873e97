"""The project's code as it was when this process began to load it: a worker lives on while files are edited."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("probe", "models", "analyses")
#: The text of every module by its path. Read before any module that computes is loaded, see `models.parallel`.
TEXTS = {
    path: path.read_text(encoding="utf-8")
    for package in PACKAGES
    for depth in ("*.py", "*/*.py", "*/*/*.py")
    for path in ROOT.joinpath(package).glob(depth)
}
