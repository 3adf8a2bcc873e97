"""What `probe.register` is told wrongly is refused at once, and not when a layer is recorded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError


def test_an_item_of_a_dict_is_no_place_of_a_state() -> None:
    """`returns` is the number of an item of a tuple."""

    class Cell(nn.Module):
        def forward(self, x: Tensor, h: Tensor) -> Any:
            return {"h": x + h}

    with pytest.raises((ProbeError, TypeCheckError), match=r"returns='h' must be a number|Type-check error"):
        probe.register(Cell, state="h", returns="h")  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_part_of_a_state_has_one_name() -> None:
    """Two for one part are told how several parts are named."""

    class Two(probe.Step):
        names: Any = {"state": ("hidden_state", "cell_state")}  # noqa: RUF012

        def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
            return arguments[0]

        def initial(self, batch: int) -> Any:
            return torch.zeros(batch, 2), torch.zeros(batch, 2)

        def step(self, x: Tensor, state: Any) -> Any:
            return x, state

    with refused():
        probe.register(nn.Linear, Two)
