"""`CustomLSTM`, `CustomGRU`, `CustomRNN`: modules with peepholes, other functions or learned initial states.

They are called and return as torch's modules, have torch's names for their parameters, and are recorded and edited
like them. Each is one layer in one direction; stack them in a model of your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..errors import ProbeError, unknown
from .calls import as_called, write_output
from .cells.cell import HIDDEN, Cell, Weights
from .cells.gru import GRUCell
from .cells.lstm import LSTMCell
from .cells.nonlinearities import ACTIVATIONS, Activations, check_activation
from .cells.rnn import RNNCell
from .layers import Layer, OwnModule

_RESETS = ("before", "after")


class CustomModule(OwnModule):
    """What the three modules share: parameters, calls and their errors.

    Attributes:
        input_size: how many features it reads at a step.
        bias: whether it has two biases.
        options: what its cell was asked to be, by the name of the argument.
    """

    #: How many rows a unit has in the matrices, and how many states are handed from step to step.
    rows: int
    states: int

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter | None
    bias_hh_l0: nn.Parameter | None
    weight_peephole_i: nn.Parameter | None
    weight_peephole_f: nn.Parameter | None
    weight_peephole_o: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        options: Mapping[str, Any],
        *,
        learned_initial_state: bool,
        bias: bool,
        batch_first: bool,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ProbeError(f"{name}={size!r} must be a whole number, 1 or more.")
        for name, value in options.items():
            if name.endswith("activation"):
                check_activation(name, value)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.bias, self.batch_first, self.options = bias, batch_first, dict(options)
        count, peepholes = self.rows * hidden_size, options.get("peepholes")
        shapes = {
            "weight_ih_l0": (count, input_size),
            "weight_hh_l0": (count, hidden_size),
            "bias_ih_l0": (count,) if bias else None,
            "bias_hh_l0": (count,) if bias else None,
            "weight_peephole_i": (hidden_size,) if peepholes else None,
            "weight_peephole_f": (hidden_size,) if peepholes else None,
            "weight_peephole_o": (hidden_size,) if peepholes else None,
            "h_0": (hidden_size,) if learned_initial_state else None,
            "c_0": (hidden_size,) if learned_initial_state and self.states > 1 else None,
        }
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights, biases and peepholes as torch does, within 1 / sqrt(hidden_size); learned states are zero."""
        bound = self.hidden_size**-0.5
        for name, parameter in self.named_parameters():
            if name in ("h_0", "c_0"):
                parameter.zero_()
            else:
                parameter.uniform_(-bound, bound)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Tensor, Any]:
        """Run over sequences, as torch's module of this kind.

        Args:
            input: (time, batch, input), or (batch, time, input) with `batch_first`, or (time, input).
            hx: the initial states, (1, batch, unit) or (1, unit) each; None for the learned ones, or else for zeros.

        Returns:
            The hidden states at every step, and the last states.

        Raises:
            ProbeError: the input is packed, or the input or hx has another shape.
        """
        layers = (Layer("[0]", self),)
        call = as_called(layers, input, hx)
        signals, final = self.make_cell().run(call.x, call.initial[0], (HIDDEN,))
        return write_output(layers, signals[HIDDEN], [final], call)

    def check_call(self, x: Any, state: Any) -> None:
        """Raise ProbeError where it cannot be called with an input and an initial state (or None)."""
        name = type(self).__name__
        if isinstance(x, PackedSequence):
            raise ProbeError(
                f"{name} reads no PackedSequence: pad it, or run the rows of each length by themselves. Padded "
                "(torch.nn.utils.rnn.pad_packed_sequence), each row's last states are those at its own last step."
            )
        if not isinstance(x, Tensor):
            raise ProbeError(f"{name} was called with a {type(x).__name__}; it reads a tensor.")
        shape = tuple(x.shape)
        if len(shape) not in (2, 3) or shape[-1] != self.input_size or 0 in shape:
            axes = "(batch, time, input)" if self.batch_first else "(time, batch, input)"
            raise ProbeError(
                f"{name} was called with an input of shape {shape}; it reads {axes}, or (time, input) of one "
                f"sequence, with at least 1 row and 1 step, and {self.input_size} features."
            )
        if state is None:
            return
        batch = (shape[0 if self.batch_first else 1],) if len(shape) == 3 else ()
        wanted = (1, *batch, self.hidden_size)
        parts = list(state) if isinstance(state, (tuple, list)) and self.states > 1 else [state]
        found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        if found != [wanted] * self.states:
            what = "a pair (h_0, c_0) of tensors" if self.states > 1 else "a tensor"
            raise ProbeError(
                f"{name} was called with hx of {', '.join(map(str, found))}; with an input of shape {shape} it takes "
                f"{what} of shape {wanted}."
            )

    def extra_repr(self) -> str:
        """Return the sizes and options, for a model's repr."""
        learned = {"learned_initial_state": self.h_0 is not None}
        named = self.options | learned | {"bias": self.bias, "batch_first": self.batch_first}
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *(f"{k}={v!r}" for k, v in named.items())])

    def _activations(self) -> Activations:
        given = ("gate_activation", "sigmoid"), ("activation", "tanh"), ("output_activation", "tanh")
        return Activations(*(ACTIVATIONS[self.options.get(name, usual)] for name, usual in given))

    def _weights(self) -> Weights:
        # By attribute, so that a parametrized weight is computed as it is now.
        return Weights(
            self.weight_ih_l0,
            self.weight_hh_l0,
            self.bias_ih_l0,
            self.bias_hh_l0,
            None,
            self.weight_peephole_i,
            self.weight_peephole_f,
            self.weight_peephole_o,
        )


class CustomLSTM(CustomModule):
    """An LSTM with peepholes, other functions or a learned initial state; with none of them, torch.nn.LSTM.

        i = gate(W_i x + U_i h + b_i + p_i c)    f = gate(W_f x + U_f h + b_f + p_f c)
        g = activation(W_g x + U_g h + b_g)      c' = f c + i g
        o = gate(W_o x + U_o h + b_o + p_o c')   h' = o output_activation(c')

    Gers & Schmidhuber 2000. With peepholes a step computes o after the cell state, so an edit of the cell state moves
    o too. A forget bias that a framework adds at run time belongs into `bias_ih_l0`.

    Args:
        input_size: how many features it reads at a step.
        hidden_size: how many units it has.
        peepholes: whether i and f see the previous cell state and o the new one (`weight_peephole_i`, `_f`, `_o`).
        gate_activation: of i, f and o: sigmoid, hard_sigmoid_keras2, hard_sigmoid_keras3, tanh, relu or linear.
        activation: of g.
        output_activation: of the cell state; Keras uses its one `activation` for both.
        learned_initial_state: whether a run begins with the parameters `h_0` and `c_0`, (unit,) each.
        bias: whether there are the two biases.
        batch_first: whether the batch is the first axis.

    Raises:
        ProbeError: a size is no positive whole number, or there is no function of a name.
    """

    rows, states = 4, 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        peepholes: bool = False,
        gate_activation: str = "sigmoid",
        activation: str = "tanh",
        output_activation: str = "tanh",
        learned_initial_state: bool = False,
        bias: bool = True,
        batch_first: bool = False,
    ) -> None:
        options = {
            "peepholes": peepholes,
            "gate_activation": gate_activation,
            "activation": activation,
            "output_activation": output_activation,
        }
        super().__init__(
            input_size,
            hidden_size,
            options,
            learned_initial_state=learned_initial_state,
            bias=bias,
            batch_first=batch_first,
        )

    def make_cell(self) -> Cell:
        """Return its cell with its weights as they are now."""
        return LSTMCell(self._weights(), self._activations())


class CustomGRU(CustomModule):
    """A GRU with its reset gate before or after the product, other functions or a learned initial state.

        r = gate(W_r x + U_r h + b_r)            z = gate(W_z x + U_z h + b_z)
        n = activation(W_n x + b_in + U_n (r h) + b_hn)     (before)
        n = activation(W_n x + b_in + r (U_n h + b_hn))     (after, as torch.nn.GRU)
        h' = (1 - z) n + z h

    Cho et al. 2014 (before). Keras says `reset_after=False` or `True`, ONNX `linear_before_reset=0` or `1`;
    TensorFlow 1's GRUCell resets before. The order of the gates in the matrices is torch's: r z n.

    Args:
        input_size: how many features it reads at a step.
        hidden_size: how many units it has.
        reset: whether the gate acts on the hidden state "before" the product, or "after" it on its result.
        gate_activation: of r and z: sigmoid, hard_sigmoid_keras2, hard_sigmoid_keras3, tanh, relu or linear.
        activation: of n.
        learned_initial_state: whether a run begins with the parameter `h_0`, (unit,).
        bias: whether there are the two biases.
        batch_first: whether the batch is the first axis.

    Raises:
        ProbeError: a size is no positive whole number, reset is another word, or there is no function of a name.
    """

    rows, states = 3, 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset: str = "before",
        gate_activation: str = "sigmoid",
        activation: str = "tanh",
        learned_initial_state: bool = False,
        bias: bool = True,
        batch_first: bool = False,
    ) -> None:
        if reset not in _RESETS:
            raise ProbeError(unknown("reset", reset, _RESETS))
        super().__init__(
            input_size,
            hidden_size,
            {"reset": reset, "gate_activation": gate_activation, "activation": activation},
            learned_initial_state=learned_initial_state,
            bias=bias,
            batch_first=batch_first,
        )

    def make_cell(self) -> Cell:
        """Return its cell with its weights as they are now."""
        return GRUCell(self._weights(), self._activations(), reset_before=self.options["reset"] == "before")


class CustomRNN(CustomModule):
    """A plain recurrent layer, h' = activation(W x + U h + b), with any function or a learned initial state.

    Elman 1990.

    Args:
        input_size: how many features it reads at a step.
        hidden_size: how many units it has.
        activation: sigmoid, hard_sigmoid_keras2, hard_sigmoid_keras3, tanh, relu or linear.
        learned_initial_state: whether a run begins with the parameter `h_0`, (unit,).
        bias: whether there are the two biases.
        batch_first: whether the batch is the first axis.

    Raises:
        ProbeError: a size is no positive whole number, or there is no function of that name.
    """

    rows, states = 1, 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "tanh",
        learned_initial_state: bool = False,
        bias: bool = True,
        batch_first: bool = False,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            {"activation": activation},
            learned_initial_state=learned_initial_state,
            bias=bias,
            batch_first=batch_first,
        )

    def make_cell(self) -> Cell:
        """Return its cell with its weights as they are now."""
        return RNNCell(self._weights(), self._activations().candidate)
