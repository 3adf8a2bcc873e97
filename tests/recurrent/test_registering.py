"""What `probe.register` and installed packages say of layers; wrongly told, it is refused at once."""

from __future__ import annotations

import importlib
import sys
from email.message import Message
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_by_hand import Layer, LayerStep
from refusing import refused

import probe
from probe.errors import another_cell
from probe.recurrent.steps import registry


def test_what_is_registered_wrongly_is_refused_at_once() -> None:
    """Neither a module nor a step, nothing or too little of it, and two names of one part."""

    class Two(LayerStep):
        names: Any = {"state": ("hidden_state", "cell_state")}  # noqa: RUF012

    unchecked: Any = getattr(probe.register, "__wrapped__", probe.register)
    wrong = [(LayerStep, LayerStep), (Layer, Layer), (Layer, "LayerStep"), (Layer,), (Layer,), (Layer, Two)]
    for place, given in enumerate(wrong):
        with refused():
            unchecked(*given, **({"state": "h"} if place == 4 else {}))


PACKAGE = {
    "foreign/__init__.py": "",
    "foreign/layers.py": """
from torch import nn
class Sums(nn.Module):
    def forward(self, x):
        return x.cumsum(1)
class Outer:
    class Inner(Sums): ...
""",
    "foreign/probing.py": """
import torch
import probe
class SumsStep(probe.Step):
    names = {"state": "total"}
    def inputs(self, x):
        return x
    def initial(self, batch):
        return torch.zeros(batch, 2)
    def step(self, x, total):
        return total + x, total + x
""",
    "foreign-1.0.dist-info/METADATA": "Name: foreign\nVersion: 1.0\n",
}


@pytest.mark.parametrize("name", ["Sums", "Outer.Inner"])
def test_a_package_names_the_step_of_its_layer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its entry points, behind the class's full name; nothing of it is imported before the layer's module is."""
    points = {"foreign-1.0.dist-info/entry_points.txt": f"foreign.layers.{name} = foreign.probing:SumsStep\n"}
    for file, text in (PACKAGE | {one: f"[{registry.GROUP}]\n{line}" for one, line in points.items()}).items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    try:
        _ = importlib.import_module("foreign")
        with refused():
            _ = probe.clamp("total", 1.0)
        assert "foreign.probing" not in sys.modules
        kind = attrgetter(name)(importlib.import_module("foreign.layers"))
        x = torch.randn(3, 5, 2)
        recording = probe.record(kind(), x, edits=[probe.clamp("total", 1.0, steps=2)])
        expected = x.cumsum(1)
        expected[:, 2:] += (1 - expected[:, 2])[:, None]
        assert torch.allclose(recording["total"], expected, atol=1e-6)
    finally:
        registry._installed.cache_clear()
        for module in [module for module in sys.modules if module.partition(".")[0] == "foreign"]:
            del sys.modules[module]


def test_a_page_is_named_where_the_reader_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the site that the installed package names; or what to type where it names none, or nobody's."""
    for owner, page in (
        ("OWNER", "help(probe.register)"),
        ("me", "https://me.example/probe/howto/recurrence.html"),
    ):
        links = Message()
        links["Project-URL"] = f"Documentation, https://{owner}.example/probe/"
        monkeypatch.setattr("probe.errors.metadata", {"rnn-probe": links}.__getitem__)
        assert f": {page} shows" in another_cell()
