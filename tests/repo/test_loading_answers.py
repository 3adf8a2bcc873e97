"""Files of frameworks against what the frameworks computed of them: every option, in every format.

tests/data/checkpoints/make_*.py of commit 337f2836 wrote the files and the answers, each in an environment with its
framework; so did the programs that trained the counters. No framework is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused, said

import probe
from probe.loading.modules import Masked

DATA = Path(__file__).parents[1] / "data"
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


@dataclass(frozen=True)
class Answers:
    """A file, what its caller must say, and for each of its layers, in order, the name of the framework's answer.

    The answer `-` is the next layer's input, as in a stack.
    """

    file: str
    names: str
    reference: str
    start: str = ""
    choices: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str | None] | None = None

    def __str__(self) -> str:
        return f"{self.file} {self.names.split()[0]}"


WIDE = {
    "2": "lstm lstm_hard lstm_no_bias lstm_backwards gru_after gru_before gru_hard rnn_tanh rnn_relu rnn_sigmoid "
    "both_lstm both_gru_sum both_rnn_mul cell_lstm inner",
    "3": "lstm lstm_1 lstm_2 lstm_3 gru gru_1 gru_2 simple_rnn simple_rnn_1 simple_rnn_2 "
    "bidirectional bidirectional_1 bidirectional_2 rnn inner",
}
MASKED = "gru both backwards custom"
NODES = (
    "lstm lstm_no_bias lstm_reverse lstm_both lstm_peepholes lstm_initial lstm_hard lstm_affine gru_after gru_before "
    "gru_both gru_initial rnn rnn_two_functions"
)
FLAX = {"flax": "OptimizedLSTMCell_0 gru lstm optimized simple", "nnx": "lstm optimized gru simple"}
TANH: dict[str, Any] = {"activation": "tanh"}
TF1: dict[str, Any] = {"forget_bias": 1.0}
NO_BIAS: dict[str, Any] = {"forget_bias": 0.0}
SIGMOID: dict[str, Any] = {"gate_activation": "sigmoid"}


def alone(file: str, inner: str, names: str, **choices: str) -> Answers:
    """Return weights of Keras's wide model without their configuration: some layers, and the others left out."""
    every = [name.replace("inner", inner) for name in WIDE["2"].split()]
    left_out: dict[str, str | None] = {f"{name}/*": None for name in every if name not in names.split()}
    in_order = names if inner == "deep" else " ".join(sorted(names.split()))
    return Answers(file, in_order, "keras2", "wide.", choices, left_out)


TABLE = [
    *(Answers(f"keras{g}_wide.{end}", WIDE[g], f"keras{g}", "wide.") for g in WIDE for end in ("keras", "h5")),
    *(Answers(f"keras{g}_masked.{end}", MASKED, f"keras{g}", "masked.") for g in WIDE for end in ("keras", "h5")),
    *(
        Answers(f"keras2_cudnn_{kind}{end}.h5", kind, "keras2", "cudnn.")
        for kind in ("lstm", "gru")
        for end in ("", "_weights")
    ),
    # What trained a layer lies under its name too, and stays beside it.
    Answers("keras2_trained.h5", "lstm", "keras2", "trained."),
    *(
        alone(file, inner, names, **choices)
        for file, inner in (("keras2_wide_weights.h5", "inner"), ("keras2_saved_model", "deep"))
        for names, choices in (
            ("lstm gru_after gru_before both_lstm", SIGMOID | TANH),
            ("lstm_no_bias", SIGMOID | {"activation": "linear"}),
            ("rnn_sigmoid", {"activation": "sigmoid"}),
        )
    ),
    Answers("nodes.onnx", NODES, "onnx", "nodes."),
    Answers("nested.onnx", "else then", "onnx", "nested."),
    Answers("torch_dynamo.onnx", "- lstm gru", "onnx", "torch."),
    Answers("torch_script.onnx", "- lstm gru rnn", "onnx", "torch."),
    Answers("tf2onnx.onnx", "both gru_after lstm", "tf2onnx"),
    Answers("flax.msgpack", FLAX["flax"], "jax", "flax.", TANH),
    Answers("flax.safetensors", FLAX["flax"], "jax", "flax.", TANH),
    Answers("flax_nnx.npz", FLAX["nnx"], "jax", "nnx.", TANH),
    Answers("haiku.pkl", "gru lstm plain single", "jax", "haiku."),
    Answers("haiku_numpy.pkl", "gru lstm plain single", "jax", "haiku."),
    Answers("tf1_cells", "basic_lstm both gru lstm peepholes projected rnn - stack", "tf1", "tf1_cells.", TF1 | TANH),
    *(
        Answers(f"../tf1-counter/{name}", "h", "../tf1-counter/ref", "", TF1)
        for name in ("model.ckpt-10000", "model.ckpt-10000.index", "weights.npz")
    ),
    Answers("../keras-counter/model.keras", "h", "../keras-counter/ref"),
    Answers("../keras-counter/model.h5", "h", "../keras-counter/ref"),
    Answers("../keras-counter/model.weights.h5", "h", "../keras-counter/ref", "", SIGMOID),
]


@torch.no_grad()
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_layer_answers_as_its_framework_does(row: Answers) -> None:
    """At every step, to 1e-5; what the file leaves open must be said, and what it holds and was assumed is told."""
    path = DATA / "checkpoints" / row.file
    checkpoint = probe.load(path, names=row.left_out, **row.choices)
    with np.load(DATA / "checkpoints" / f"{row.reference}.npz") as file:
        x, answers = torch.from_numpy(file["hidden" if "masked" in row.file else "x"]), dict(file)
    mask = (x != -1).any(2) if "masked" in row.file else None  # which steps a Masking shows
    given = x
    for (name, module), answer in zip(checkpoint.recurrent.items(), row.names.split(), strict=True):
        assert isinstance(module, Masked) == (mask is not None)
        if answer == "-":
            given = module(x)[0]
            continue
        expected = answers[row.start + answer]
        assert checkpoint.check(given, expected, name=name, mask=mask) < 1e-5, name
        if mask is not None:
            everything = torch.ones_like(mask)
            assert checkpoint.check(x, expected, name=name, mask=everything) > 1e-2, "the control: all steps are read"
        given = x
    kinds = [f"{name or 'alone'} {type(module).__name__}" for name, module in checkpoint.recurrent.items()]
    told = [*kinds, f"{len(checkpoint.tensors)} other arrays", *checkpoint.source.assumed, *checkpoint.not_understood]
    said("; ".join(told))
    if row.choices:
        with refused():
            _ = probe.load(path, names=row.left_out)


def test_what_the_file_says_itself_cannot_be_overruled() -> None:
    """An argument that agrees with the file is a check; one that does not, or decides nothing, is refused."""
    hard: dict[str, Any] = {"gate_activation": "hard_sigmoid_keras2"}
    keras = "keras-counter/model.keras", "keras-counter/model.h5"
    for file, choice in ((keras[0], hard), (keras[1], hard), (keras[1], TF1), ("checkpoints/haiku.pkl", NO_BIAS)):
        with refused():
            _ = probe.load(DATA / file, **choice)
    assert list(probe.load(DATA / "keras-counter/model.h5", **SIGMOID, **TANH).recurrent) == ["lstm"]
    with np.load(DATA / "tf1-counter/ref.npz") as expected:  # what nobody says decides: another network
        other = probe.load(DATA / "tf1-counter/weights.npz", **NO_BIAS)
        assert other.check(expected["x"], expected["h"]) > 0.1


def test_a_loop_of_plain_operations_is_named_with_its_arrays() -> None:
    """What tf2onnx makes of a masked layer: the message lists the loop's arrays, and with names it is the layer."""
    path, start = DATA / "checkpoints/tf2onnx_masked.onnx", "Func/model/lstm/PartitionedCall/input/_"
    with refused():
        _ = probe.load(path)
    roles = enumerate(("kernel", "recurrent_kernel", "bias"), 3)
    checkpoint = probe.load(path, names={f"{start}{number}:0": f"lstm/{role}" for number, role in roles}, **SIGMOID)
    with np.load(DATA / "checkpoints/tf2onnx.npz") as expected:
        assert checkpoint.check(expected["x"], expected["masked"]) < 1e-5
    said("; ".join(checkpoint.source.assumed))
