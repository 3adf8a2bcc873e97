"""What every test of the checkout needs: one thread, and files that stay whole where processes share the tests."""

from __future__ import annotations

import os

import pytest

# Before torch and numpy are imported: small networks run many times slower on two threads than on one.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

#: Tests of these files read what one process measured once; in two processes it would be measured twice.
TOGETHER = ("test_analyses", "test_battery")
#: Tests of these files take long, and share nothing but what these fixtures make.
APART = ("test_studies",)
SHARED = ("of_planted", "of_bare", "of_random")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a file's tests to one process (`-n 2 --dist loadgroup`), so that what a module makes is made once."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if item.path.stem.startswith(TOGETHER):
        return "asked once"
    if item.path.stem.startswith(APART):
        return next((name for name in SHARED if name in getattr(item, "fixturenames", ())), item.nodeid)
    return str(item.path)
