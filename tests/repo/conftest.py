"""What every test of the checkout holds its figures against: the table of colours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wheel import painted

painted.watch()


@pytest.fixture(autouse=True)
def _one_colour_one_meaning() -> Iterator[None]:
    """Hold every figure that the package or an analysis drew in a test against the table of colours."""
    yield
    assert painted.looked_at() == []
