"""`ExplorerNetwork`: a network's weights packed into the page, as base64."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import ProbeError, unknown
from ..evidence.words import said
from .rival_programs import ExplorerProgram

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..recurrent.layers import Layer

#: What a network may be, each with a colour of its own on every page: the roles of `probe.plots.style`, and what the
#: legend says of each.
LOOKS = {
    "trained": "trained",
    "own initialisation": "untrained weights, untrained head",
    "planted": "written by hand",
    "fitted head": "untrained weights, head fitted",
    "ridge head": "untrained weights, head fitted with a penalty",
    "noise head": "untrained weights, head fitted under noise",
    "scores head": "untrained weights, scores fitted under noise",
    "scaled head": "untrained weights times a factor, scores fitted under noise",
    "random weights": "weights drawn anew",
    "template": "trained to answer another question",
}
#: A page carries networks of so many parameters; 100,000 numbers take half a megabyte.
LIMIT = 100_000
#: How far the module's own output may lie from the head's scores of the last hidden state, in float64.
_TOLERANCE = 1e-9


@runtime_checkable
class Array(Protocol):
    """A numpy array or a tensor."""

    def tolist(self) -> Any:
        """Return the numbers as lists."""
        ...


#: The number, or the features, of one step.
Features = float | Sequence[float] | Array
#: For each symbol what a network reads for it.
Alphabet = Mapping[str, Features]


@dataclass(frozen=True)
class ExplorerNetwork:
    """One network of an explorer.

    Args:
        name: what the reader chooses it by.
        module: a stack of torch's LSTM, GRU or RNN in one direction, alone or inside a model whose output is one
            linear head's, read from the last hidden state.
        role: what it is there for, in a sentence.
        head: the name of the head among the model's modules, or a linear layer of its own that reads the last hidden
            state of `module`, so that the layers keep their names; None takes the only `nn.Linear`, or none where
            the model has none: then the last hidden state is the output.
        softmax: whether the head's scores are read as probabilities of classes.
        alphabet: what this network reads for each symbol, where it differs from the explorer's.
        trained_lengths: how long the sequences of its training were, where that differs from the explorer's.
        programs: rival programs of this network alone, such as one with a fitted number; one takes the place of the
            explorer's program of the same name, further ones are added.
        look: whose colour it is drawn in: a role, as in `probe.plots`. Where networks of several roles stand beside
            each other, a legend says in words what they are.
        sequences: what the page is about, each (time, feature), such as all inputs of a study: the units stand in
            the order of how far they move the answer over these. Empty takes the explorer's example alone.

    Raises:
        ProbeError: the module is none, the name is empty, or there is no such look.
    """

    name: str
    module: nn.Module = field(repr=False)
    role: str = ""
    head: str | nn.Linear | None = None
    softmax: bool = True
    alphabet: Alphabet | None = None
    trained_lengths: Sequence[int] | None = None
    programs: Sequence[ExplorerProgram] = ()
    look: str = "trained"
    sequences: Sequence[Array] | Tensor = field(default=(), repr=False)

    def __post_init__(self) -> None:
        from torch import nn

        if not isinstance(self.module, nn.Module):
            raise ProbeError(
                f"Network {self.name!r} must be a torch.nn.Module; this is a {type(self.module).__name__}."
            )
        if not self.name.strip():
            raise ProbeError("A network of an explorer needs a name: the reader chooses it by that.")
        if self.look not in LOOKS:
            raise ProbeError(unknown("look of a network", self.look, LOOKS))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its recurrent layers."""
        from ..recurrent.finding import find_layers

        return find_layers(self.module)

    @property
    def parameters(self) -> int:
        """How many parameters its layers and its head have."""
        weights = [parameter for layer in self.layers for parameter in _of_layer(layer)]
        return sum(parameter.numel() for parameter in (*weights, *_of_head(find_head(self))))

    @property
    def why_not(self) -> str | None:
        """The sentence that says why a page cannot run it, or None."""
        kind = self.layers[0].module
        if any(layer.module is not kind for layer in self.layers):
            return f"{self.name} has several recurrent modules, and the explorer runs one."
        name = type(kind).__name__
        if name not in ("LSTM", "GRU", "RNN") or not type(kind).__module__.startswith("torch."):
            return f"{self.name} is a {name}, and the explorer runs torch's own LSTM, GRU and RNN."
        if any(layer.reads_back for layer in self.layers):
            return f"{self.name} reads its input in both directions, and the explorer runs one direction."
        if getattr(kind, "proj_size", 0):
            return f"{self.name} projects its hidden state, which the explorer does not run."
        if self.parameters > LIMIT:
            return (
                f"{self.name} has {self.parameters:,} parameters, and a page carries networks of up to {LIMIT:,}; "
                "probe.record and probe.intervene run it in Python."
            )
        return None


def find_head(network: ExplorerNetwork) -> nn.Linear | None:
    """Return the head of a network, or None where its output is the last hidden state."""
    from torch import nn

    if isinstance(network.head, nn.Linear):
        return network.head
    linear = {name: module for name, module in network.module.named_modules() if isinstance(module, nn.Linear)}
    if network.head is not None:
        if network.head not in linear:
            raise ProbeError(unknown("nn.Linear", network.head, linear))
        return linear[network.head]
    if len(linear) > 1:
        raise ProbeError(
            f"Network {network.name!r} has {len(linear)} modules nn.Linear ({', '.join(map(repr, linear))}). "
            "Say with head= which of them reads the last hidden state."
        )
    return next(iter(linear.values()), None)


def has_classes(network: ExplorerNetwork) -> bool:
    """Return whether a network's answer is one of several classes, and not a number or a state."""
    head = find_head(network)
    return bool(network.softmax and head is not None and head.out_features > 1)


def named(network: ExplorerNetwork, value: float, classes: Sequence[str]) -> str:
    """Return an answer as the page says it: of classes the name of its place, else the number."""
    head = find_head(network)
    if head is not None and has_classes(network) and value in range(head.out_features):
        return classes[int(value)] if len(classes) == head.out_features else f"class {value:g}"
    return said(value).removesuffix(".00")


def spoken(network: ExplorerNetwork, hidden: Tensor, classes: Sequence[str]) -> str:
    """Return what a network answers from its last hidden state, (unit,), as the page says it."""
    head = find_head(network)
    scores = hidden if head is None else copy.deepcopy(head).double()(hidden)
    if has_classes(network):
        return named(network, int(scores.argmax()), classes)
    return ", ".join([*map(said, scores.tolist()[:4]), *(["\N{HORIZONTAL ELLIPSIS}"] if len(scores) > 4 else [])])


def check_weights(network: ExplorerNetwork) -> None:
    """Raise where a weight of a network's layers or head is NaN or infinite."""
    weights = [weight for layer in network.layers for weight in _of_layer(layer)] + _of_head(find_head(network))
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise ProbeError(f"Network {network.name!r} has weights that are NaN or infinite; give one that was trained.")


def embed(network: ExplorerNetwork) -> dict[str, Any]:
    """Return a network as the explorer's script reads it, ready for JSON.

    The weights are base64 of float32 where that holds them exactly, and of float64 otherwise.
    """
    import torch

    head, layers = find_head(network), network.layers
    weights = [weight for layer in layers for weight in _of_layer(layer)] + _of_head(head)
    numbers = torch.cat([weight.detach().cpu().double().flatten() for weight in weights])
    exact = bool((numbers.float().double() == numbers).all())
    return {
        "name": network.name,
        "role": network.role,
        "layers": [_described(layer) for layer in layers],
        "scores": 0 if head is None else head.out_features,
        "head_bias": head is not None and head.bias is not None,
        "softmax": has_classes(network),
        "dtype": "float32" if exact else "float64",
        "weights": base64.b64encode((numbers.float() if exact else numbers).numpy().tobytes()).decode(),
    }


def moving(network: ExplorerNetwork, example: Mapping[str, Tensor]) -> list[list[float]]:
    """Return for each layer how far its units move the answer, (unit,), as shares of the one that does most.

    Of what the head reads it is the length of a unit's weights times the standard deviation of its hidden state. All
    scores of classes may grow alike and the answer stays, so weights are taken from their mean over classes. Where no
    head reads, it is the standard deviation alone.

    Args:
        network: the network.
        example: the hidden states of each layer on the explorer's example, (time, unit).
    """
    states, head = _hidden(network) if len(network.sequences) else example, find_head(network)
    moved = [states[layer.name].std(0, correction=0) for layer in network.layers]
    if head is not None:
        weight = head.weight.detach().cpu().double()
        moved[-1] = moved[-1] * (weight - weight.mean(0) * has_classes(network)).norm(dim=0)
    return [[round(share, 4) for share in (one / one.max().clamp(min=1e-300)).tolist()] for one in moved]


def _hidden(network: ExplorerNetwork) -> dict[str, Tensor]:
    """Return the hidden states of each layer at every step of the network's sequences, (state, unit)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from ..hooks.record import record

    given, width = [torch.as_tensor(one, dtype=torch.float64) for one in network.sequences], network.layers[0].inputs
    if any(one.dim() != 2 or not len(one) or one.shape[1] != width for one in given):
        shapes = sorted({tuple(one.shape) for one in given})
        raise ProbeError(
            f"The sequences of network {network.name!r} must each be (time, {width}), as it reads them; these have "
            f"the shapes {shapes[:5]}."
        )
    read = torch.arange(max(map(len, given))) < torch.tensor([len(one) for one in given])[:, None]
    recording = record(double_of(network), _as_read(network, pad_sequence(given, batch_first=True)))
    return {layer.name: recording[layer.name, "hidden_state"][read] for layer in network.layers}


def double_of(network: ExplorerNetwork) -> nn.Module:
    """Return a copy of the network's module in float64 and evaluation mode, which is what the page computes."""
    from ..recurrent.global_state import in_float64

    return in_float64(network.module)


def batch_of(network: ExplorerNetwork, sequences: Sequence[Sequence[Sequence[float]]]) -> Tensor:
    """Return sequences of one length, each (time, feature), as the batch that the network's module is called with."""
    import torch

    return _as_read(network, torch.tensor(sequences, dtype=torch.float64))


def _as_read(network: ExplorerNetwork, x: Tensor) -> Tensor:
    """Return a batch, (batch, time, feature), in the order of axes that the network's module is called with."""
    module: Any = network.layers[0].module
    return x if getattr(module, "batch_first", False) else x.transpose(0, 1)


def check_output(network: ExplorerNetwork, output: object, x: Tensor) -> None:
    """Raise where a model's output is not what its head makes of the last hidden state of its layers on the input.

    The layers are run alone, as the page runs them: a model may change what they read, or begin from another state.
    """
    import torch

    if network.module is network.layers[0].module:
        return
    head, layers = find_head(network), copy.deepcopy(network.layers[0].module).double().eval()
    apart = head is network.head
    with torch.no_grad():
        hidden = layers(x)[0].flatten(0, 1)
        scores = hidden[-1] if apart or head is None else copy.deepcopy(head).double()(hidden[-1])
    found = output.flatten()[-len(scores) :] if isinstance(output, torch.Tensor) else hidden.new_empty(0)
    if not any(
        found.shape == one.shape and torch.allclose(found, one, rtol=0, atol=_TOLERANCE)
        for one in (scores, scores.softmax(0), scores.log_softmax(0))
    ):
        raise ProbeError(
            f"The output of network {network.name!r} is not what one linear head makes of the last hidden state of "
            "its layers on the input as it is, from a state of zeros, which is all that the explorer runs. Give the "
            "recurrent module alone, if that is the network that you mean without what the model adds."
        )


def _of_layer(layer: Layer) -> list[Tensor]:
    import torch

    with torch.no_grad():
        weights = layer.cell.weights
    return [weight for weight in (weights.W, weights.U, weights.b_ih, weights.b_hh) if weight is not None]


def _of_head(head: nn.Linear | None) -> list[Tensor]:
    return [] if head is None else [weight for weight in (head.weight, head.bias) if weight is not None]


def _described(layer: Layer) -> dict[str, Any]:
    module: Any = layer.module
    return {
        "name": layer.name,
        "family": type(module).__name__.lower(),
        "relu": getattr(module, "nonlinearity", "tanh") == "relu",
        "units": layer.units,
        "inputs": layer.inputs,
        "bias": bool(module.bias),
    }
