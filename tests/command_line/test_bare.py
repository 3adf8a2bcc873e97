"""The wheel without its extras: all but four formats works, and these say what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BARE = Path(__file__).with_name("bare.py")


def test_all_but_formats_needs_no_extra_and_these_name_their_own() -> None:
    """A process that cannot import the libraries of any extra loads, records, edits, draws, studies and saves."""
    done = subprocess.run([sys.executable, "-W", "error", BARE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["xarray", "h5py"])
def test_the_refusal_would_notice(library: str) -> None:
    """The control arm: in such a process a library of an extra cannot be imported."""
    code = f"import sys, bare; sys.meta_path.insert(0, bare.Refuse()); import {library}"
    done = subprocess.run([sys.executable, "-c", code], cwd=BARE.parent, capture_output=True, text=True, check=False)
    assert f"ModuleNotFoundError: No module named '{library}'" in done.stderr
