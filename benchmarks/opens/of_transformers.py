"""Networks of transformers that open: Mamba and its relatives, RWKV, RecurrentGemma, and gated DeltaNets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def _mixer(path: str, kind: str, adapter: type[Step], rows: int, steps: int) -> Made:
    """Return one layer of a network that is too large to be built whole, with random weights."""
    file, _, name = path.partition(".")
    package = import_module(f"transformers.models.{file}.modeling_{file}")
    torch.manual_seed(0)
    return _called(getattr(package, name)(configured(kind), 0).eval(), adapter, rows, steps)


def _called(module: nn.Module, adapter: type[Step], rows: int, steps: int, **keywords: Any) -> Made:
    if adapter is Mamba2Steps and steps > 64:
        vars(module)["chunk_size"] = 64  # the layer itself takes memory by the square of the number of chunks
    generator = torch.Generator().manual_seed(1)
    return Made(module, adapter, (torch.randn(rows, steps, 16, generator=generator),), keywords)


def _layer(path: str, kind: str, adapter: type[Step], rows: int, steps: int) -> Made:
    module = whole(kind, "Model").get_submodule(path)
    if kind in ("Mamba", "FalconMamba", "RecurrentGemma"):  # as they begin, they return less than a tenth
        for weight in module.parameters():
            if weight.dim() > 1 and weight.shape[-1] > 1:
                weight.data *= 2
    keywords = {"position_ids": torch.arange(steps).unsqueeze(0), "attention_mask": None}
    return _called(module, adapter, rows, steps, **(keywords if kind == "RecurrentGemma" else {}))


def _case(network: str, make: Callable[..., Made], *about: Any) -> Case:
    return Case(network, "transformers", "transformers==5.24.0", partial(make, *about))


_SPLIT = SplitGatedDeltaSteps
CASES = (
    _case("Mamba", _layer, "layers.1.mixer", "Mamba", MambaSteps),
    _case("FalconMamba", _layer, "layers.1.mixer", "FalconMamba", FalconMambaSteps),
    _case("Mamba-2", _layer, "layers.1.mixer", "Mamba2", Mamba2Steps),
    _case("RWKV-4, attention", _layer, "blocks.1.attention", "Rwkv", RwkvSteps),
    _case("RWKV-4, feed-forward", _layer, "blocks.1.feed_forward", "Rwkv", RwkvShiftSteps),
    _case("RecurrentGemma", _layer, "layers.1.temporal_block", "RecurrentGemma", RecurrentGemmaSteps),
    _case("Jamba", _mixer, "jamba.JambaMambaMixer", "Jamba", FalconMambaSteps),
    _case("Bamba", _mixer, "bamba.BambaMixer", "Bamba", Mamba2Steps),
    _case("Nemotron-H", _mixer, "nemotron_h.NemotronHMamba2Mixer", "NemotronH", Mamba2Steps),
    _case("Qwen3-Next, gated DeltaNet", _mixer, "qwen3_next.Qwen3NextGatedDeltaNet", "Qwen3Next", GatedDeltaSteps),
    _case("Qwen3.5, gated DeltaNet", _mixer, "qwen3_5.Qwen3_5GatedDeltaNet", "Qwen3_5Text", _SPLIT),
    _case("Qwen3.5-MoE, gated DeltaNet", _mixer, "qwen3_5_moe.Qwen3_5MoeGatedDeltaNet", "Qwen3_5MoeText", _SPLIT),
    _case("Qwen4-Exp, gated DeltaNet", _mixer, "qwen4_exp.Qwen4ExpTextGatedDeltaNet", "Qwen4ExpText", _SPLIT),
    _case("Lara-Mini, gated DeltaNet", _mixer, "lara_mini.LaraMiniGatedDeltaNet", "LaraMini", _SPLIT),
)
