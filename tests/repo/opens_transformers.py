"""What adapters make of whole networks of transformers; test_opens.py runs this where the package is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

import probe
from benchmarks.opens import of_transformers as networks
from benchmarks.opens.cases import Case

#: A layer of each network in which a signal is changed.
PLACES = {
    "Mamba": ("backbone.layers.1.mixer", "ssm_state"),
    "FalconMamba": ("backbone.layers.1.mixer", "ssm_state"),
    "Mamba2": ("backbone.layers.1.mixer", "ssm_state"),
    "Rwkv": ("rwkv.blocks.1.attention", "numerator"),
    "RecurrentGemma": ("model.layers.1.temporal_block", "rg_lru_state"),
}
#: Those without attention: a recurrent state is all that they know of the past.
RECURRENT = [kind for kind in PLACES if kind != "RecurrentGemma"]
MASKED = [case for case in networks.CASES if "RWKV" not in case.network and case.network != "RecurrentGemma"]


def tokens(rows: int = 3, steps: int = 12) -> Tensor:
    """Return rows of tokens that differ; generate() would take 0 for padding, and 1 and 2 for an end."""
    return torch.randint(3, 32, (rows, steps), generator=torch.Generator().manual_seed(0))


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference."""
    return float((one - two).detach().abs().max())


@pytest.mark.parametrize("kind", PLACES)
def test_generate_is_recorded_and_its_snapshots_stay(kind: str) -> None:
    """Each call goes on from the cache, which later calls change in place; a recording keeps what it saw."""
    model, ids = networks.whole(kind), tokens(1)
    bare = model.generate(ids, max_new_tokens=5, do_sample=False)
    with probe.watch(model) as recordings:
        assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), bare)
    assert len(recordings) == 5
    assert max(recording.max_error or 0 for recording in recordings) <= 1e-5
    first = probe.record(model, ids)
    assert torch.equal(first.output.logits, model(ids).logits)
    for part in first.parts:
        for signal in part.signals:
            assert signal == "output" or torch.equal(recordings[0][part.layer, signal], first[part.layer, signal])


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_change_in_generate_is_handed_on(kind: str) -> None:
    """A state zeroed from the prompt's last step on gives the logits of one run in which those steps are zeroed.

    After the last step of all nothing reads it, and the edit is refused.
    """
    model, ids = networks.whole(kind), tokens(1)
    layer, signal = PLACES[kind]
    with probe.intervene(model, probe.clamp(signal, 0.0, layer=layer, steps=[*range(11, 15)])):
        made = model.generate(
            ids, max_new_tokens=5, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
    read = made.sequences[:, :-1]
    edits = [probe.clamp(signal, 0.0, layer=layer, steps=step) for step in range(11, read.shape[1] - 1)]
    whole = probe.record(model, read, edits=edits).output.logits[:, 11:]
    assert far(torch.stack(made.logits, dim=1), whole) <= 1e-5
    plain = model(read).logits[:, 12:]
    assert far(whole[:, 1:], plain) > 1e-5
    last = probe.clamp(signal, 0.0, layer=layer, steps=read.shape[1] - 1)
    with pytest.raises(probe.ProbeError, match=rf"step {read.shape[1] - 1}, the last one of layer '{layer}'"):
        _ = probe.record(model, read, edits=[last])


@pytest.mark.parametrize("kind", PLACES)
def test_a_state_that_nobody_has_seen_is_refused(kind: str) -> None:
    """A call that goes on from a cache of an unseen call is an error, and never a wrong recording."""
    model, ids = networks.whole(kind), tokens(1)
    held: dict[str, Any] = {"use_cache": True}
    if kind != "Rwkv":
        held["cache"] = import_module("transformers").DynamicCache(config=model.config)
    begun = model(ids[:, :6], **held)
    if kind == "Rwkv":
        held["state"] = begun.state
    elif kind == "RecurrentGemma":
        held["position_ids"] = torch.arange(6, 12).unsqueeze(0)
    with pytest.raises(probe.ProbeError, match="has not seen"):
        probe.record(model, ids[:, 6:], kwargs=held)


@pytest.mark.parametrize("case", MASKED, ids=lambda case: case.network)
def test_padding_is_read_step_by_step(case: Case) -> None:
    """With padding at either end, each step is the layer's own."""
    made, mask = case.make(3, 12), torch.ones(3, 12)
    mask[0, :4], mask[1, 5:] = 0, 0
    masked = probe.record(made.module, *made.inputs, kwargs={"attention_mask": mask})
    assert masked.max_error is not None
    assert masked.max_error <= 1e-5
    assert far(masked["output"], probe.record(made.module, *made.inputs)["output"]) > 1e-3


def test_what_cannot_be_run_step_by_step_is_refused() -> None:
    """Several sequences in a row, a cache of another class, and one step in which transformers mixes the rows."""
    made = networks.CASES[0].make(3, 12)
    with pytest.raises(probe.ProbeError, match="several sequences in one row"):
        made.adapter(made.module).inputs(*made.inputs, seq_idx=torch.zeros(3, 12))
    with pytest.raises(probe.ProbeError, match="a cache of the class dict"):
        made.adapter(made.module).inputs(*made.inputs, cache={})
    with pytest.raises(probe.ProbeError, match="one step of 3 rows and a state"):
        probe.record(networks.whole("Rwkv"), tokens(3, 1))


@torch.no_grad()
def test_the_memory_of_an_rwkv_is_patched_whatever_it_is_divided_by() -> None:
    """The numerator and the denominator are those of the plain sums, and another row's numerator goes in alone."""
    made = next(case for case in networks.CASES if case.network == "RWKV-4, attention").make(3, 12)
    layer, (x, *_) = made.module, made.inputs
    probe.register(type(layer), made.adapter)
    attention: Any = layer
    attention.key.weight.mul_(8)  # rows with maxima far from each other

    def sums(order: list[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        before, numerator, denominator = torch.zeros_like(x[:, 0]), torch.zeros(3, 16), torch.zeros(3, 16)
        outputs, kept = [], []
        for step, now in enumerate(x.unbind(1)):
            mixed = {
                name: now * (share := getattr(attention, f"time_mix_{name}")[0, 0]) + before * (1 - share)
                for name in ("key", "value", "receptance")
            }
            k, v = attention.key(mixed["key"]), attention.value(mixed["value"])
            own = (k + attention.time_first).exp()
            wkv = (numerator + own * v) / (denominator + own)
            outputs.append(attention.output(attention.receptance(mixed["receptance"]).sigmoid() * wkv))
            decay = (-attention.time_decay.exp()).exp()
            numerator, denominator = decay * numerator + k.exp() * v, decay * denominator + k.exp()
            numerator = numerator[order] if order is not None and step == 4 else numerator
            before = now
            kept.append((numerator, denominator))
        numerators, denominators = zip(*kept, strict=True)
        return torch.stack(outputs, 1), torch.stack(numerators, 1), torch.stack(denominators, 1)

    recording = probe.record(layer, *made.inputs, kwargs=made.keywords)
    _, numerator, denominator = sums()
    for signal, wanted in (("numerator", numerator), ("denominator", denominator)):
        assert far(recording[signal] / wanted, torch.ones_like(wanted)) < 1e-3
    patch = probe.patch("numerator", recording, steps=4, source_rows=[1, 2, 0])
    found = probe.record(layer, *made.inputs, kwargs=made.keywords, edits=[patch]).output
    found = found[0] if isinstance(found, tuple) else found
    wanted, *_ = sums([1, 2, 0])
    assert far(found, wanted) < 1e-4 * max(1.0, float(wanted.abs().max()))
    assert far(found, sums()[0]) > 1e-2


@pytest.mark.parametrize("kind", ["Mamba", "Mamba2"])
def test_resets_and_symbols_of_a_whole_network(kind: str) -> None:
    """Its whole state set to zero gives the logits of the same edits; a symbol contributes what it does by hand."""
    model, ids = networks.whole(kind), tokens()
    found = probe.memory(model, ids, put="zero", times=[3], answer=lambda output: output.logits, decide="argmax")
    edits = [probe.clamp(state, 0.0, layer=layer, steps=3) for layer, own in found.replaced.items() for state in own]
    moved = (probe.record(model, ids, edits=edits).output.logits - model(ids).logits).abs().amax(2)
    table = found.table.sort_values(["row", "lag"])
    assert far(moved[:, 3:].flatten(), torch.tensor(table["difference"].tolist())) <= 1e-5
    assert found.own_error <= 1e-5
    parts = probe.contributions(
        model, ids, output=lambda output: output.logits[:, -1, 5], method="occlusion", baseline=7
    )
    other = ids.clone()
    other[:, 4] = 7
    by_hand = model(ids).logits[:, -1, 5] - model(other).logits[:, -1, 5]
    assert far(parts["occlusion"][:, 4, 0], by_hand) <= 1e-5
