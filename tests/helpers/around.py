"""What every test has around it: one thread, the same random numbers, and figures that are looked at and closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# Before torch is imported: small networks run many times slower on two threads than on one.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import painted
import pictured
import pytest
import torch

from probe.recurrent.steps import forms, registry

torch.set_num_threads(1)
painted.watch()
pictured.watch()


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """Start every test from the same random numbers, leave no figure open and no layer registered."""
    torch.manual_seed(0)
    registered: list[Any] = [(known, dict(known)) for known in (registry._registered, forms.registered_cells)]
    yield
    plt.close("all")
    for known, before in registered:
        known.clear()
        known.update(before)


@pytest.fixture(autouse=True)
def one_colour_one_meaning() -> Iterator[None]:
    """Hold every figure that the package or an analysis drew in a test against the table of colours."""
    yield
    found = [*pictured.of_library(), *painted.looked_at()]
    assert not found, found


@pytest.fixture(autouse=True)
def nothing_is_lost() -> Iterator[None]:
    """Look at every figure with data that the package or an analysis drew in a test: all of it must be seen."""
    yield
    found = pictured.lost()
    assert not found, found
