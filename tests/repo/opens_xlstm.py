"""What adapters make of networks of xlstm; test_opens.py runs this where the package is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import probe
from benchmarks.opens.cases import drawn
from benchmarks.opens.of_xlstm import CASES
from probe import ProbeError
from probe.adapters.xlstm import MLSTMStep, SLSTMStep

MADE = {case.network: case.make for case in CASES}


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference."""
    return float((one - two).detach().abs().max())


@pytest.mark.parametrize("kernel", [0, 2, 4])
def test_an_slstm_goes_on_from_a_state(kernel: int) -> None:
    """Two calls that hand on the states are the one call over both; an edited call hands on edited states."""
    from xlstm.blocks.slstm.layer import sLSTMLayer, sLSTMLayerConfig  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    config = sLSTMLayerConfig(embedding_dim=8, num_heads=2, backend="vanilla", conv1d_kernel_size=kernel)
    layer, x = drawn(sLSTMLayer(config)), torch.randn(3, 12, 8)
    whole = probe.record(layer, x)
    first = probe.record(layer, x[:, :5], kwargs={"return_last_state": True})
    second = probe.record(layer, x[:, 5:], kwargs={**first.output[1], "return_last_state": True})
    for signal in whole.parts[0].signals:
        assert far(torch.cat([first[signal], second[signal]], 1), whole[signal]) < 1e-5
    edit = probe.clamp("cell_state", 0.5, steps=4)
    with torch.no_grad(), probe.intervene(layer, edit):
        _, state = layer(x[:, :5], return_last_state=True)
        found = layer(x[:, 5:], **state)
    _, c, _, m = state["slstm_state"]
    assert far(c * m.exp(), torch.full_like(c, 0.5)) < 1e-6
    wanted = probe.record(layer, x, edits=[edit])
    assert far(found, wanted["output"][:, 5:]) < 1e-5


def _by_its_own_steps(layer: Any, x: Tensor, change: Any = None) -> tuple[Tensor, list[Any]]:
    """Return what the package's own steps give, and C, n and m after each; `change` is done to them after step 4."""
    state, outputs, states = dict[str, Any](), [], []
    with torch.no_grad():
        for step, now in enumerate(x.split(1, 1)):
            y, state = layer.step(now, **state)
            if step == 4 and change is not None:
                state["mlstm_state"] = change(*state["mlstm_state"])
            outputs.append(y)
            states.append(state["mlstm_state"])
    return torch.cat(outputs, 1), states


def test_the_memory_of_an_mlstm_is_patched_whatever_it_is_divided_by() -> None:
    """Recorded C exp(m) and n exp(m) are those of the package's own steps; another row's C exp(m) goes in alone."""
    made = MADE["mLSTM"](3, 12)
    layer: Any = drawn(made.module, 0.3).double()
    with torch.no_grad():
        _ = layer.mlstm_cell.igate.weight.normal_()  # rows with stabilisers far from each other
        _ = layer.mlstm_cell.igate.bias.fill_(-3)  # below the 0 that their m begins with
    x = made.inputs[0].double()
    recording, (_, states) = probe.record(layer, x), _by_its_own_steps(layer, x)
    for step, (C, n, m) in enumerate(states):
        for signal, theirs in (("cell_state", C), ("normaliser", n)):
            ours = recording[signal][:, step].view(theirs.shape)
            assert far(ours, theirs * m.exp()) < 1e-12 * max(1.0, float(ours.abs().max()))
    patch = probe.patch("cell_state", recording, steps=4, source_rows=[1, 2, 0])
    order = [1, 2, 0]
    found = probe.record(layer, x, edits=[patch]).output
    wanted, _ = _by_its_own_steps(layer, x, lambda C, n, m: (C[order] * (m[order] - m).exp(), n, m))
    divided, _ = _by_its_own_steps(layer, x, lambda C, n, m: (C[order], n, m))
    assert far(found[:, 5:], wanted[:, 5:]) < 1e-10
    assert far(divided[:, 5:], wanted[:, 5:]) > 1e-2
    edits = [patch, probe.clamp("stabiliser", 1.0, steps=4)]
    assert far(probe.record(layer, x, edits=edits).output, found) < 1e-5


def test_what_cannot_be_run_step_by_step() -> None:
    """A memory that float32 does not hold, dropout in training and the CUDA kernel are refused, each by name."""
    from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig  # pyright: ignore[reportMissingImports]
    from xlstm.blocks.slstm.layer import sLSTMLayer, sLSTMLayerConfig  # pyright: ignore[reportMissingImports]

    x = torch.randn(3, 12, 8)
    made = MADE["mLSTM"](2, 12)
    full: Any = made.module.float()
    torch.nn.init.constant_(full.mlstm_cell.igate.bias, 100)
    with pytest.raises(ProbeError, match=r"m is 100: torch.float32 has no such number.*model\.double\(\)"):
        _ = probe.record(full, made.inputs[0].float())
    layer = sLSTMLayer(sLSTMLayerConfig(embedding_dim=8, num_heads=2, backend="vanilla", dropout=0.1))
    with pytest.raises(ProbeError, match=r"sLSTMLayer drops out 10% of its outputs.*model\.eval\(\)"):
        _ = probe.record(layer, x)
    layer.slstm_cell = sLSTMCell(sLSTMCellConfig(hidden_size=8, num_heads=2), skip_backend_init=True)
    with pytest.raises(ProbeError, match=r"sLSTMCell_cuda, a fused CUDA kernel.*backend=.vanilla"):
        _ = SLSTMStep(layer.eval()).inputs(x)
    dropping: Any = MADE["mLSTM"](3, 12).module.train()
    dropping.dropout.p = 0.2
    with pytest.raises(ProbeError, match="mLSTMLayer drops out 20%"):
        _ = MLSTMStep(dropping).inputs(x)
