"""What happens where a browser is missing: a reason here, a failure in CI."""

from __future__ import annotations

import pytest

from tests.browser.tools import missing, need


@pytest.mark.parametrize("name", ["Chromium", "Firefox"])
def test_a_missing_browser_skips_with_a_reason_and_fails_in_ci(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says what to do; in CI nothing is skipped."""
    monkeypatch.setenv(name.upper(), "/nowhere/browser")
    reason = missing(name)
    assert reason is not None
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"install|run `make browser`"):
        need(name)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"CI must run the browser tests, but"):
        need(name)
