"""LEACE against concept-erasure 0.2.4, its authors' own package (Belrose et al. 2023): tests/data/leace.npz.

tests/data/leace.py of commit 337f2836 made that file: without shrinkage and limit on the trace, values down to 1e-8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probe.methods.causal.erasure import leace

STORED = np.load(Path(__file__).parents[1] / "data" / "leace.npz")


@pytest.mark.parametrize("case", ["one_hot", "scalar", "constant_unit", "rank_deficient", "few_states"])
def test_leace_is_that_of_the_package_concept_erasure(case: str) -> None:
    """Erased states, and other states erased by the same map, equal the package's to 1e-10."""
    found = leace(STORED[f"{case}/states"], STORED[f"{case}/concept"])
    for part in ("states", "fresh"):
        wanted = STORED[f"{case}/{'erased' if part == 'states' else 'fresh_erased'}"]
        assert np.abs(found(STORED[f"{case}/{part}"]) - wanted).max() < 1e-10
