"""What the property tests compare with: the same to the bit, as near as rounding allows, and what would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import reference
import torch
from drawn import Network
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

import probe

#: What rounding may do to one step of an ordinary network.
FLOOR = {torch.float32: 1e-5, torch.float64: 1e-10}


def flat(output: Any) -> list[Tensor]:
    """Return the tensors of a module's output."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, PackedSequence):
        return [output.data, output.batch_sizes, *(x for x in output[2:] if isinstance(x, Tensor))]
    return [tensor for part in output for tensor in flat(part)]


def padded(module: nn.RNNBase, output: Any) -> Tensor:
    """Return what a module returned at each step, (batch, time, unit), 0 at padding."""
    if isinstance(output[0], PackedSequence):
        return pad_packed_sequence(output[0], batch_first=True)[0]
    return output[0] if module.batch_first else output[0].transpose(0, 1)


def recorded(recording: probe.Recording) -> dict[tuple[str, str], Tensor]:
    """Return every signal of every layer."""
    return {(part.layer, str(name)): value for part in recording.parts for name, value in part.signals.items()}


def same(one: Any, two: Any) -> bool:
    """Return whether two outputs are equal to the bit; NaN equals NaN."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
        for a, b in zip(flat(one), flat(two), strict=True)
    )


def distance(one: Tensor, two: Tensor) -> float:
    """Return the largest difference relative to max(1, |value|); infinite where only one of them is NaN."""
    if one.shape != two.shape or not torch.equal(one.isnan(), two.isnan()):
        return torch.inf
    kept = ~two.isnan()
    differences = (one[kept] - two[kept]).abs() / two[kept].abs().clamp(min=1.0)
    return max([0.0, *differences.nan_to_num(torch.inf).tolist()])


def farthest(one: Mapping[tuple[str, str], Tensor], two: Mapping[tuple[str, str], Tensor]) -> float:
    """Return the largest distance over all signals."""
    return max(distance(one[place], two[place]) for place in two)


def rounding(network: Network, signals: Mapping[tuple[str, str], Tensor]) -> float:
    """Return what rounding may do to one step, relative to max(1, |value|): 1e-5, or 1e-10 in double precision.

    With scaled weights it may be more: a pre-activation is off by some units in the last place of the largest sum
    |W||x| + |U||h| + |b| that went into it, however small it is itself. Where a GRU multiplies its reset gate with
    `candidate_recurrent`, or a projection adds up hidden states, that error is multiplied in turn.
    """
    module, call = network.module(), network.call()
    largest = 0.0
    for layer in reference.layers_of(module):
        number, _, end = layer[1:].partition("]")
        weights = {name: value.abs() for name, value in module.named_parameters() if name.endswith(f"l{number}")}
        if end:
            weights = {name: value.abs() for name, value in module.named_parameters() if f"l{number}_rev" in name}
        inputs = reference.input_of(module, layer, call.x, signals).abs()
        h = reference.state_before(module, layer, signals, call.hx, call.lengths)["hidden_state"].abs()
        by = {name.split("_l")[0]: value for name, value in weights.items()}
        sums = inputs @ by["weight_ih"].T + h @ by["weight_hh"].T
        sums = sums + by.get("bias_ih", torch.zeros(())) + by.get("bias_hh", torch.zeros(()))
        size = sums.nan_to_num(0.0).max().item()
        if network.kind == "gru":
            size *= 1 + signals[layer, "candidate_recurrent"].abs().nan_to_num(0.0).max().item()
        if network.projected:
            size *= max(1.0, by["weight_hr"].sum(1).max().item())
        largest = max(largest, size)
    return max(FLOOR[network.dtype], 8 * torch.finfo(network.dtype).eps * largest)


def gates_swapped(signals: Mapping[tuple[str, str], Tensor]) -> Iterator[dict[tuple[str, str], Tensor]]:
    """Yield recordings in which two signals of a layer have each other's values."""
    for layer in dict.fromkeys(layer for layer, _ in signals):
        for one, two in (
            ("input_gate", "forget_gate"),
            ("output_gate", "cell_candidate"),
            ("reset_gate", "update_gate"),
            ("hidden_state_preactivation", "hidden_state"),
        ):
            if (layer, one) in signals and (layer, two) in signals:
                swapped = {(layer, one): signals[layer, two], (layer, two): signals[layer, one]}
                yield dict(signals) | swapped


def top(module: nn.RNNBase, signals: Mapping[tuple[str, str], Tensor]) -> Tensor:
    """Return the hidden states of the last layer, both directions side by side, 0 at padding."""
    last = [layer for layer in reference.layers_of(module) if layer.startswith(f"[{module.num_layers - 1}]")]
    return torch.cat([signals[layer, "hidden_state"] for layer in last], dim=2).nan_to_num(0.0)


def final_states(network: Network, module: nn.RNNBase, signals: Mapping[tuple[str, str], Tensor]) -> Tensor:
    """Return each layer's hidden state at the end of each sequence, (layer, batch, unit)."""
    rows, ends = torch.arange(network.batch), network.ends() - 1
    return torch.stack(
        [
            signals[layer, "hidden_state"][rows, torch.zeros_like(ends) if layer.endswith(".reverse") else ends]
            for layer in reference.layers_of(module)
        ]
    )


def scalar_of(seed: int) -> Callable[[Any], Tensor]:
    """Return a function of a module's output that weighs every number in it differently."""

    def scalar(output: Any) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        parts = [part for part in flat(output) if part.is_floating_point()]
        weights = [torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in parts]
        return torch.stack([(part.sin() * weight).sum() for part, weight in zip(parts, weights, strict=True)]).sum()

    return scalar
