"""The end of each sequence as a machine: the layer that the readout reads, run from any of its states to the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from ..errors import ProbeError
from ..layers import Layer, find_layers
from ..machines import Machine
from ..signals import Signal
from .observed import packed, run
from .prepared import Prepared
from .readouts import Head
from .sample import LEAST_SEQUENCES
from .sightings import flops

#: About how many operations the ablations may take: what is left of each sequence, and how many, follow from it.
BUDGET = 1.2e11
#: Of so many units at most each is ablated, its state replaced by that of so many other sequences.
UNITS, DRAWS = 24, 4
MOST_SEQUENCES, FEWEST_SEQUENCES, FEWEST_STEPS, MOST_POINTS = 512, 64, 4, 60_000


class TailModel(nn.Module):
    """A recurrent layer that begins at given states, and the head that reads its last hidden state.

    It is called with (row, step, number): what the layer reads, a number that tells sequences apart and has no
    weight, and the states that the row begins with.

    Args:
        rnn: the layer, one level and one direction.
        head: the readout.
        states: for each state, in torch's order, how many numbers it has.
    """

    def __init__(self, rnn: nn.RNNBase, head: Head, states: list[int]) -> None:
        super().__init__()
        self.rnn, self.head, self.states = rnn, head, states

    def forward(self, x: Float[Tensor, "row step number"]) -> Tensor:
        """Return the head's scores of each row's last hidden state."""
        width = self.rnn.input_size
        parts = x[:, 0, width:].split(self.states, 1)
        begin = [part.unsqueeze(0).contiguous() for part in parts]
        h, _ = self.rnn(x[..., :width], tuple(begin) if len(begin) > 1 else begin[0])
        return self.head(h[:, -1])


@dataclass(frozen=True, eq=False)
class Tail:
    """The last steps of some sequences.

    Attributes:
        machine: runs them from any state.
        rows: which sequences, (sequence,).
        steps: how many steps of each.
        values: the concept that the readout answers, (sequence, step); NaN where undefined.
        whole: whether these are whole sequences.
    """

    machine: Machine
    rows: np.ndarray
    steps: int
    values: np.ndarray
    whole: bool

    @property
    def said(self) -> str:
        """Return which part of the inputs this is, in words."""
        part = "their whole length" if self.whole else f"the last {self.steps} steps of each"
        return f"{len(self.rows):,} sequences, {part}"


def why_not(prepared: Prepared) -> str | None:
    """Return the sentence why the layer that the readout reads cannot be run from its states, or None."""
    read = prepared.read
    if read is None:
        return "There is no readout."
    module: Any = read.module
    name = type(module).__name__
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase)):
        return f"The readout reads {read.name}, a {name} that torch does not have; only torch's own layers are run from their states here."
    if getattr(module, "bidirectional", False):
        return f"The readout reads {read.name} of a network that reads both ways; its answer follows two states, and only one direction is run here."
    if getattr(module, "proj_size", 0):
        return f"The readout reads {read.name}, whose hidden state is projected, which is not run from its states here."
    last = np.isfinite(_at_end(prepared.answered.values, prepared.lengths))
    if last.sum() < LEAST_SEQUENCES:
        return (
            f"“{prepared.answered.name}” is defined at the last step of {last.sum()} sequences; at least "
            f"{LEAST_SEQUENCES} are needed to put one's state into another's run."
        )
    return None


def build(prepared: Prepared) -> Tail:
    """Return the last steps as a machine; how many, and of how many sequences, follows from what a step costs.

    Raises:
        ProbeError: `why_not` says why not.
    """
    reason, read, head = why_not(prepared), prepared.read, prepared.head
    if reason is not None or read is None or head is None:
        raise ProbeError(reason or "There is no readout.")
    lengths, one = prepared.lengths, flops(read) * DRAWS * min(read.units, UNITS)
    defined = np.flatnonzero(np.isfinite(_at_end(prepared.answered.values, lengths)))
    # Three quarters of the sequences are this long or longer.
    usual = int(np.quantile(lengths[defined], 0.25, method="lower"))
    steps = int(np.clip(BUDGET / (one * FEWEST_SEQUENCES), min(FEWEST_STEPS, usual), usual))
    most = int(np.clip(BUDGET / (one * steps), FEWEST_SEQUENCES, min(MOST_SEQUENCES, MOST_POINTS // steps)))
    long = defined[lengths[defined] >= steps]
    rows = long
    if len(long) > most:
        rows = np.sort(np.random.default_rng([prepared.seed, 5]).choice(long, most, replace=False))
    x, whole = _inputs(prepared, read, rows, steps)
    model = TailModel(_alone(read), head, [read.size(signal) for signal in read.states])
    machine = Machine(model, x, answer=head.answer, expected=head.expected)
    values = _last(prepared.answered.values[rows][:, :, None], lengths[rows], steps)[:, :, 0]
    return Tail(machine, rows, steps, values, whole)


def _at_end(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return values[np.arange(len(values)), lengths - 1]


def _last(values: np.ndarray, lengths: np.ndarray, steps: int) -> np.ndarray:
    """Return the last steps of each row, (row, step, number)."""
    places = lengths[:, None] - steps + np.arange(steps)
    return values[np.arange(len(values))[:, None], places]


def _inputs(prepared: Prepared, read: Layer, rows: np.ndarray, steps: int) -> tuple[Tensor, bool]:
    """Return what `TailModel` is called with, and whether all rows begin at their first step."""
    x, lengths = prepared.x[rows], prepared.lengths[rows]
    values = layer_inputs(prepared.opened.model, x, lengths, read)
    width, whole = values.shape[2], bool((lengths == steps).all())
    numbers = sum(read.size(signal) for signal in read.states)
    found = np.zeros((len(rows), steps, width + 1 + numbers))
    found[:, :, :width] = _last(values, lengths, steps)
    if not whole:
        # Rows that go on alike from different states are different: without a number of their own they would be one.
        found[:, :, width] = np.arange(len(rows))[:, None]
        recording = run(prepared.opened.model, x, lengths, read.name, read.states)
        states = np.concatenate([recording[read.name, signal].double().numpy() for signal in read.states], axis=2)
        later = lengths > steps
        found[later, 0, width + 1 :] = states[later, lengths[later] - steps - 1]
    return torch.as_tensor(found), whole


@torch.no_grad()
def layer_inputs(model: nn.Module, x: Tensor, lengths: np.ndarray, layer: Layer) -> np.ndarray:
    """Return what a layer reads at each step, (sequence, time, number), float64."""
    if layer.level:
        below = layer.name.rpartition("[")[0] + f"[{layer.level - 1}]"
        return run(model, x, lengths, below, [Signal.HIDDEN_STATE])[below, Signal.HIDDEN_STATE].double().numpy()
    kept: list[Any] = []

    def hook(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        kept.append(arguments[0] if arguments else keywords["input"])

    handle = layer.module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        model(packed(model, x, lengths))
    finally:
        handle.remove()
    if layer.is_cell:
        return torch.stack(kept, 1).double().numpy()
    (given,) = kept
    given = pad_packed_sequence(given, batch_first=True)[0] if isinstance(given, PackedSequence) else given
    return given.double().numpy()


def _alone(layer: Layer) -> nn.RNNBase:
    """Return a layer as a module of its own in float64, which reads one number more, with weight 0."""
    cell, module = layer.cell, layer.module
    weights = cell.weights
    kinds: dict[Any, Any] = {
        nn.LSTM: nn.LSTM, nn.GRU: nn.GRU, nn.RNN: nn.RNN, nn.LSTMCell: nn.LSTM, nn.GRUCell: nn.GRU, nn.RNNCell: nn.RNN,
    }
    kind = next(made for own, made in kinds.items() if isinstance(module, own))
    options = {"nonlinearity": getattr(module, "nonlinearity")} if kind is nn.RNN else {}  # noqa: B009 - torch's
    bias = weights.b_ih is not None
    found = kind(layer.inputs + 1, layer.units, bias=bias, batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        found.weight_ih_l0.copy_(torch.cat([weights.W, weights.W.new_zeros(len(weights.W), 1)], 1))
        found.weight_hh_l0.copy_(weights.U)
        if weights.b_ih is not None and weights.b_hh is not None:
            found.bias_ih_l0.copy_(weights.b_ih)
            found.bias_hh_l0.copy_(weights.b_hh)
    return found.eval()


def single(model: nn.Module, name: str) -> Layer:
    """Return a layer of a model by its name."""
    return find_layers(model, [name])[0]
