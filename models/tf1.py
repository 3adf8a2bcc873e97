"""Turns the arrays of TensorFlow 1's `BasicLSTMCell` into a counter that computes the same."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import ProbeError

from .counter import Counter


@torch.no_grad()
def from_basic_lstm_cell(
    kernel: Float[Tensor, "input_and_hidden gates"] | Float[np.ndarray, "input_and_hidden gates"],
    bias: Float[Tensor, " gates"] | Float[np.ndarray, " gates"],
    weight: Float[Tensor, "hidden class"] | Float[np.ndarray, "hidden class"],
    head_bias: Float[Tensor, " class"] | Float[np.ndarray, " class"],
    *,
    forget_bias: float,
) -> Counter:
    """Return the counter that a `BasicLSTMCell` over single bits and a softmax head make up.

    Args:
        kernel: one matrix for input and state, (1 + hidden, 4 hidden), columns in the order i j f o.
        bias: (4 hidden), in the same order.
        weight: the head's matrix, (hidden, class).
        head_bias: the head's bias, (class).
        forget_bias: the constant that the cell adds to the forget gate at run time. It is not in any
            TensorFlow file: with the wrong one nothing fails, only hundreds of strings come out wrong.
            The cell's default is 1.0.

    Returns:
        A counter in evaluation mode with the arrays' dtype. The forget bias stands in `bias_ih`;
        `bias_hh` is 0.

    Raises:
        ProbeError: the shapes do not belong to one network.

    Reference:
        TensorFlow 1.15, python/ops/rnn_cell_impl.py, `BasicLSTMCell.call`.
    """
    tensors = [torch.as_tensor(array) for array in (kernel, bias, weight, head_bias)]
    kernel_, bias_, weight_, head_bias_ = tensors
    hidden, classes = weight_.shape
    wanted = [(1 + hidden, 4 * hidden), (4 * hidden,), (hidden, classes), (classes,)]
    found = [tuple(tensor.shape) for tensor in tensors]
    if found != wanted:
        raise ProbeError(
            f"The arrays kernel, bias, weight, head_bias have the shapes {found}; for {hidden} units, "
            f"1 input and {classes} classes they must have {wanted}."
        )
    model = Counter(hidden, classes).to(kernel_.dtype)
    # TensorFlow's j is torch's g: i j f o -> i f g o.
    i, j, f, o = kernel_.split(hidden, dim=1)
    torch_kernel = torch.cat([i, f, j, o], dim=1)
    b_i, b_j, b_f, b_o = bias_.split(hidden)
    model.lstm.get_parameter("weight_ih_l0").copy_(torch_kernel[:1].T)
    model.lstm.get_parameter("weight_hh_l0").copy_(torch_kernel[1:].T)
    model.lstm.get_parameter("bias_ih_l0").copy_(torch.cat([b_i, b_f + forget_bias, b_j, b_o]))
    model.lstm.get_parameter("bias_hh_l0").zero_()
    model.head.weight.copy_(weight_.T)
    model.head.bias.copy_(head_bias_)
    return model.eval()
