"""Networks of xlstm that open."""

from __future__ import annotations

import torch

from probe.adapters.xlstm import MLSTMStep, SLSTMStep

from .cases import Case, Made, drawn

_REQUIREMENT = "xlstm==2.0.6"


def _slstm(rows: int, steps: int) -> Made:
    from xlstm.blocks.slstm.layer import sLSTMLayer, sLSTMLayerConfig  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    config = sLSTMLayerConfig(
        embedding_dim=32, num_heads=2, backend="vanilla", dtype="float32", recurrent_weight_init="standard"
    )
    return Made(drawn(sLSTMLayer(config)), SLSTMStep, (torch.randn(rows, steps, 32),))


def _mlstm(rows: int, steps: int) -> Made:
    from xlstm.blocks.mlstm.layer import mLSTMLayer, mLSTMLayerConfig  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    if steps <= 100:
        layer = drawn(mLSTMLayer(mLSTMLayerConfig(embedding_dim=8, num_heads=2, context_length=steps)), 0.02)
        with torch.no_grad():
            _ = layer.get_parameter("v_proj.weight").mul_(10)  # the norm of small values would magnify rounding
        return Made(layer, MLSTMStep, (torch.randn(rows, steps, 8),))
    # The layer's own run of T steps takes T x T numbers of each row and head, so that its share is kept small where
    # memory is measured; in float32 its sums over a thousand steps are 1e-5 off.
    layer = mLSTMLayer(mLSTMLayerConfig(embedding_dim=64, num_heads=1, context_length=steps))
    return Made(drawn(layer).double(), MLSTMStep, (torch.randn(1, steps, 64, dtype=torch.float64),))


CASES = (Case("sLSTM", "xlstm", _REQUIREMENT, _slstm), Case("mLSTM", "xlstm", _REQUIREMENT, _mlstm))
