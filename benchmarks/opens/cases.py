"""The form of a network that `python -m benchmarks.opens` tries; each family file `of_NAME.py` has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from probe import Step


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
