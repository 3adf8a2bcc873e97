"""What adapters make of networks of small packages, and probe alone of torchrecurrent's; test_opens.py runs this."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import probe
from benchmarks.opens.cases import drawn
from benchmarks.opens.of_small import CASES
from probe import ProbeError
from probe.adapters.mambapy import MambaBlockStep
from probe.testing import check_step

ROWS, TIME = 3, 9
MADE = {case.network: case.make for case in CASES}


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference."""
    return float((one - two).detach().abs().max())


@pytest.mark.parametrize("pscan", [False, True])
def test_a_whole_mamba_of_mambapy(pscan: bool) -> None:
    """A recording runs it to the bit; what runs in a fused kernel is refused."""
    from mambapy.mamba import Mamba, MambaConfig  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    model, x = drawn(Mamba(MambaConfig(d_model=8, n_layers=2, d_state=4, pscan=pscan))), torch.randn(ROWS, TIME, 8)
    with torch.no_grad():
        assert torch.equal(probe.record(model, x).output, model(x))
    mixer: Any = model.get_submodule("layers.0.mixer")
    mixer.config.use_cuda = True
    with pytest.raises(ProbeError, match="fused CUDA kernel"):
        _ = MambaBlockStep(mixer).inputs(x)


@pytest.mark.parametrize("network", ["minGRU", "minLSTM"])
@pytest.mark.parametrize("first", [1, 5])
def test_a_minimal_network_goes_on_from_a_state(network: str, first: int) -> None:
    """A call that is given a hidden state is recorded as it runs, in one step too, and hands on an edited one."""
    module, x = MADE[network](ROWS, TIME).module, torch.randn(ROWS, TIME, 32)
    keywords: dict[str, Any] = {"return_next_prev_hidden": True}
    _, h = probe.record(module, x[:, :first], kwargs=keywords).output
    for steps in (1, TIME - first):
        rest = x[:, first : first + steps]
        again = probe.record(module, rest, kwargs=keywords | {"prev_hidden": h})
        with torch.no_grad():
            output, last = module(rest, prev_hidden=h, **keywords)
        assert torch.equal(again.output[0], output)
        assert far(again["hidden_state"][:, -1], last[:, 0]) < 1e-5
        edit = probe.clamp("hidden_state", 0.5, steps=steps - 1)
        with torch.no_grad(), probe.intervene(module, edit):
            _, last = module(rest, prev_hidden=h, **keywords)
            _ = module(x[:, :1], prev_hidden=last, **keywords)
        assert bool((last == 0.5).all())


def test_an_lru_is_complex() -> None:
    """Recorded states are the recurrence's complex ones; one sequence alone, and a state that is given, are read."""
    module: Any = MADE["LRU"](ROWS, TIME).module
    x, given = torch.randn(ROWS, TIME, 8), torch.randn(64, dtype=torch.complex64)
    recording = probe.record(module, x, given)
    radius, phase = torch.exp(-torch.exp(module.nu_log)), torch.exp(module.theta_log)
    h = torch.zeros(ROWS, 64, dtype=torch.complex64)
    h[0] = given
    for step in range(TIME):
        inner = torch.exp(module.gamma_log) * (x[:, step].to(h.dtype) @ module.B.T)
        h = torch.complex(radius * torch.cos(phase), radius * torch.sin(phase)) * h + inner
        assert far(recording["hidden_state"][:, step], h) < 1e-5
    alone = probe.record(module, x[1])
    assert far(alone["hidden_state"][0], recording["hidden_state"][1]) < 1e-5
    assert alone.output.shape == (TIME, 5)
    with pytest.raises(ProbeError, match=r"called with \(1, 3, 9, 8\); give"):
        _ = probe.record(module, x[None])


@pytest.mark.parametrize("kind", ["CfC", "LTC"])
@pytest.mark.parametrize("options", [{}, {"batch_first": False}, {"return_sequences": False, "mixed_memory": True}])
def test_a_liquid_network(kind: str, options: dict[str, Any]) -> None:
    """Every form holds, with a batch and without, from zeros and from a state; one row's times are read, more not."""
    import ncps.torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    layer = drawn(getattr(ncps.torch, kind)(8, 6, **options))
    x = torch.randn(ROWS, TIME, 8) if options.get("batch_first", True) else torch.randn(TIME, ROWS, 8)
    found = check_step(MADE[kind](1, 8).adapter, layer, x)
    assert max(found.stepwise, found.spliced, found.gradient) < 1e-6
    one = torch.randn(TIME, 8)
    with torch.no_grad():
        output, state = layer(one)
        _, again = layer(one, state)
    recording = probe.record(layer, one, state)
    assert torch.equal(probe.record(layer, one).output[0], output)
    last = again[0] if isinstance(again, tuple) else again
    assert far(recording["hidden_state"][0, -1], last) < 1e-6
    with torch.no_grad(), probe.intervene(layer, probe.clamp("hidden_state", 0.5, steps=TIME - 1)):
        _, edited = layer(one)
        _ = layer(one, edited)  # reads it
    assert bool(((edited[0] if isinstance(edited, tuple) else edited) == 0.5).all())
    if kind == "CfC" and not options:
        times = torch.rand(6, TIME) + 0.5
        timed = probe.record(layer, one[None], kwargs={"timespans": times[:1]})
        assert far(timed["output"], recording["output"]) > 1e-3
        with pytest.raises(ProbeError, match="takes a row's time for a unit's"):  # of as many rows as units
            _ = probe.record(layer, one.expand(6, TIME, 8), kwargs={"timespans": times})
