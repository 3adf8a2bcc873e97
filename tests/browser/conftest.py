"""What every file of tests in a browser has around it: the browser and the packages that it names."""

from __future__ import annotations

import pytest

from tests.browser.tools import need


@pytest.fixture(scope="module", autouse=True)
def _tools(request: pytest.FixtureRequest) -> None:
    need(*getattr(request.module, "NEEDS", ("Chromium",)))
