"""Networks of small packages that open: mambapy, minGRU-pytorch, LRU-pytorch, ncps, torchrecurrent.

Their states are wide enough for the memory that they take to stand out from what a process takes and gives back.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from probe import Step
from probe.adapters.lru import LRUStep
from probe.adapters.mambapy import MambaBlockStep
from probe.adapters.mingru import MinGRUStep, MinLSTMStep
from probe.adapters.ncps import CfCStep, LTCStep

from .cases import Case, Made, drawn


def _mamba(rows: int, steps: int) -> Made:
    from mambapy.mamba import MambaBlock, MambaConfig  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    module = drawn(MambaBlock(MambaConfig(d_model=8, n_layers=1, d_state=4)))
    return Made(module, MambaBlockStep, (torch.randn(rows, steps, 8),))


def _min_gru(rows: int, steps: int) -> Made:
    from minGRU_pytorch.minGRU import minGRU  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return _minimal(minGRU(32, expansion_factor=1.5), MinGRUStep, rows, steps)


def _min_lstm(rows: int, steps: int) -> Made:
    from minGRU_pytorch.minLSTM import minLSTM  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return _minimal(minLSTM(32, expansion_factor=1.5), MinLSTMStep, rows, steps)


def _minimal(module: nn.Module, step: type[Step], rows: int, steps: int) -> Made:
    x = torch.randn(rows, steps, 32)
    # In float32 the package's own scan of a thousand steps is 1e-4 off.
    return Made(drawn(module).double(), step, (x.double(),)) if steps > 100 else Made(drawn(module), step, (x,))


def _lru(rows: int, steps: int) -> Made:
    from LRU_pytorch.LRU import LRU  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    units = 256 if steps > 100 else 64  # wide enough for each state to be given back to the system by itself
    return Made(drawn(LRU(8, 5, units)), LRUStep, (torch.randn(rows, steps, 8),))


def _cfc(rows: int, steps: int) -> Made:
    from ncps.torch import CfC  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    # A time for each unit: a time for each row is taken for that in ncps 1.0.1.
    module = drawn(CfC(8, 48, mixed_memory=True))
    return Made(module, CfCStep, (torch.randn(rows, steps, 8), None, torch.rand(rows, steps, 48) + 0.5))


def _ltc(rows: int, steps: int) -> Made:
    from ncps.torch import LTC  # pyright: ignore[reportMissingImports]
    from ncps.wirings import AutoNCP  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return Made(drawn(LTC(8, AutoNCP(48, 3))), LTCStep, (torch.randn(rows, steps, 8),))


def _cell(name: str, rows: int, steps: int) -> Made:
    """Return a layer of torchrecurrent, whose forward calls its cell once a step; no adapter knows it."""
    import torchrecurrent  # pyright: ignore[reportMissingImports]
    from torchrecurrent import base  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    layer: Any = drawn(getattr(torchrecurrent, name)(16, 48, batch_first=True))
    cell = layer.cells[0]
    apart = isinstance(cell, (base.DecoupledSingleStateCellBase, base.DecoupledDoubleStateCellBase))

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        zero = x.new_zeros(len(x), 48)
        before = ((zero, zero) if cell.uses_double_state() else zero) if state is None else state
        returned = cell(x, before)
        return returned if apart else (returned[0] if isinstance(returned, tuple) else returned, returned)

    return Made(layer, Step, (torch.randn(rows, steps, 16),), loop=step)


#: Some of its 41 layers, with one vector or two for a state.
CELLS = ("MGU", "UGRNN", "coRNN", "LEM", "PeepholeLSTM", "SCRN")
CASES = (
    Case("Mamba of mambapy", "mambapy", "mambapy==1.2.0", _mamba),
    Case("minGRU", "minGRU-pytorch", "minGRU-pytorch==0.2.1", _min_gru),
    Case("minLSTM", "minGRU-pytorch", "minGRU-pytorch==0.2.1", _min_lstm),
    Case("LRU", "LRU-pytorch", "LRU-pytorch==0.1.3", _lru),
    Case("CfC", "ncps", "ncps==1.0.1", _cfc),
    Case("LTC", "ncps", "ncps==1.0.1", _ltc),
    *(
        Case(f"{name} of torchrecurrent", "torchrecurrent", "torchrecurrent==0.2.5", partial(_cell, name))
        for name in CELLS
    ),
)
