"""Networks out of PyTorch's files: found by name, built from shapes, and refused where these disagree."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import probe
from probe.recurrent import CustomLSTM

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

MODULES = {
    "lstm": nn.LSTM(3, 5),
    "lstm everything": nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, dtype=torch.float64),
    "lstm no bias": nn.LSTM(3, 5, 3, bias=False),
    "lstm one unit": nn.LSTM(1, 1),
    "gru": nn.GRU(3, 5, bidirectional=True, dtype=torch.bfloat16),
    "rnn": nn.RNN(3, 5, 2),
    "lstm cell": nn.LSTMCell(3, 5),
    "gru cell no bias": nn.GRUCell(3, 5, bias=False),
    "rnn cell": nn.RNNCell(3, 5, nonlinearity="relu"),
}
OPTIONS = ("input_size", "hidden_size", "bias", "num_layers", "bidirectional", "proj_size", "nonlinearity", "mode")


class Model(nn.Module):
    """Two networks of different kinds, one of them deeper down, and what belongs to neither."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"rnn": nn.LSTM(3, 5, 2, batch_first=True), "norm": nn.LayerNorm(5)})
        self.cell = nn.GRUCell(5, 4)
        self.head = nn.Linear(4, 2)


Load = Callable[..., probe.Checkpoint]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that saves what it is given with torch.save and loads it, with choices."""

    def loaded(content: Any, **choices: Any) -> probe.Checkpoint:
        torch.save(content, tmp_path / "a.pt")
        return probe.load(tmp_path / "a.pt", **choices)

    return loaded


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Return whether two state_dicts are equal to the bit, dtypes included."""
    return list(one) == list(two) and all(
        one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]) for name in one
    )


def named(start: str, module: nn.Module) -> dict[str, Tensor]:
    """Return a module's tensors as those of a module inside another."""
    return {start + name: tensor for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_comes_back(kind: str, load: Load) -> None:
    """Class, options and weights are those of the module that was saved, bare or inside a model."""
    module, start = MODULES[kind], "decoder.deep.rnn." if "cell" in kind or "everything" in kind else ""
    networks = load(named(start, module), activation=getattr(module, "nonlinearity", None))
    assert networks.tensors == {}
    ((name, back),) = networks.recurrent.items()
    assert name == start.removesuffix(".")
    assert type(back) is type(module)
    for option in OPTIONS:
        assert getattr(back, option, None) == getattr(module, option, None)
    assert same(back.state_dict(), module.state_dict())
    assert getattr(back, "batch_first", True)


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_the_networks_of_a_model_are_named_by_what_their_tensors_begin_with(suffix: str, tmp_path: Path) -> None:
    """The other tensors are listed in the file's order, no random number is drawn, and a wrong name is told."""
    model, path = Model(), tmp_path / f"a{suffix}"
    _ = save_file(model.state_dict(), path) if suffix == ".safetensors" else torch.save(model.state_dict(), path)
    random = torch.get_rng_state()
    networks = probe.load(path)
    assert torch.equal(torch.get_rng_state(), random)
    assert str(networks.source) == ("safetensors" if suffix == ".safetensors" else "PyTorch state_dict")
    assert sorted(networks.recurrent) == ["cell", "encoder.rnn"]
    assert same(networks.recurrent["encoder.rnn"].state_dict(), model.encoder["rnn"].state_dict())
    assert sorted(networks.tensors) == ["encoder.norm.bias", "encoder.norm.weight", "head.bias", "head.weight"]
    assert networks.choose("cell") == ("cell", networks.recurrent["cell"])
    for wrong in (None, "cel"):
        with refused():
            _ = networks.choose(wrong)
    _ = path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused():
        _ = probe.load(path)


def test_a_state_dict_is_found_at_any_depth(load: Load) -> None:
    """In dicts and lists, beside anything; what an optimizer keeps under the names of weights is no network."""
    lstm, gru = nn.LSTM(3, 5).state_dict(), nn.GRU(3, 5).state_dict()
    for content, places in (
        ({"epoch": 3, "model_state": lstm, "optimizer": {"lr": torch.tensor(0.1)}, "best": torch.ones(2)}, []),
        ({"a": {"b": {"state_dict": lstm}}}, ["a.b.state_dict"]),
        ([lstm, {"optimizer": {"m": gru}}], ["0"]),
        ({"generator": lstm, "critic": gru, "step": torch.tensor(3)}, ["generator", "critic"]),
        ({"state_dict": {"encoder": lstm, "decoder": gru}}, ["state_dict.encoder", "state_dict.decoder"]),
        ({"run": {"nets": [lstm]}, "scheduler": {"last": {"rnn": lstm}}, "lr_find": lstm}, ["run.nets.0"]),
    ):
        checkpoint = load(content)
        assert list(checkpoint.recurrent) == (places or [""])
        assert same(next(iter(checkpoint.recurrent.values())).state_dict(), lstm)
        what = f"state_dict{'s' * bool(places)} under {', '.join(map(repr, places or ['model_state']))}"
        assert str(checkpoint.source) == f"PyTorch checkpoint, {what}"


def test_a_nonlinearity_is_not_guessed(load: Load) -> None:
    """A plain RNN needs the argument, and gets the function that it names: see `test_a_module_comes_back`."""
    for module, choice in ((nn.RNN(3, 5), None), (nn.RNNCell(3, 5), None), (nn.RNN(3, 5), "tan")):
        with refused():
            _ = load(module.state_dict(), activation=choice)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, empty, damaged and other files; a wrong ending alone does not matter."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("a.pt", None), ("b.pt", b"garbage" * 99), ("a.safetensors", b""), ("a.txt", b"weights")):
        if content is not None:
            _ = Path(name).write_bytes(content)
        with refused():
            _ = probe.load(Path(name))
    torch.save(nn.LSTM(2, 3).state_dict(), tmp_path / "w.safetensors")
    assert list(probe.load(tmp_path / "w.safetensors").recurrent) == [""]


LSTM = nn.LSTM(3, 5, 2, bidirectional=True)
PROJECTED = nn.LSTM(3, 5, 2, proj_size=2)
CELL = nn.GRUCell(3, 5)
FAR = {name.replace("l0", "l999999999"): value for name, value in nn.LSTM(3, 5).state_dict().items()}


def changed(module: nn.Module, name: str, *shape: int) -> dict[str, Tensor]:
    """Return a module's tensors with one of another shape, or without it where there is no shape."""
    others = {key: tensor for key, tensor in named("m.", module).items() if key != f"m.{name}"}
    return others | ({f"m.{name}": torch.zeros(shape)} if shape else {})


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        {},
        {"model": nn.LSTM(1, 1).state_dict(), "state_dict": nn.LSTM(1, 1).state_dict()},
        nn.Linear(2, 2).state_dict(),
        {"rnn.bias_ih_l0": torch.zeros(4)},
        # Another shape than the other weights say.
        changed(LSTM, "weight_hh_l0", 10, 5),
        changed(LSTM, "weight_ih_l0", 16, 3),
        changed(LSTM, "weight_ih_l0_reverse", 20, 4),
        changed(LSTM, "weight_hh_l1", 16, 4),
        changed(LSTM, "bias_hh_l1_reverse", 5),
        changed(PROJECTED, "weight_hr_l0", 5, 5),
        changed(CELL, "bias_hh", 20),
        # A tensor, or a whole layer, that is missing.
        changed(LSTM, "weight_hh_l0"),
        changed(LSTM, "bias_ih_l1"),
        changed(LSTM, "weight_hh_l1_reverse"),
        changed(CELL, "weight_hh"),
        nn.LSTM(3, 5).state_dict() | FAR,
        # One too many: a network that has more than torch's is not run as if it had not.
        changed(nn.LSTM(3, 5), "weight_hh", 20, 5),
        changed(nn.LSTM(3, 5), "weight_hr_l1", 20, 5),
        CustomLSTM(3, 5, peepholes=True).state_dict(),
        CustomLSTM(3, 5, learned_initial_state=True).state_dict(),
        # Integers are those of a quantized network; two dtypes cannot be run.
        nn.LSTM(3, 5).state_dict() | {"bias_hh_l0": torch.zeros(20, dtype=torch.int8)},
        nn.LSTM(3, 5).state_dict() | {"bias_hh_l0": torch.zeros(20, dtype=torch.float64)},
    ],
)
def test_what_is_no_network_of_torchs_is_refused(content: Any, load: Load) -> None:
    """The tensor is named, its shape, and the one that is expected; or what the file is instead."""
    with refused():
        _ = load(content)


def test_a_state_that_looks_learned_is_not_dropped_in_silence(load: Load) -> None:
    """The layer would begin with zeros instead; zeros say nothing, and what is left out was looked at."""
    state = named("rnn.", nn.LSTM(2, 3))
    for name, shape in (("h0", (1, 1, 3)), ("enc.init_hidden", (3,)), ("model.c_0", (1, 3))):
        learned = state | {name: torch.ones(shape)}
        with refused():
            _ = load(learned)
        assert list(load(learned, names={name: None}).recurrent) == ["rnn"]
        for other in ({name: torch.zeros(shape)}, {name: torch.ones(5), "head.weight": torch.ones(4, 3)}):
            assert name in load(state | other).tensors


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_network_is_refused(load: Load) -> None:
    """It rounds at each step, so its weights in another cell would be another network."""
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 5)), {nn.LSTM}, dtype=torch.qint8)
    with refused():
        _ = load(quantized.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("stale", [True, False])
def test_weight_drop_is_read_as_it_is_evaluated(stale: bool, load: Load) -> None:
    """AWD-LSTMs keep raw weights beside the latest draw of training, half zeros, which is not the network's."""
    lstm, x = nn.LSTM(3, 5, batch_first=True), torch.randn(2, 7, 3)
    drawn = nn.functional.dropout(lstm.get_parameter("weight_hh_l0"), 0.5)
    inside = lstm.state_dict() | {"weight_hh_l0": drawn}
    if not stale:
        del inside["weight_hh_l0"]
    raw = {"rnns.0.weight_hh_l0_raw": lstm.get_parameter("weight_hh_l0").detach()}
    checkpoint = load(raw | {f"rnns.0.module.{name}": one for name, one in inside.items()})
    assert checkpoint.check(x.numpy(), lstm(x)[0].numpy()) == 0
    assert checkpoint.source.assumed == (
        "'rnns.0.module.weight_hh_l0' is 'rnns.0.weight_hh_l0_raw': without the dropout of weights that trained it",
    )
    assert list(checkpoint.tensors) == ["rnns.0.module.weight_hh_l0"] * stale
    within = {f"rnn.module.{name}": one for name, one in inside.items() if name != "weight_hh_l0"}
    found = load(within | {"rnn.module.weight_hh_l0_raw": drawn})
    assert (list(found.recurrent), found.tensors) == (["rnn.module"], {})


def test_a_cell_with_modules_inside_is_another_one(load: Load) -> None:
    """The weights of a cell with layer norms have the names and shapes of torch's own; without the norms they are."""
    state = named("rnn.cell.", nn.LSTMCell(3, 5)) | {"rnn.norm.weight": torch.ones(5)}
    norms = {"rnn.cell.norm_i.weight": torch.ones(20), "rnn.cell.norm_i.bias": torch.ones(20)}
    with refused():
        _ = load(state | norms)
    assert list(load(state | norms, names={"rnn.cell.norm_i.*": None}).recurrent) == ["rnn.cell"]
    assert list(load(state).recurrent) == ["rnn.cell"]


WEIGHT = "weight_hh_l0"


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "weight norm, old": lambda module: vars(nn.utils)["weight_norm"](module, WEIGHT),
    "weight norm, old, one for all": lambda module: vars(nn.utils)["weight_norm"](module, WEIGHT, None),
    "weight norm": lambda module: parametrizations.weight_norm(module, WEIGHT),
    "spectral norm, old": lambda module: nn.utils.spectral_norm(module, WEIGHT),
    "spectral norm": lambda module: parametrizations.spectral_norm(module, WEIGHT),
    "pruning": lambda module: prune.l1_unstructured(module, WEIGHT, 0.5),
}


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_weight_is_what_an_evaluation_uses(wrapper: str, load: Load) -> None:
    """Norms and masks are computed as torch computes them, and that they were is said."""
    module, x = WRAPPERS[wrapper](nn.LSTM(3, 4, batch_first=True)), torch.randn(2, 5, 3)
    for _ in range(3):  # a spectral norm finds its vectors in training
        _ = module.train()(x)
    for name, parameter in module.named_parameters():
        if name.endswith(("_g", "original0")):
            parameter.mul_(1.5)
    expected = module.eval()(x)[0]
    checkpoint = load(named("encoder.", module))
    assert (checkpoint.recurrent["encoder"](x)[0] - expected).abs().max() < 1e-6
    assert "encoder.weight_hh_l0: from " in checkpoint.source.assumed[0]
    assert {*checkpoint.arrays["encoder"], *checkpoint.tensors} == set(named("encoder.", module))


def test_a_wrapped_weight_that_is_not_whole_is_refused(load: Load) -> None:
    """Parts that are missing, too many, or do not fit are said."""
    state = nn.LSTM(3, 4).state_dict()
    g, v, vector = {"g": torch.ones(16, 1)}, state.pop(WEIGHT), torch.ones(4)
    masked = {"orig": v, "mask": torch.ones(3, 3)}
    for parts in (g, g | {"v": v, "u": torch.ones(16)}, {"orig": v, "u": vector, "v": vector}, masked):
        with refused():
            _ = load(state | {f"{WEIGHT}_{part}": value for part, value in parts.items()})


def test_a_list_of_numbers_is_no_array_and_is_not_passed_over(load: Load, tmp_path: Path) -> None:
    """A bias that was saved as a list of Python's numbers is one of a layer; a list of losses is none."""
    whole: dict[str, Any] = nn.GRU(2, 3).state_dict()
    lists = {name: value.tolist() if "bias" in name else value for name, value in whole.items()}
    for content in (lists, {"state_dict": lists}):
        with refused():
            _ = load(content)
    assert load(whole | {"losses": [1.0, 0.5]}).not_understood == ("losses",)
    arrays = {f"rnn.{name}": value if "bias" in name else value.numpy() for name, value in lists.items()}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
