"""Weights that a wrapper of torch keeps under other names, and AllenNLP's LSTMs: what an evaluation makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import probe
from probe import ProbeError
from probe.loading.modules import Backwards

TOLERANCE = 1e-6
WEIGHT = "weight_hh_l0"


def _old_weight_norm(module: nn.Module, dim: int | None) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it stands in files, and torch would rather have the new one
        return nn.utils.weight_norm(module, WEIGHT, dim)  # pyright: ignore[reportArgumentType, reportDeprecated]


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "weight norm, old": lambda module: _old_weight_norm(module, 0),
    "weight norm, old, by column": lambda module: _old_weight_norm(module, 1),
    "weight norm, old, one for all": lambda module: _old_weight_norm(module, None),
    "weight norm": lambda module: parametrizations.weight_norm(module, WEIGHT),
    "spectral norm, old": lambda module: nn.utils.spectral_norm(module, WEIGHT),
    "spectral norm": lambda module: parametrizations.spectral_norm(module, WEIGHT),
    "pruning": lambda module: prune.l1_unstructured(module, WEIGHT, 0.5),
}


@torch.no_grad()
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_weight_is_what_an_evaluation_uses(wrapper: str, tmp_path: Path) -> None:
    """Norms and masks are computed as torch computes them, and that they were is said."""
    torch.manual_seed(0)
    module = WRAPPERS[wrapper](nn.LSTM(3, 4, batch_first=True))
    x = torch.randn(2, 5, 3)
    for _ in range(3):  # a spectral norm finds its vectors in training
        _ = module.train()(x)
    for name, parameter in module.named_parameters():
        if name.endswith(("_g", "original0")):
            parameter.mul_(1.5)
    expected = module.eval()(x)[0]
    torch.save({f"encoder.{name}": tensor for name, tensor in module.state_dict().items()}, tmp_path / "a.pt")
    checkpoint = probe.load(tmp_path / "a.pt")
    assert (checkpoint.recurrent["encoder"](x)[0] - expected).abs().max() < TOLERANCE
    assert "encoder.weight_hh_l0: from " in checkpoint.source.assumed[0]
    assert set(checkpoint.arrays["encoder"]) | set(checkpoint.tensors) == {
        f"encoder.{name}" for name in module.state_dict()
    }


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"g": (16, 1)}, r"'weight_hh_l0' cannot be computed from what the file has \(there is g\)"),
        ({"g": (16, 1), "v": (16, 4), "u": (16,)}, r"\(there is g, v, u\).* Take the wrapper off before you save"),
        ({"g": (5, 1), "v": (16, 4)}, r"\(g of shape \(5, 1\) and v of shape \(16, 4\)\)"),
        ({"orig": (16, 4), "u": (4,), "v": (4,)}, r"cannot be computed from what the file has \("),
        ({"orig": (16, 4), "mask": (3, 3)}, r"cannot be computed from what the file has \("),
    ],
)
def test_a_wrapped_weight_that_is_not_whole_is_refused(
    parts: dict[str, tuple[int, ...]], expected: str, tmp_path: Path
) -> None:
    """Parts that are missing, too many, or do not fit are said."""
    saved = dict(nn.LSTM(3, 4).state_dict())
    del saved[WEIGHT]
    torch.save(
        {**saved, **{f"{WEIGHT}_{part}": torch.ones(shape) for part, shape in parts.items()}}, tmp_path / "a.pt"
    )
    with pytest.raises(ProbeError, match=expected):
        _ = probe.load(tmp_path / "a.pt")


def augmented(start: str) -> tuple[dict[str, Tensor], nn.LSTM]:
    """Return the arrays of AllenNLP's LSTM without a highway, and torch's that is the same."""
    torch.manual_seed(1)
    linear = {"input_linearity": nn.Linear(3, 16, bias=False), "state_linearity": nn.Linear(4, 16)}
    saved = {f"{start}.{part}.{name}": p for part, one in linear.items() for name, p in one.state_dict().items()}
    lstm = nn.LSTM(3, 4, batch_first=True)
    W, U, b = saved.values()
    _ = lstm.load_state_dict({"weight_ih_l0": W, WEIGHT: U, "bias_ih_l0": b * 0, "bias_hh_l0": b})
    return saved, lstm


@torch.no_grad()
@pytest.mark.parametrize(
    ("start", "backwards"),
    [
        ("layer_0", False),
        ("layer_1", True),
        ("lstm.forward_layers.0.cell", False),
        ("lstm.backward_layers.0.cell", True),
        ("enc.backward_layer_3", True),
        ("", False),
    ],
)
def test_an_lstm_of_allennlp(start: str, backwards: bool, tmp_path: Path) -> None:
    """Without a highway it is torch's, in the direction that its name has; made by hand from AllenNLP's source."""
    saved, lstm = augmented(start or "x")
    torch.save(
        {name.removeprefix("x." if not start else ""): array for name, array in saved.items()}, tmp_path / "a.pt"
    )
    module = probe.load(tmp_path / "a.pt").recurrent[start]
    x = torch.randn(2, 5, 3)
    expected = lstm(x.flip(1))[0].flip(1) if backwards else lstm(x)[0]
    assert isinstance(module, Backwards) == backwards
    assert (module(x)[0] - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"input_linearity.weight": (24, 3), "state_linearity.weight": (20, 4)},
            r"with a highway \(use_highway=True\)",
        ),
        ({"input_linearity.weight": (24, 3), "state_linearity.weight": (16, 4)}, r"expected \(4 x units, input\)"),
        (
            {
                "input_linearity.weight": (16, 3),
                "state_linearity.weight": (16, 2),
                "state_projection.weight": (2, 4),
            },
            r"clipped at values that no file of weights says: no cell here clips",
        ),
    ],
)
def test_other_lstms_of_allennlp_are_refused(arrays: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """Highways and clipped projections are another network."""
    torch.save({f"layer_0.{name}": torch.zeros(shape) for name, shape in arrays.items()}, tmp_path / "a.pt")
    with pytest.raises(ProbeError, match=expected + r".*Leave it out with names=\{'layer_0\.\*': None\}"):
        _ = probe.load(tmp_path / "a.pt")


def test_elmos_weights_are_refused(tmp_path: Path) -> None:
    """By their names; made by hand from the names that its own code reads."""
    start = "RNN_0.RNN.MultiRNNCell.Cell0.LSTMCell."
    torch.save(
        {start.replace(".", "/") + name: torch.zeros(3, 3) for name in ("W_0", "B", "W_P_0")}, tmp_path / "a.pt"
    )
    with pytest.raises(ProbeError, match=r"is an LSTM of ELMo, whose cell state and projection are clipped"):
        _ = probe.load(tmp_path / "a.pt")
