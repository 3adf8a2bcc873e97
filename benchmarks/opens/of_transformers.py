"""Networks of transformers that open: Mamba and its relatives, RWKV, RecurrentGemma, and gated DeltaNets."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import nn

from probe import Step
from probe.adapters.transformers_delta import GatedDeltaSteps, SplitGatedDeltaSteps
from probe.adapters.transformers_griffin import RecurrentGemmaSteps
from probe.adapters.transformers_mixers import FalconMambaSteps, Mamba2Steps, MambaSteps
from probe.adapters.transformers_rwkv import RwkvShiftSteps, RwkvSteps

from .cases import Case, Made

_REQUIREMENT = "transformers==5.24.0"
_DELTA = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 6,
}
_SSM = {"hidden_size": 16, "state_size": 8, "vocab_size": 32, "num_hidden_layers": 3}


def configured(kind: str) -> Any:
    """Return the configuration of a small network: "Mamba", "FalconMamba", "Mamba2", "Rwkv", "RecurrentGemma"."""
    sizes: dict[str, dict[str, Any]] = {
        "Mamba": _SSM,
        "FalconMamba": _SSM,
        "Mamba2": _SSM | {"num_heads": 4, "head_dim": 8, "expand": 2, "n_groups": 2, "chunk_size": 4},
        "Rwkv": {"hidden_size": 16, "attention_hidden_size": 16, "vocab_size": 32, "num_hidden_layers": 3},
        "RecurrentGemma": {
            "hidden_size": 16,
            "lru_width": 16,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "vocab_size": 32,
            "num_hidden_layers": 4,
            "block_types": ("recurrent", "recurrent", "attention"),
        },
        "Jamba": {"hidden_size": 16, "mamba_d_state": 8, "mamba_dt_rank": 4, "num_hidden_layers": 2},
        "Bamba": {
            "hidden_size": 16,
            "mamba_d_state": 8,
            "mamba_n_heads": 4,
            "mamba_d_head": 8,
            "mamba_n_groups": 2,
            "mamba_chunk_size": 4,
            "num_hidden_layers": 2,
        },
        "NemotronH": {
            "hidden_size": 16,
            "ssm_state_size": 8,
            "mamba_num_heads": 4,
            "mamba_head_dim": 8,
            "n_groups": 2,
            "chunk_size": 4,
            "layers_block_type": ["mamba", "attention"],
        },
        "Qwen3Next": _DELTA,
        "Qwen3_5Text": _DELTA,
        "Qwen3_5MoeText": _DELTA,
        "Qwen4ExpText": _DELTA,
        "LaraMini": _DELTA,
    }
    return getattr(import_module("transformers"), f"{kind}Config")(**sizes[kind])


def whole(kind: str, head: str = "ForCausalLM") -> Any:
    """Return a whole network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return getattr(import_module("transformers"), f"{kind}{head}")(configured(kind)).eval()


def _mixer(kind: str, file: str, name: str) -> nn.Module:
    """Return one layer of a network that is too large to be built whole, with random weights."""
    package = import_module(f"transformers.models.{file}.modeling_{file}")
    torch.manual_seed(0)
    return getattr(package, name)(configured(kind), 0).eval()


def _called(module: nn.Module, adapter: type[Step], rows: int, steps: int, **keywords: Any) -> Made:
    generator = torch.Generator().manual_seed(1)
    return Made(module, adapter, (torch.randn(rows, steps, 16, generator=generator),), keywords)


def _chunked(module: nn.Module, adapter: type[Step], rows: int, steps: int) -> Made:
    if steps > 64:
        vars(module)["chunk_size"] = 64  # the layer itself takes memory by the square of the number of chunks
    return _called(module, adapter, rows, steps)


def _layer(kind: str, path: str, adapter: type[Step], rows: int, steps: int, **keywords: Any) -> Made:
    module = whole(kind, "Model").get_submodule(path)
    if kind in ("Mamba", "FalconMamba", "RecurrentGemma"):  # as they begin, they return less than a tenth
        for weight in module.parameters():
            if weight.dim() > 1 and weight.shape[-1] > 1:
                weight.data *= 2
    return _called(module, adapter, rows, steps, **keywords)


def _mamba(rows: int, steps: int) -> Made:
    return _layer("Mamba", "layers.1.mixer", MambaSteps, rows, steps)


def _falcon_mamba(rows: int, steps: int) -> Made:
    return _layer("FalconMamba", "layers.1.mixer", FalconMambaSteps, rows, steps)


def _mamba2(rows: int, steps: int) -> Made:
    return _chunked(whole("Mamba2", "Model").get_submodule("layers.1.mixer"), Mamba2Steps, rows, steps)


def _rwkv(rows: int, steps: int) -> Made:
    return _layer("Rwkv", "blocks.1.attention", RwkvSteps, rows, steps)


def _rwkv_shift(rows: int, steps: int) -> Made:
    return _layer("Rwkv", "blocks.1.feed_forward", RwkvShiftSteps, rows, steps)


def _recurrent_gemma(rows: int, steps: int) -> Made:
    called = {"position_ids": torch.arange(steps).unsqueeze(0), "attention_mask": None}
    return _layer("RecurrentGemma", "layers.1.temporal_block", RecurrentGemmaSteps, rows, steps, **called)


def _jamba(rows: int, steps: int) -> Made:
    return _called(_mixer("Jamba", "jamba", "JambaMambaMixer"), FalconMambaSteps, rows, steps)


def _bamba(rows: int, steps: int) -> Made:
    return _chunked(_mixer("Bamba", "bamba", "BambaMixer"), Mamba2Steps, rows, steps)


def _nemotron_h(rows: int, steps: int) -> Made:
    return _chunked(_mixer("NemotronH", "nemotron_h", "NemotronHMamba2Mixer"), Mamba2Steps, rows, steps)


def _qwen3_next(rows: int, steps: int) -> Made:
    return _called(_mixer("Qwen3Next", "qwen3_next", "Qwen3NextGatedDeltaNet"), GatedDeltaSteps, rows, steps)


def _qwen3_5(rows: int, steps: int) -> Made:
    return _called(_mixer("Qwen3_5Text", "qwen3_5", "Qwen3_5GatedDeltaNet"), SplitGatedDeltaSteps, rows, steps)


def _qwen3_5_moe(rows: int, steps: int) -> Made:
    layer = _mixer("Qwen3_5MoeText", "qwen3_5_moe", "Qwen3_5MoeGatedDeltaNet")
    return _called(layer, SplitGatedDeltaSteps, rows, steps)


def _qwen4_exp(rows: int, steps: int) -> Made:
    layer = _mixer("Qwen4ExpText", "qwen4_exp", "Qwen4ExpTextGatedDeltaNet")
    return _called(layer, SplitGatedDeltaSteps, rows, steps)


def _lara_mini(rows: int, steps: int) -> Made:
    return _called(_mixer("LaraMini", "lara_mini", "LaraMiniGatedDeltaNet"), SplitGatedDeltaSteps, rows, steps)


CASES = (
    Case("Mamba", "transformers", _REQUIREMENT, _mamba),
    Case("FalconMamba", "transformers", _REQUIREMENT, _falcon_mamba),
    Case("Mamba-2", "transformers", _REQUIREMENT, _mamba2),
    Case("RWKV-4, attention", "transformers", _REQUIREMENT, _rwkv),
    Case("RWKV-4, feed-forward", "transformers", _REQUIREMENT, _rwkv_shift),
    Case("RecurrentGemma", "transformers", _REQUIREMENT, _recurrent_gemma),
    Case("Jamba", "transformers", _REQUIREMENT, _jamba),
    Case("Bamba", "transformers", _REQUIREMENT, _bamba),
    Case("Nemotron-H", "transformers", _REQUIREMENT, _nemotron_h),
    Case("Qwen3-Next, gated DeltaNet", "transformers", _REQUIREMENT, _qwen3_next),
    Case("Qwen3.5, gated DeltaNet", "transformers", _REQUIREMENT, _qwen3_5),
    Case("Qwen3.5-MoE, gated DeltaNet", "transformers", _REQUIREMENT, _qwen3_5_moe),
    Case("Qwen4-Exp, gated DeltaNet", "transformers", _REQUIREMENT, _qwen4_exp),
    Case("Lara-Mini, gated DeltaNet", "transformers", _REQUIREMENT, _lara_mini),
)
