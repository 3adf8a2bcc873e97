"""What `probe.load` does with arrays of any kind: found by names, renamed, left out, put into one's own module."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn

import probe


class Model(nn.Module):
    """Two recurrent layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True)
        self.cell = nn.GRUCell(10, 4)
        self.head = nn.Linear(4, 2)
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the last step."""
        return self.head(self.cell(self.lstm(x)[0][:, -1]))


def numbers(model: nn.Module) -> dict[str, Any]:
    """Return a model's arrays as numpy's."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def to_folder(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a folder with a file an array, in folders by the first part of its name."""
    for name, array in arrays.items():
        file = path / Path(*name.split("."))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(f"{file}.npy", array)


def to_pickle(protocol: int) -> Callable[[Path, Mapping[str, Any]], None]:
    """Return a function that pickles arrays, nested by the parts of their names."""

    def write(path: Path, arrays: Mapping[str, Any]) -> None:
        nested: dict[str, Any] = {"words": ["not", "an", "array"]}
        for name, array in arrays.items():
            start, _, end = name.partition(".")
            nested.setdefault(start, {})[end] = array
        _ = path.write_bytes(pickle.dumps(nested, protocol))

    return write


def to_script(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a TorchScript archive of the model that has these arrays."""
    model = Model()
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    torch.jit.script(model).save(str(path))


WRITERS: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "a.npz": lambda path, arrays: np.savez(path, **arrays),
    "compressed.npz": lambda path, arrays: np.savez_compressed(path, **arrays),
    "folder": to_folder,
    "a.pkl": to_pickle(5),
    "a.pickle": to_pickle(2),
    "without an ending": to_pickle(4),
    "a.ts": to_script,
}
FORMATS = {"npz": "npz archive", "folder": "folder of npy files", "a.ts": "TorchScript archive"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_network(name: str, tmp_path: Path) -> None:
    """Modules, weights and other arrays, whatever the file is called: its contents decide."""
    model, path = Model().eval(), tmp_path / name
    WRITERS[name](path, numbers(model))
    checkpoint = probe.load(path)
    assert checkpoint.source.format == FORMATS.get(name.partition(".")[2], FORMATS.get(name, "pickle of arrays"))
    assert sorted(checkpoint.recurrent) == ["cell", "lstm"]
    assert {name.strip(".") for name in checkpoint.tensors} - {"steps"} == {"head.weight", "head.bias"}
    for part in ("lstm", "cell"):
        expected = model.get_submodule(part).state_dict()
        found = checkpoint.recurrent[part].state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert checkpoint.not_understood == (
        ("words.0", "words.1", "words.2") if "pickle" in str(checkpoint.source) else ()
    )


def test_fortran_order_and_other_bytes_are_read(tmp_path: Path) -> None:
    """Arrays in columns and with the bytes the other way round hold the same numbers."""
    expected = nn.GRU(3, 5)
    arrays = {name: np.asfortranarray(array.astype(">f4")) for name, array in numbers(expected).items()}
    named: dict[str, Any] = dict(arrays)
    np.savez(tmp_path / "a.npz", **named)
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays))
    for file in ("a.npz", "a.pkl"):
        found = probe.load(tmp_path / file).recurrent[""].state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())


def npz(folder: Path, **arrays: Any) -> Path:
    """Write an .npz and return its path."""
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_short_names_are_torchs_layout_and_said_to_be(tmp_path: Path) -> None:
    """What people write who save by hand: the same network, and the assumption is in the source."""
    gru = nn.GRU(3, 5)
    short = {
        "weight_ih_l0": "enc_w_ih",
        "weight_hh_l0": "enc_W_hh",
        "bias_ih_l0": "enc_b_ih",
        "bias_hh_l0": "enc_bhh",
    }
    arrays = {short[name]: array for name, array in numbers(gru).items()}
    checkpoint = probe.load(npz(tmp_path, **arrays, enc_emb=np.zeros((4, 3))))
    assert list(checkpoint.recurrent) == ["enc"]
    assert torch.equal(checkpoint.recurrent["enc"].get_parameter("bias_hh_l0"), gru.get_parameter("bias_hh_l0"))
    assert checkpoint.source.assumed == ("enc: arrays named w_ih, w_hh are in torch's layout",)
    assert checkpoint.arrays["enc"] == tuple(arrays)


def test_names_of_ones_own_are_given(tmp_path: Path) -> None:
    """An array gets the name that a framework would give it; a pattern leaves others out."""
    gru = nn.GRU(3, 5)
    arrays = {name.replace("weight", "matrix"): array for name, array in numbers(gru).items()}
    path = npz(tmp_path, **arrays, note=np.zeros(2))
    with refused():
        _ = probe.load(path)
    names = {"matrix_ih_l0": "g.weight_ih_l0", "matrix_hh_l0": "g.weight_hh_l0"}
    names |= {f"bias_{end}_l0": f"g.bias_{end}_l0" for end in ("ih", "hh")}
    checkpoint = probe.load(path, names=names, gate_order="r z n")
    assert torch.equal(checkpoint.recurrent["g"].get_parameter("weight_hh_l0"), gru.get_parameter("weight_hh_l0"))
    assert checkpoint.arrays["g"] == ("matrix_ih_l0", "matrix_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert list(checkpoint.tensors) == ["note"]
    with refused():
        _ = probe.load(path, names={"matrx_ih_l0": "g.weight_ih_l0"})
    without = {f"bias_{end}_l0": None for end in ("ih", "hh")}
    module = probe.load(path, names=names | without, gate_order="r z n").recurrent["g"]
    assert module.bias is False
    both = npz(tmp_path, **numbers(Model()))
    assert list(probe.load(both, names={"lstm.*": None}).recurrent) == ["cell"]


def test_the_order_of_gates_can_be_said(tmp_path: Path) -> None:
    """Arrays with torch's names and another order are the other network, and no other order is accepted."""
    gru, lstm = nn.GRU(3, 5), nn.LSTM(3, 5)
    for module, order, places in ((gru, "z r n", (1, 0, 2)), (lstm, "i o f g", (0, 3, 1, 2))):
        gates = len(places)
        arrays = {
            name: np.concatenate([np.split(array, gates)[place] for place in places])
            for name, array in numbers(module).items()
        }
        checkpoint = probe.load(npz(tmp_path, **arrays), gate_order=order)
        found = checkpoint.recurrent[""].state_dict()
        assert all(torch.equal(found[name], value) for name, value in module.state_dict().items())
        assert checkpoint.source.gate_orders == {"": order}
        assert checkpoint.source.chosen == (f"gate_order={order!r} for the network",)
    with refused():
        _ = probe.load(tmp_path / "a.npz", gate_order="i f g")


def test_the_order_of_gates_is_demanded_of_arrays_that_were_given_torchs_names(tmp_path: Path) -> None:
    """A cell written by hand keeps its gates in any order, and no file says in which."""
    lstm = nn.LSTM(3, 5)
    parts = {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "d": "bias_hh_l0"}
    arrays: dict[str, Any] = {}
    for short, name in parts.items():
        i, f, g, o = np.split(lstm.get_parameter(name).detach().numpy(), 4)
        arrays[short] = np.concatenate([i, f, o, g])
    names = {short: f"enc.{name}" for short, name in parts.items()}
    path = npz(tmp_path, **arrays)
    with refused():
        _ = probe.load(path, names=names)
    checkpoint = probe.load(path, names=names, gate_order="i f o g")
    found = checkpoint.recurrent["enc"].state_dict()
    assert all(torch.equal(found[name], value) for name, value in lstm.state_dict().items())
    assert checkpoint.source.chosen == ("gate_order='i f o g' for enc",)
    assert "it computes what a torch LSTM computes" in checkpoint.source.assumed[0]
    model = nn.ModuleDict({"enc": nn.LSTM(3, 5)})
    assert "in the layout of the module" in probe.load(path, into=model, names=names).source.assumed[0]
    # In another place, and under the same name: the file says what they are.
    moved = npz(tmp_path, **numbers(lstm))
    assert probe.load(moved, names={name: f"enc.{name}" for name in parts.values()}).source.assumed == ()


def test_the_layout_of_another_framework_is_assumed_of_arrays_that_were_given_its_names(tmp_path: Path) -> None:
    """What names= says is said again, so that nobody takes it for what the file says."""
    shapes = {"k": (3, 20), "r": (5, 20), "b": (20,)}
    path = npz(tmp_path, **{name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    names = {"k": "lstm/kernel", "r": "lstm/recurrent_kernel", "b": "lstm/bias"}
    checkpoint = probe.load(path, names=names, gate_activation="sigmoid")
    assert any("gates in the order i f c o, as names= calls them" in one for one in checkpoint.source.assumed)


@pytest.mark.parametrize(
    "choice",
    [
        {"gate_activation": "hard_sigmoid"},
        {"activation": "tanhh"},
        {"reset": "never"},
        {"forget_bias": float("nan")},
        {"memory": 0},
        {"forget_bias": 1.0},
        {"reset": "before"},
    ],
)
def test_a_choice_is_one_that_exists_and_decides(choice: dict[str, Any], tmp_path: Path) -> None:
    """A choice that decides nothing would be accepted and ignored."""
    path = npz(tmp_path, **numbers(nn.GRU(3, 5)))
    with refused():
        _ = probe.load(path, **choice)


def test_a_module_of_ones_own_is_filled(tmp_path: Path) -> None:
    """Every parameter and buffer; a wrapper's prefix is dropped, and its recurrent modules are returned."""
    saved, other = Model(), Model()
    save_file(
        {f"module.{name}": value.clone() for name, value in saved.state_dict().items()}, tmp_path / "a.safetensors"
    )
    checkpoint = probe.load(tmp_path / "a.safetensors", into=other)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in saved.state_dict().items())
    assert checkpoint.recurrent["lstm"] is other.lstm
    assert set(checkpoint.tensors) == {"head.weight", "head.bias", "steps"}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("head.bias"),
        lambda a: a.update(x=torch.zeros(1)),
        lambda a: a.update({"head.bias": torch.zeros(3)}),
        lambda a: a.update({"head.bias": torch.zeros(2).int()}),
        lambda a: a.update({"head.bias": torch.full((2,), torch.nan)}),
    ],
)
def test_a_module_that_does_not_fit_is_left_alone(change: Callable[[dict[str, Tensor]], Any], tmp_path: Path) -> None:
    """Missing and extra names, shapes and kinds of numbers are said, and nothing was copied."""
    arrays, model = Model().state_dict(), Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _ = change(arrays)
    torch.save(arrays, tmp_path / "a.pt")
    with refused():
        _ = probe.load(tmp_path / "a.pt", into=model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_checkpoint_is_checked_against_another_run(tmp_path: Path) -> None:
    """Of all steps or the last; the largest difference is returned, and shapes that do not fit are refused."""
    model = Model().eval()
    checkpoint = probe.load(npz(tmp_path, **numbers(model)))
    x = torch.randn(2, 4, 3)
    h = model.lstm(x)[0].detach()
    assert checkpoint.check(x, h, name="lstm") < 1e-6
    assert checkpoint.check(x.numpy(), h.numpy() + 0.5, name="lstm") == pytest.approx(0.5, abs=1e-5)
    with refused():
        _ = checkpoint.check(x, h)
    with refused():
        _ = checkpoint.check(x, h, name="lstn")
    for outputs in (h[:, :2], h[..., :3], h[:, -1]):  # the last of the reverse direction is the one of the first step
        with refused():
            _ = checkpoint.check(x, outputs, name="lstm")
    with refused():
        _ = checkpoint.check(x[0], h, name="lstm")
    state, states = None, []
    for step in torch.randn(4, 2, 10):
        state = model.cell(step, state)
        states.append(state)
    x = torch.randn(2, 4, 10)
    expected = [model.cell(x[:, 0])]
    expected += [model.cell(x[:, 1], expected[0])]
    assert checkpoint.check(x[:, :2], torch.stack(expected, 1).detach(), name="cell") < 1e-6
    assert checkpoint.check(x[:, :2], expected[-1].detach(), name="cell") < 1e-6


def test_what_is_loaded_can_be_recorded(tmp_path: Path) -> None:
    """A module that comes back is an ordinary one: every gate of it can be recorded."""
    checkpoint = probe.load(npz(tmp_path, **numbers(nn.GRU(3, 5))))
    recording = probe.record(checkpoint.recurrent[""], torch.randn(2, 4, 3))
    assert recording["update_gate"].shape == (2, 4, 5)


def test_a_path_leads_to_one_file(tmp_path: Path) -> None:
    """A folder without arrays, several checkpoints, and files of no known kind are refused by name."""
    (tmp_path / "empty").mkdir()
    _ = (tmp_path / "empty" / "notes.txt").write_text("")
    with refused():
        _ = probe.load(tmp_path / "empty")
    for name in ("a.index", "b.index"):
        _ = (tmp_path / name).write_bytes(b"")
    with refused():
        _ = probe.load(tmp_path)
    with refused():
        _ = probe.load(tmp_path / "missing")
    with refused():
        _ = probe.load(tmp_path / "a.index")
