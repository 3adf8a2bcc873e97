"""The networks that `python -m benchmarks.opens` tries: each family file `of_NAME.py` has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from probe import Step

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "opens.md"


@dataclass(frozen=True)
class Made:
    """A small module with random weights, in evaluation mode on the CPU, and what it is called with.

    Attributes:
        module: the module that the adapter is for.
        adapter: its adapter; `Step` itself of a module that calls its cell in a loop, which needs none.
        inputs: positional arguments of its call; the sequences come first.
        keywords: its keyword arguments.
        loop: of such a module, the cell called by hand: (x, state) -> (output, next state) of one step, the
            state None before the first.
    """

    module: nn.Module
    adapter: type[Step]
    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    loop: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None


@dataclass(frozen=True)
class Case:
    """A network of a package.

    Attributes:
        network: what people call it.
        package: the name of its distribution, whose version stands in the table.
        requirement: what `pip install` is told.
        make: makes the module and what it is called with, given a number of rows and of steps; it alone imports the
            package.
    """

    network: str
    package: str
    requirement: str
    make: Callable[[int, int], Made]


def families() -> list[str]:
    """Return the names of all families: the files `of_NAME.py` beside this one."""
    return sorted(file.stem.removeprefix("of_") for file in Path(__file__).parent.glob("of_*.py"))


def cases_of(family: str) -> tuple[Case, ...]:
    """Return the networks of a family."""
    return import_module(f"{__package__}.of_{family}").CASES


@torch.no_grad()
def drawn(module: nn.Module, spread: float = 0.1) -> nn.Module:
    """Return a module in evaluation mode, after noise on its weights, which may begin with zeros, or all alike."""
    for weight in module.parameters():
        if weight.requires_grad:
            _ = weight.add_(torch.randn_like(weight) * spread)
    return module.eval()
