"""The planted counter of ones: what its page says is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_cases import Planted
from studied import planted, study_of

CASES = [
    Planted("unit 0 holds the count", lambda: study_of(planted()), says=("unit 0",), never=(r"\bnan\b",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_of_a_planted_network_is_true(case: Planted, tmp_path: Path) -> None:
    """Each sentence that must stand does, and none that would be false."""
    case.check(tmp_path)
