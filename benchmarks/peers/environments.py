"""An environment of its own for each peer, made once by pip under `build/peers/` and used again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")}
FOLDER = ROOT / "build" / "peers"
#: The package of each peer.
PEERS = {"nnsight": "nnsight"}


def python_of(peer: str) -> Path:
    """Return the Python that has the peer, after installing its newest version if there is none yet."""
    package = PEERS[peer]
    folder = FOLDER / package
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.is_file():
        sys.stderr.write(f"Installing {package} once, into build/peers/{package} ...\n")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
        stamp.touch()
    return python


def version_of(python: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
