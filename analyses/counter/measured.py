"""The stored measurements of the counter's study: where they lie, what they are tied to, and what measured them."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from analyses.counter import QUESTIONS, common
from models.counter import Coded
from probe.evidence.measurements import Network

FOLDER = Path(__file__).parent / "measured"
#: Where workers write, one file a group, until a population's are packed.
PARTS = common.REPOSITORY / "build" / "measured"
AGAIN = "`make study` measures what is missing and keeps the rest."


def versions(questions: Iterable[str] = QUESTIONS) -> dict[str, int]:
    """Return the version of the definition of each of some questions, `VERSION` of its module, in a page's order."""
    asked = set(questions)
    return {name: import_module(f"analyses.counter.{name}").VERSION for name in QUESTIONS if name in asked}


@cache
def environment() -> dict[str, str]:
    """Return what measures here: Python, libraries, and the commit of the code.

    The commit has a `+` where files were changed.
    """
    found = {"python": platform.python_version()} | {name: version(name) for name in common.LIBRARIES}
    try:
        words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, cwd=common.REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return found | {"commit": "unknown"}
    return found | {"commit": done.stdout.strip()}


def digests(networks: Iterable[Network]) -> dict[str, str]:
    """Return what each network's measurements are tied to: a digest of its weights, `+`, one of its inputs."""
    return {network.name: f"{common.weights_of(network)[:16]}+{_inputs(network)[:16]}" for network in networks}


def _inputs(network: Network) -> str:
    """Return the SHA-256 of what a network is given: the strings in its code of bits, its split and its question."""
    own = network if isinstance(network, common.Studied) else common.Studied("", "", network.model)
    code = (own.model.zero, own.model.one) if isinstance(own.model, Coded) else (0.0, 1.0)
    given = json.dumps([code, own.train, own.test, own.asked]).encode()
    return hashlib.sha256(common.STRINGS.numpy().tobytes() + given).hexdigest()
