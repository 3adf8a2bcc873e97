"""What every test of the checkout has around it, and files that stay whole where processes share the tests."""

from __future__ import annotations

from typing import Any

import pytest
from around import nothing_is_lost, one_colour_one_meaning, tidy
from refusing import pytest_addoption
from xdist.scheduler import LoadScopeScheduling

__all__ = ["nothing_is_lost", "one_colour_one_meaning", "pytest_addoption", "tidy"]

#: Files whose tests read what one process made once; in two processes it would be made twice.
TOGETHER = {
    "asked once": ("test_analyses",),
    "reports of studies": ("test_studies.py", "test_studies_words"),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give a file's tests to one process (`-n 2`), so that what a module makes is made once.

    Marks of xdist's own (`xdist_group`) would do, but it writes them into a name that pytest 9.2 no longer reads.
    """
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):
    """Shares out files, and those that share something together."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", maxsplit=1)[0]
        name = path.rpartition("/")[2]
        return next((group for group, starts in TOGETHER.items() if name.startswith(starts)), path)
