"""Numbers in another type: what this cannot hold is refused, and the message says what can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe import ProbeError, Step
from probe.command_line.main import main
from probe.recurrent.steps import registry


class Sum(nn.Module):
    """A running sum of the inputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums, (batch, time, unit)."""
        return x.cumsum(1)


class SumStep(Step):
    """One step of it."""

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the input."""
        return arguments[0]

    def initial(self, batch: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(batch, 3)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        """Return the sum, twice."""
        return state + x, state + x


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Register the layer for one test."""
    probe.register(Sum, SumStep)
    yield
    registry._registered.pop(Sum, None)


@pytest.fixture
def sums() -> nn.Module:
    """Return a network whose states grow without bound."""
    return nn.Sequential(Sum())


@pytest.mark.parametrize("to_disk", [False, True])
def test_a_type_that_cannot_hold_a_state_is_refused(sums: nn.Module, tmp_path: Path, to_disk: bool) -> None:
    """It was kept as infinity; the type that the message names holds it."""
    x, out = torch.full((2, 5, 3), 1e10), tmp_path / "run" if to_disk else None
    with refused():
        _ = probe.record(sums, x, dtype=torch.float16, out=out)
    kept = probe.record(sums, x, dtype=torch.float32, out=out)
    assert kept["state"][:, -1].tolist() == torch.full((2, 3), 5e10).tolist()


def test_the_type_that_is_named_may_be_float64(sums: nn.Module) -> None:
    """What float32 cannot hold; a number that rounds to the largest one is kept."""
    with refused():
        _ = probe.record(sums, torch.full((1, 4, 3), 1e60, dtype=torch.float64), dtype=torch.float32, tolerance=1.0)
    most = probe.record(sums, torch.full((1, 1, 3), 65510.0), dtype=torch.float16)
    assert most["state"].max() == 65504


def test_a_derivative_that_a_type_cannot_hold_is_refused() -> None:
    """The signal's own values fit."""
    module = nn.LSTM(3, 5, batch_first=True)
    with refused():
        _ = probe.record(
            module,
            torch.randn(2, 4, 3),
            dtype=torch.float16,
            signals=["hidden_state"],
            gradient_of=lambda output: 1e6 * output[0][:, -1].sum(),
        )


EDITS = [
    (probe.clamp("cell_state", 5e10), r"clamp\('cell_state', 50000000000.0\) holds 5e\+10"),
    (probe.steer("cell_state", [-1e9] * 5), r"steer\(.* holds 1e\+09"),
    (probe.edit("cell_state", lambda value, _: value.float() - 1e9), r"edit\(.* holds 1e\+09"),
]


@pytest.mark.parametrize(("edit", "message"), EDITS)
def test_an_edit_whose_numbers_the_model_cannot_hold_is_refused(edit: probe.Edit, message: str) -> None:
    """A clamp of a half-precision model at 5e10 put in infinity; in float32 the same edit acts."""
    module, x = nn.LSTM(3, 5, batch_first=True), torch.randn(2, 4, 3)
    match = message + r", and float16 holds at most 65504.*run the model in torch.float32"
    with pytest.raises(ProbeError, match=match):
        _ = probe.record(module.half(), x.half(), edits=[edit])
    assert probe.record(module.float(), x, edits=[edit])["cell_state"].abs().max() >= 1e9


def test_a_complex_number_is_not_put_into_a_real_signal() -> None:
    """Its imaginary part was left out."""
    with refused():
        _ = probe.record(nn.LSTM(3, 5), torch.randn(4, 2, 3), edits=[probe.clamp("cell_state", torch.tensor(1j))])


def test_inputs_of_a_file_that_the_network_cannot_hold_are_refused(tmp_path: Path, capsys: Any) -> None:
    """At the command line, where they are converted to the network's type."""
    save_file(dict(nn.LSTM(3, 5).state_dict()), tmp_path / "lstm.safetensors")
    np.save(tmp_path / "x.npy", np.full((2, 4, 3), 1e60))
    command = ["record", "lstm.safetensors", "x.npy", "-o", "run.safetensors"]
    with pytest.raises(SystemExit):
        main([str(tmp_path / one) if "." in one else one for one in command])
    assert "x.npy holds 1e+60, and float32 holds at most" in capsys.readouterr().err
