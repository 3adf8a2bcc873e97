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


def numbers(module: nn.Module, start: str = "", **more: Any) -> dict[str, Any]:
    """Return a module's arrays as numpy's, their names behind a start, and more of them."""
    return {start + name: tensor.numpy() for name, tensor in module.state_dict().items()} | more


def agree(found: nn.Module, expected: nn.Module) -> bool:
    """Return whether two modules have the same weights to the bit."""
    one, two = found.state_dict(), expected.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in two)


def to_folder(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a folder with a file an array, in folders by the first part of its name."""
    for name, array in arrays.items():
        file = path / Path(*name.split("."))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(f"{file}.npy", array)


def to_pickle(path: Path, arrays: Mapping[str, Any]) -> None:
    """Pickle arrays, nested by the parts of their names, in a dict of torch's, which has attributes of its own."""
    nested: Any = nn.Module().state_dict()
    nested["words"] = ["not", "an", "array"]
    for name, array in arrays.items():
        start, _, end = name.partition(".")
        nested.setdefault(start, {})[end] = array
    _ = path.write_bytes(pickle.dumps(nested, 2 if path.suffix else 5))


def to_script(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a TorchScript archive of the model that has these arrays."""
    model = Model()
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    torch.jit.script(model).save(str(path))


#: A file -> how it is written, and what its format is called.
FORMATS: dict[str, tuple[Callable[[Path, Mapping[str, Any]], Any], str]] = {
    "a.npz": (lambda path, arrays: np.savez(path, **arrays), "npz archive"),
    "compressed.npz": (lambda path, arrays: np.savez_compressed(path, **arrays), "npz archive"),
    "folder": (to_folder, "folder of npy files"),
    "a.pickle": (to_pickle, "pickle of arrays"),
    "without an ending": (to_pickle, "pickle of arrays"),
    "a.ts": (to_script, "TorchScript archive"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.torch.jit")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_network(name: str, tmp_path: Path) -> None:
    """Modules, weights and other arrays, whatever the file is called: its contents decide."""
    model, path = Model().eval(), tmp_path / name
    write, called = FORMATS[name]
    write(path, numbers(model))
    checkpoint = probe.load(path)
    assert (checkpoint.source.format, sorted(checkpoint.recurrent)) == (called, ["cell", "lstm"])
    assert {name.strip(".") for name in checkpoint.tensors} - {"steps"} == {"head.weight", "head.bias"}
    assert all(agree(checkpoint.recurrent[part], model.get_submodule(part)) for part in ("lstm", "cell"))
    assert checkpoint.not_understood == (("words.0", "words.1", "words.2") if "pickle" in called else ())


def test_fortran_order_and_other_bytes_are_read(tmp_path: Path) -> None:
    """Arrays in columns and with the bytes the other way round hold the same numbers."""
    expected = nn.GRU(3, 5)
    arrays = {name: np.asfortranarray(array.astype(">f4")) for name, array in numbers(expected).items()}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays))
    for file in (npz(tmp_path, **arrays), tmp_path / "a.pkl"):
        assert agree(probe.load(file).recurrent[""], expected)


def npz(folder: Path, **arrays: Any) -> Path:
    """Write an .npz and return its path."""
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_short_names_are_torchs_layout_and_said_to_be(tmp_path: Path) -> None:
    """What people write who save by hand: the same network, and the assumption is in the source."""
    gru = nn.GRU(3, 5)
    arrays = dict(zip(("enc_w_ih", "enc_W_hh", "enc_b_ih", "enc_bhh"), numbers(gru).values(), strict=True))
    checkpoint = probe.load(npz(tmp_path, **arrays, enc_emb=np.zeros((4, 3))))
    assert list(checkpoint.recurrent) == ["enc"]
    assert agree(checkpoint.recurrent["enc"], gru)
    assert checkpoint.source.assumed == ("enc: arrays named w_ih, w_hh are in torch's layout",)
    assert checkpoint.arrays["enc"] == tuple(arrays)


def test_names_of_ones_own_are_given(tmp_path: Path) -> None:
    """An array gets the name that a framework would give it; a pattern leaves others out."""
    gru = nn.GRU(3, 5)
    own = {name: name.replace("weight", "matrix") for name in numbers(gru)}
    path = npz(tmp_path, **{own[name]: array for name, array in numbers(gru).items()}, note=np.zeros(2))
    for wrong in (None, {"matrx_ih_l0": "g.weight_ih_l0"}):
        with refused():
            _ = probe.load(path, names=wrong)
    names: dict[str, str | None] = {mine: f"g.{name}" for name, mine in own.items()}
    checkpoint = probe.load(path, names=names, gate_order="r z n")
    assert agree(checkpoint.recurrent["g"], gru)
    assert (checkpoint.arrays["g"], list(checkpoint.tensors)) == (tuple(own.values()), ["note"])
    without = names | {f"bias_{end}_l0": None for end in ("ih", "hh")}
    assert probe.load(path, names=without, gate_order="r z n").recurrent["g"].bias is False
    assert list(probe.load(npz(tmp_path, **numbers(Model())), names={"lstm.*": None}).recurrent) == ["cell"]


@pytest.mark.parametrize(
    ("module", "order", "places"),
    [(nn.GRU(3, 5), "z r n", (1, 0, 2)), (nn.LSTM(3, 5), "i o f g", (0, 3, 1, 2))],
    ids=["gru", "lstm"],
)
def test_the_order_of_gates_can_be_said_and_of_a_cell_written_by_hand_must(
    module: nn.Module, order: str, places: tuple[int, ...], tmp_path: Path
) -> None:
    """Arrays with torch's names and another order are the other network; of names of one's own no file says it."""
    parts = {name: np.split(array, len(places)) for name, array in numbers(module).items()}
    own = {f"{name}_of_mine": np.concatenate([part[at] for at in places]) for name, part in parts.items()}
    path, names = npz(tmp_path, **own), {name: f"enc.{name.removesuffix('_of_mine')}" for name in own}
    for wrong in (None, "i f g i"):
        with refused():
            _ = probe.load(path, names=names, gate_order=wrong)
    checkpoint = probe.load(path, names=names, gate_order=order)
    assert agree(checkpoint.recurrent["enc"], module)
    assert (checkpoint.source.gate_orders, checkpoint.source.chosen[-1:]) == (
        {"enc": order},
        (f"gate_order={order!r} for enc",),
    )
    assert f"it computes what a torch {type(module).__name__} computes" in checkpoint.source.assumed[0]
    under = npz(tmp_path, **{name.removesuffix("_of_mine"): array for name, array in own.items()})
    assert agree(probe.load(under, gate_order=order).recurrent[""], module)


def test_a_choice_is_one_that_exists_and_decides(tmp_path: Path) -> None:
    """A choice that decides nothing would be accepted and ignored."""
    path = npz(tmp_path, **numbers(nn.GRU(3, 5)))
    nan: Any = float("nan")
    choices = ("gate_activation", "hard_sigmoid"), ("reset", "never"), ("reset", "before"), ("forget_bias", nan)
    for choice, value in (*choices, ("forget_bias", 1.0)):
        given: Any = {choice: value}
        with refused():
            _ = probe.load(path, **given)


def test_a_path_leads_to_one_file_of_numbers(tmp_path: Path) -> None:
    """Folders without arrays or with several checkpoints, files of no known kind, and weights that are no numbers."""
    (tmp_path / "empty").mkdir()
    _ = (tmp_path / "empty" / "notes.txt").write_text("")
    for name in ("a.index", "b.index"):
        _ = (tmp_path / name).write_bytes(b"")
    arrays = numbers(nn.GRU(1, 2))
    arrays["weight_hh_l0"][0, 0] = np.inf
    for path in (*(tmp_path / name for name in ("empty", ".", "missing", "a.index")), npz(tmp_path, **arrays)):
        with refused():
            _ = probe.load(path)


def test_a_module_of_ones_own_is_filled(tmp_path: Path) -> None:
    """Every parameter and buffer; a wrapper's prefix is dropped, and its recurrent modules are returned."""
    model, other = Model(), Model()
    saved = {f"module.{name}": value.clone() for name, value in model.state_dict().items()}
    save_file(saved, tmp_path / "a.safetensors")
    checkpoint = probe.load(tmp_path / "a.safetensors", into=other)
    assert agree(other, model)
    assert checkpoint.recurrent["lstm"] is other.lstm
    assert set(checkpoint.tensors) == {"head.weight", "head.bias", "steps"}


def test_a_prefix_that_all_names_of_a_module_have_in_a_file_is_left_out_and_said(tmp_path: Path) -> None:
    """As in a checkpoint of lightning, below `state_dict`; of two that fit, or beside other arrays, none is taken."""
    model, path = Model(), tmp_path / "a.ckpt"

    def saved(*starts: str, **more: Any) -> dict[str, Any]:
        arrays = {start + name: value.clone() for start in starts for name, value in model.state_dict().items()}
        return {"epoch": 3, "state_dict": arrays | more, "hyper_parameters": {"lr": 0.1}}

    def loaded(content: dict[str, Any], **more: Any) -> probe.Checkpoint:
        torch.save(content, path)
        return probe.load(path, into=other, **more)

    for start in ("model.", "net.model._orig_mod."):
        other = Model()
        checkpoint = loaded(saved(start))
        assert agree(other, model)
        assert checkpoint.recurrent["lstm"] is other.lstm
        assert checkpoint.source.assumed == (f"names in the file begin with {start!r}, and those of Model do not",)
    other = Model()
    _ = loaded(saved("model.", **{"loss.weight": torch.ones(2)}), names={"loss.*": None})
    assert agree(other, model)
    wrong = [saved("model.", "ema."), saved("model.", **{"loss.weight": torch.ones(2)})]
    other = Model()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    for content in (*wrong, saved("model.", **{"head.bias": torch.ones(2)})):
        with refused():
            _ = loaded(content)
        assert all(torch.equal(other.state_dict()[name], value) for name, value in before.items())
    _ = loaded(saved("model.", "ema."), names={"ema.*": None})
    assert agree(other, model)


def test_a_module_that_does_not_fit_is_left_alone(tmp_path: Path) -> None:
    """Missing and extra names, shapes and kinds of numbers are said, and nothing was copied."""
    arrays, model = Model().state_dict(), Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    less = {name: value for name, value in arrays.items() if name != "head.bias"}
    more = [{"head.bias": torch.zeros(3)}, {"head.bias": torch.full((2,), torch.nan)}]
    for wrong in (less, arrays | {"x": torch.zeros(1)}, *(arrays | one for one in more)):
        torch.save(wrong, tmp_path / "a.pt")
        with refused():
            _ = probe.load(tmp_path / "a.pt", into=model)
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@torch.no_grad()
def test_a_checkpoint_is_checked_against_another_run(tmp_path: Path) -> None:
    """Of all steps or the last; the largest difference is returned, and shapes that do not fit are refused."""
    model = Model().eval()
    checkpoint = probe.load(npz(tmp_path, **numbers(model)))
    x = torch.randn(2, 4, 3)
    h = model.lstm(x)[0]
    assert checkpoint.check(x, h, name="lstm") < 1e-6
    assert checkpoint.check(x.numpy(), h.numpy() + 0.5, name="lstm") == pytest.approx(0.5, abs=1e-5)
    # The last of the reverse direction is the one of the first step.
    wrong = [(None, x, h), ("lstn", x, h), *(("lstm", x, part) for part in (h[:, :2], h[..., :3], h[:, -1]))]
    for name, given, outputs in (*wrong, ("lstm", x[0], h)):
        with refused():
            _ = checkpoint.check(given, outputs, name=name)
    first = model.cell(h[:, 0])
    second = model.cell(h[:, 1], first)
    assert checkpoint.check(h[:, :2], torch.stack([first, second], 1), name="cell") < 1e-6
    assert checkpoint.check(h[:, :2], second, name="cell") < 1e-6


@pytest.mark.parametrize("kind", ["V2", object, np.complex64], ids=str)
def test_a_layers_array_that_cannot_be_used_is_an_error(kind: Any, tmp_path: Path) -> None:
    """The biases of a layer are never left away because of how they were written; other arrays may be."""
    values = np.zeros(9, np.uint16).view("V2") if kind == "V2" else np.zeros(9).astype(kind)  # V2: numpy's bfloat16
    biases = {f"rnn.bias_{side}_l0": values for side in ("ih", "hh")}
    path = npz(tmp_path, **(numbers(nn.GRU(2, 3), "rnn.") | biases))
    with refused():
        _ = probe.load(path)
    assert not probe.load(path, names={"rnn.bias_*": None}).recurrent["rnn"].bias
    loaded = probe.load(npz(tmp_path, **numbers(nn.GRU(2, 3), "rnn.", vocabulary=values)))
    assert (list(loaded.recurrent), loaded.not_understood) == (["rnn"], ("vocabulary",))


@pytest.mark.parametrize("name", ["rnn.peephole", "rnn.deeper.scale", "h0", "b/lstm/kernel"])
def test_beside_a_layer_no_array_is_passed_over(name: str, tmp_path: Path) -> None:
    """An unknown name in a layer's own place, a learned initial state, or another layer that nobody can read."""
    path = npz(tmp_path, **numbers(nn.GRU(2, 3), "rnn.", **{name: np.zeros(3, np.complex64)}))
    for names in (None, {name: "rnn.x"}):
        with refused():
            _ = probe.load(path, names=names)
    assert list(probe.load(path, names={name: None}).recurrent) == ["rnn"]
    model = nn.ModuleDict({"rnn": nn.GRU(2, 3)})
    with refused():
        _ = probe.load(path, into=model)
    _ = probe.load(path, into=model, names={name: None})
