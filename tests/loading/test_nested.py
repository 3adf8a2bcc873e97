"""Arrays under names and of types that do not give a layer at once.

- Checkpoints of PyTorch as training loops write them: state_dicts deep inside, objects beside them, 8 bits.
- Arrays that torch has no numbers for: those of a layer are an error, and never a layer without them.
- Weights that a wrapper of torch keeps under other names: what an evaluation makes of them.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import probe
from probe.loading.unusable import check_usable


def saved(path: Path, content: Any) -> Path:
    """Save with torch.save, and return the path."""
    torch.save(content, path)
    return path


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state_dicts are equal to the bit."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_dict_is_found_at_any_depth(tmp_path: Path) -> None:
    """In dicts and lists inside each other, and beside a lone tensor; the place begins its names."""
    lstm, gru = nn.LSTM(3, 5).state_dict(), nn.GRU(3, 5).state_dict()
    for content, places in (
        ({"a": {"b": {"state_dict": lstm}}}, ["a.b.state_dict"]),
        ([lstm, {"optimizer": {"m": gru}}], ["0"]),
        ((3, lstm), ["1"]),
        ({"generator": lstm, "critic": gru, "step": torch.tensor(3)}, ["generator", "critic"]),
        ({"state_dict": {"encoder": lstm, "decoder": gru}}, ["state_dict.encoder", "state_dict.decoder"]),
    ):
        checkpoint = probe.load(saved(tmp_path / "a.pt", content))
        assert list(checkpoint.recurrent) == places
        assert same(checkpoint.recurrent[places[0]].state_dict(), lstm)
        assert str(checkpoint.source) == f"PyTorch checkpoint, state_dicts under {', '.join(map(repr, places))}"


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path: Path) -> None:
    """A walk through it would not end."""
    content: list[Any] = [nn.LSTM(3, 5).state_dict()]
    content.append(content)
    with refused():
        _ = probe.load(saved(tmp_path / "a.pt", content))


class Small(nn.Module):
    """What is quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states."""
        return self.lstm(x)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_network_is_refused(tmp_path: Path) -> None:
    """It rounds at each step, so its weights in another cell would be another network; however it is saved."""
    quantized = torch.ao.quantization.quantize_dynamic(Small().eval(), {nn.LSTM}, dtype=torch.qint8)
    torch.save(quantized.state_dict(), tmp_path / "a.pt")
    torch.jit.save(torch.jit.script(quantized), tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with refused():
            _ = probe.load(tmp_path / name)


class Asking:
    """Names a function, which would be called if it were unpickled."""

    def __reduce__(self) -> Any:
        return (os.getcwd, ())


def test_the_object_that_is_not_opened_is_named(tmp_path: Path) -> None:
    """So that one sees whether it is the whole model, or one value beside the weights."""
    asking = {"model": Small().state_dict(), "x": Asking()}
    for content in (Small(), asking):
        with refused():
            _ = probe.load(saved(tmp_path / "a.pt", content))


class WeightDrop(nn.Module):
    """Drops recurrent weights in training, as AWD-LSTMs do: the raw ones lie outside, the latest draw inside."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__()
        self.module = nn.LSTM(3, 5, batch_first=True)
        self.weight_hh_l0_raw = nn.Parameter(self.module.get_parameter("weight_hh_l0").detach().clone())
        with torch.no_grad():
            self.module.get_parameter("weight_hh_l0").copy_(nn.functional.dropout(self.weight_hh_l0_raw, 0.5))
        if not stale:
            del self.module._parameters["weight_hh_l0"]

    def forward(self, x: Tensor) -> Tensor:
        """Return what it computes in evaluation."""
        weights = {**self.module.state_dict(), "weight_hh_l0": self.weight_hh_l0_raw}
        whole = nn.LSTM(3, 5, batch_first=True)
        whole.load_state_dict(weights)
        return whole(x)[0]


@torch.no_grad()
@pytest.mark.parametrize("stale", [True, False])
def test_weight_drop_is_read_as_it_is_evaluated(stale: bool, tmp_path: Path) -> None:
    """The weights that training drew last, half of them zeros, are not the network's, saved or not."""
    model = WeightDrop(stale=stale)
    state = {f"rnns.0.{name}": one for name, one in model.state_dict().items()}
    checkpoint = probe.load(saved(tmp_path / "a.pt", state))
    x = torch.randn(2, 7, 3)
    assert checkpoint.check(x.numpy(), model(x).numpy()) == 0
    assert checkpoint.source.assumed == (
        "'rnns.0.module.weight_hh_l0' is 'rnns.0.weight_hh_l0_raw': without the dropout of weights that trained it",
    )
    assert list(checkpoint.tensors) == ["rnns.0.module.weight_hh_l0"] * stale
    inside = dict(model.module.state_dict())
    inside["weight_hh_l0_raw"] = inside.pop("weight_hh_l0", model.weight_hh_l0_raw)
    other = probe.load(saved(tmp_path / "b.pt", {f"rnn.module.{name}": one for name, one in inside.items()}))
    assert list(other.recurrent) == ["rnn.module"]
    assert other.tensors == {}


def test_a_cell_with_modules_inside_is_another_one(tmp_path: Path) -> None:
    """The weights of a cell with layer norms have the names and shapes of torch's own; without the norms they are."""
    state = {f"rnn.cell.{name}": one for name, one in nn.LSTMCell(3, 5).state_dict().items()}
    norms = {"rnn.cell.norm_i.weight": torch.ones(20), "rnn.cell.norm_i.bias": torch.ones(20)}
    beside = {"rnn.norm.weight": torch.ones(5), "head.weight": torch.ones(2, 5)}
    path = saved(tmp_path / "a.pt", state | norms | beside)
    with refused():
        _ = probe.load(path)
    assert list(probe.load(path, names={"rnn.cell.norm_i.*": None}).recurrent) == ["rnn.cell"]
    assert list(probe.load(saved(path, state | beside)).recurrent) == ["rnn.cell"]


KINDS: dict[str, Any] = {
    "a bfloat16 as numpy writes it": "V2",
    "long doubles": np.longdouble,
    "objects": object,
    "complex numbers": np.complex64,
    "text": "U8",
}


def arrays(**others: Any) -> dict[str, Any]:
    """Return the arrays of a network named `rnn`, some of them replaced."""
    named = {f"rnn.{name}": value.numpy() for name, value in nn.GRU(2, 3).state_dict().items()}
    return named | others


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_layers_array_that_cannot_be_used_is_an_error(kind: Any, tmp_path: Path) -> None:
    """The biases of a layer are never left away because of how they were written; other arrays may be."""
    values = np.zeros(9, np.uint16).view("V2") if kind == "V2" else np.zeros(9).astype(kind)
    biases: dict[str, Any] = {f"rnn.bias_{side}_l0": values for side in ("ih", "hh")}
    np.savez(tmp_path / "a.npz", **arrays(**biases))
    with refused():
        _ = probe.load(tmp_path / "a.npz")
    other: dict[str, Any] = {"vocabulary": values}
    np.savez(tmp_path / "b.npz", **arrays(**other))
    loaded = probe.load(tmp_path / "b.npz")
    assert list(loaded.recurrent) == ["rnn"]
    assert loaded.not_understood == ("vocabulary",)
    left = probe.load(tmp_path / "a.npz", names={"rnn.bias_*": None})
    assert "without" in str(left.source) or not left.recurrent["rnn"].bias


def test_a_whole_layer_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Of two layers the one whose numbers nobody can read is not passed over, wherever its arrays lie."""
    one = {f"a.{name}": value.numpy() for name, value in nn.LSTM(2, 3).state_dict().items()}
    two = {f"b/lstm/{name}": np.zeros(3, np.complex128) for name in ("kernel", "recurrent_kernel")}
    named: dict[str, Any] = one | two
    np.savez(tmp_path / "a.npz", **named)
    with refused():
        _ = probe.load(tmp_path / "a.npz")
    assert list(probe.load(tmp_path / "a.npz", names={"b/*": None}).recurrent) == ["a"]


def test_beside_a_layer_no_array_is_passed_over(tmp_path: Path) -> None:
    """An unknown name in a layer's own place, or a learned initial state, may be a part of it."""
    for name in ("rnn.peephole", "rnn.deeper.scale", "h0"):
        other: dict[str, Any] = {name: np.zeros(3, np.longdouble)}
        np.savez(tmp_path / "a.npz", **arrays(**other))
        with refused():
            _ = probe.load(tmp_path / "a.npz")


def test_below_a_layers_arrays_no_array_is_passed_over() -> None:
    """Names that begin as all of a layer's do belong to it, whichever word comes next; others may be anything."""
    layers = [("enc.hf.kernel", "enc.hi.kernel"), ("m_l0_i2h_w", "m_l0_h2h_w")]
    for name in ("enc.ho.bias", "enc.scale", "m_l0_scale"):
        with refused():
            check_usable(layers, {name: "text"}, ())
        check_usable(layers, {name: "text"}, (name,))
        check_usable(layers, {name: ""}, ())
    check_usable(layers, {"encoding.kind": "text", "dec.ho.bias": "text"}, ())


def test_a_list_of_numbers_is_no_array_and_is_not_passed_over(tmp_path: Path) -> None:
    """A bias that was saved as a list of Python's numbers is one of a layer; a list of losses is none."""
    model = nn.GRU(2, 3)
    tensors: dict[str, Any] = {name: value for name, value in model.state_dict().items() if "bias" not in name}
    biases = {f"bias_{side}_l0": [0.5] * 9 for side in ("ih", "hh")}
    torch.save(tensors | biases | {"losses": [1.0, 0.5]}, tmp_path / "a.pt")
    with refused():
        _ = probe.load(tmp_path / "a.pt")
    torch.save({"state_dict": tensors | biases}, tmp_path / "b.pt")
    with refused():
        _ = probe.load(tmp_path / "b.pt")
    torch.save(model.state_dict() | {"losses": [1.0, 0.5]}, tmp_path / "c.pt")
    assert probe.load(tmp_path / "c.pt").not_understood == ("losses",)
    in_numpy = {f"rnn.{name}": value.numpy() for name, value in tensors.items()}
    pickled = in_numpy | {f"rnn.{name}": value for name, value in biases.items()}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(pickled))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")


def test_what_cannot_be_used_cannot_be_renamed_or_filled_in(tmp_path: Path) -> None:
    """names= says why it is no array, and a module of one's own takes all names or none."""
    other: dict[str, Any] = {"rnn.extra": np.zeros(3, np.complex64)}
    np.savez(tmp_path / "a.npz", **arrays(**other))
    with refused():
        _ = probe.load(tmp_path / "a.npz", names={"rnn.extra": "rnn.x"})
    model = nn.ModuleDict({"rnn": nn.GRU(2, 3)})
    with refused():
        _ = probe.load(tmp_path / "a.npz", into=model)
    _ = probe.load(tmp_path / "a.npz", into=model, names={"rnn.extra": None})


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
    "parts",
    [
        {"g": (16, 1)},
        {"g": (16, 1), "v": (16, 4), "u": (16,)},
        {"g": (5, 1), "v": (16, 4)},
        {"orig": (16, 4), "u": (4,), "v": (4,)},
        {"orig": (16, 4), "mask": (3, 3)},
    ],
)
def test_a_wrapped_weight_that_is_not_whole_is_refused(parts: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    """Parts that are missing, too many, or do not fit are said."""
    saved = dict(nn.LSTM(3, 4).state_dict())
    del saved[WEIGHT]
    torch.save(
        {**saved, **{f"{WEIGHT}_{part}": torch.ones(shape) for part, shape in parts.items()}}, tmp_path / "a.pt"
    )
    with refused():
        _ = probe.load(tmp_path / "a.pt")
