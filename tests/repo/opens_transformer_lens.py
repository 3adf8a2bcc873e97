"""TransformerLens and probe on one tiny Mamba; test_opens.py runs this where both packages are installed.

What docs/coming-from.md says of the two: which states they read, and which steps an edit of a state moves.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import probe

#: The state is changed after this step of so many.
AT, STEPS = 10, 24
LAYER, HOOK = "backbone.layers.0.mixer", "blocks.0.mixer.hook_ssm_"


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    """Return a network of one layer, and the bridge of TransformerLens over a copy, whose submodules it replaces."""
    from transformer_lens.model_bridge.sources._bridge_builder import (  # pyright: ignore[reportMissingImports]
        build_bridge_from_module,
    )
    from transformers import MambaConfig, MambaForCausalLM  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=50, hidden_size=32, state_size=8, num_hidden_layers=1, intermediate_size=64, time_step_rank=4
    )
    config.architectures = ["MambaForCausalLM"]
    model = MambaForCausalLM(config).eval()
    bridge = build_bridge_from_module(copy.deepcopy(model), "MambaForCausalLM", hf_config=config)
    for block in bridge.blocks:
        block.mixer.eager_scan = True
    return model, bridge


@pytest.fixture
def x() -> Tensor:
    """Return tokens, (batch, time)."""
    return torch.randint(50, (4, STEPS), generator=torch.Generator().manual_seed(1))


def moved(one: Tensor, two: Tensor) -> Tensor:
    """Return the largest difference at each step."""
    return (one - two).detach().abs().amax((0, 2))


def test_both_read_the_same_states(both: tuple[Any, Any], x: Tensor) -> None:
    """`hook_ssm_state` is `ssm_state`, with time behind the channels."""
    model, bridge = both
    with torch.no_grad():
        _, cache = bridge.run_with_cache(x)
    state = probe.record(model, x)[LAYER, "ssm_state"]
    assert float((cache[f"{HOOK}state"].transpose(1, 2) - state).abs().max()) < 1e-6


@torch.no_grad()
def test_a_write_is_an_edit_of_the_state_that_its_own_step_reads_too(both: tuple[Any, Any], x: Tensor) -> None:
    """A write that leads to another run's state gives every later answer of a patch; at its own step it moves too.

    The hook of the state alone moves the answer of its step, and no later one.
    """
    model, bridge = both
    own, source = probe.record(model, x), probe.record(model, x.roll(1, 0))
    plain, wanted = own.output.logits, source[LAYER, "ssm_state"][:, AT]
    edit = probe.patch("ssm_state", source, layer=LAYER, steps=AT)
    ours = probe.record(model, x, edits=[edit]).output.logits

    def put(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        value[:, :, AT] = wanted
        return value

    def write(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        value[:, :, AT] += wanted - own[LAYER, "ssm_state"][:, AT]
        return value

    by_state, by_write = (
        bridge.run_with_hooks(x, fwd_hooks=[(f"{HOOK}{name}", function)])
        for name, function in (("state", put), ("write", write))
    )
    after = slice(AT + 1, None)
    assert float(moved(ours, plain)[after].min()) > 1e-5
    assert float(moved(by_write, ours)[after].max()) < 1e-5
    assert float(moved(by_state, plain)[after].max()) < 1e-5
    assert float(moved(by_write, by_state)[AT]) < 1e-5 < float(moved(by_write, plain)[AT])
    for found in (ours, by_state, by_write):
        assert float(moved(found, plain)[:AT].max()) < 1e-5
    assert not moved(ours, plain)[AT]
