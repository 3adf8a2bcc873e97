"""Steps that an installed package names for its layers: found by the layer's class, with nothing imported for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from refusing import refused

import probe
from probe.recurrent.steps import registry

LAYERS = """
from torch import nn

class Sums(nn.Module):
    def forward(self, x):
        return x.cumsum(1)

class Outer:
    class Inner(Sums):
        pass
"""
STEPS = """
import torch
import probe

class SumsStep(probe.Step):
    names = {"state": "total"}

    def inputs(self, x):
        return x

    def initial(self, batch):
        return torch.zeros(batch, 2)

    def step(self, x, total):
        total = total + x
        return total, total
"""


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install a package of layers and their steps, which names a class of it in its entry points."""
    package, said = tmp_path / "foreign", tmp_path / "foreign-1.0.dist-info"
    for folder in (package, said):
        folder.mkdir()
    (package / "__init__.py").touch()
    (package / "layers.py").write_text(LAYERS)
    (package / "probing.py").write_text(STEPS)
    (said / "METADATA").write_text("Name: foreign\nVersion: 1.0\n")
    named = f"foreign.layers.{request.param} = foreign.probing:SumsStep"
    (said / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{named}\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    yield request.param
    registry._installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "foreign"]:
        del sys.modules[name]


@pytest.mark.parametrize("installed", ["Sums", "Outer.Inner"], indirect=True)
def test_a_package_names_the_step_of_its_layer(installed: str) -> None:
    """A layer is recorded by the step that stands behind its full name, also where it stands in another class."""
    kind = attrgetter(installed)(importlib.import_module("foreign.layers"))
    x = torch.randn(3, 5, 2)
    recording = probe.record(kind(), x, edits=[probe.clamp("total", 1.0, steps=2)])
    expected = x.cumsum(1)
    expected[:, 2:] += (1 - expected[:, 2])[:, None]
    assert torch.allclose(recording["total"], expected, atol=1e-6)


@pytest.mark.parametrize("installed", ["Sums", "Outer.Inner"], indirect=True)
@pytest.mark.usefixtures("installed")
def test_a_step_is_not_imported_before_its_layer() -> None:
    """A name of its state is unknown until the layer's module is imported; the package alone is not enough."""
    _ = importlib.import_module("foreign")
    with refused():
        _ = probe.clamp("total", 1.0)
    assert "foreign.probing" not in sys.modules
