"""Computes and checks the digest that a written file carries of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import check_regular

#: What a digest is called in a file of JSON.
KEY = "sha256"


def canonical(value: Any) -> bytes:
    """Return JSON that is the same for the same values, however their file is laid out."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def of_bytes(*contents: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes."""
    found = hashlib.sha256()
    for content in contents:
        found.update(content)
    return found.hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file, which is read piece by piece."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value with the digest of all else in it."""
    return {**value, KEY: of_bytes(canonical(value))}


def check_seal(value: Any) -> None:
    """Raise ValueError where a value is not as `sealed` returned it."""
    if not isinstance(value, dict) or KEY not in value:
        raise ValueError("it says no digest of what was written")
    rest = {name: one for name, one in value.items() if name != KEY}
    if of_bytes(canonical(rest)) != value[KEY]:
        raise ValueError("it was changed after it was written: its digest differs")
