"""Every annotation of the library is checked while the tests run, also those of functions inside others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError, config, install_import_hook

MODULE = """
from jaxtyping import Float
from torch import Tensor

def outer(kind: type):
    def inner(value: int, *, other: kind = 0) -> str:
        return "a" if value else 3
    return inner

def shaped(x: Float[Tensor, "batch time"]) -> Float[Tensor, "batch"]:
    return x[:, 0] if len(x) > 1 else x
"""


def checked(folder: Path, checker: str) -> Any:
    """Return a module that was imported as the library is in these tests."""
    (folder / "made_up.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    try:
        with install_import_hook("made_up", checker):
            spec = importlib.util.find_spec("made_up")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


@pytest.fixture(autouse=True)
def _checks() -> Iterator[None]:
    """Check annotations here also where a run of all tests leaves that out."""
    was = config.jaxtyping_disable
    config.update("jaxtyping_disable", False)
    yield
    config.update("jaxtyping_disable", was)


@pytest.fixture
def module(tmp_path: Path, pytestconfig: pytest.Config) -> Any:
    """Return the made-up module under the checker of these tests."""
    return checked(tmp_path, str(pytestconfig.getoption("--jaxtyping-packages")).split(",")[-1])


def test_a_function_inside_another_is_checked_every_time(module: Any) -> None:
    """What it is given and what it returns, with the annotations of that time; keywords and their absence too."""
    for kind, right, wrong in ((int, 1, "1"), (str, "1", 1), (int, 2, "2")):
        inner = module.outer(kind)
        assert inner(1) == inner(2, other=right) == "a"
        with pytest.raises(TypeCheckError, match="other"):
            inner(1, other=wrong)
        with pytest.raises(TypeCheckError, match="value"):
            inner("1")
        with pytest.raises(TypeCheckError, match="return value"):
            inner(0)


def test_shapes_are_checked(module: Any) -> None:
    """Sizes of the same name are the same."""
    assert module.shaped(torch.zeros(2, 3)).shape == (2,)
    with pytest.raises(TypeCheckError):
        module.shaped(torch.zeros(2))
    with pytest.raises(TypeCheckError, match="return value"):
        module.shaped(torch.zeros(1, 3))
