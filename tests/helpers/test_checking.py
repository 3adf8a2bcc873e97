"""Every annotation of the library is checked while the tests run, also those of functions inside others."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError, install_import_hook

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


def test_every_annotation_is_checked_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function inside another is given and returns, with the annotations of that time; sizes too."""
    (tmp_path / "made_up.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with install_import_hook("made_up", "checking.once"):
        module = importlib.import_module("made_up")
    for kind, right, wrong in ((int, 1, "1"), (str, "1", 1), (int, 2, "2")):
        inner = module.outer(kind)
        assert inner(1) == inner(2, other=right) == "a"
        with pytest.raises(TypeCheckError, match="other"):
            inner(1, other=wrong)
        with pytest.raises(TypeCheckError, match="value"):
            inner("1")
        with pytest.raises(TypeCheckError, match="return value"):
            inner(0)
    assert module.shaped(torch.zeros(2, 3)).shape == (2,)
    with pytest.raises(TypeCheckError):
        module.shaped(torch.zeros(2))
    with pytest.raises(TypeCheckError, match="return value"):
        module.shaped(torch.zeros(1, 3))
