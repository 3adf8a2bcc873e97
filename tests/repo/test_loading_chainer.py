"""Files of Chainer against its own run; tests/data/checkpoints/make_chainer.py wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe import ProbeError
from probe.recurrent import CustomGRU

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
TANH: dict[str, Any] = {"activation": "tanh"}
FILES = ("chainer.npz", "chainer.h5")
with np.load(DATA / "chainer_references.npz") as _file:
    REFERENCES = {name: _file[name] for name in _file}
with np.load(DATA / "chainer.npz") as _file:
    ARRAYS = {name: _file[name] for name in _file}
KINDS: dict[str, Any] = {
    "lstm": nn.LSTM,
    "gru": CustomGRU,
    "gru_stack/0": nn.GRU,
    "gru_both/0": nn.GRU,
    "plain/0": nn.RNN,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_a_link(file: str, name: str) -> None:
    """Gates that lie beside each other by unit, an inverted update gate before the product, a link a direction."""
    checkpoint = probe.load(DATA / file, **TANH)
    assert checkpoint.check(REFERENCES["x"], REFERENCES[name.partition("/")[0]], name=name) < TOLERANCE
    assert isinstance(checkpoint.recurrent[name], KINDS[name])
    assert set(checkpoint.tensors) == {"head/W", "head/b"}


@torch.no_grad()
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("stack", "names"), [("stack", ("stack/0", "stack/1")), ("both", ("both/0", "both/2"))])
def test_a_stack_of_links(stack: str, names: tuple[str, str], file: str) -> None:
    """Two levels follow each other; of two directions, every second link reads from the end."""
    recurrent = probe.load(DATA / file, **TANH).recurrent
    h = torch.as_tensor(REFERENCES["x"])
    for name in names:
        h, _ = recurrent[name](h)
    assert (h - torch.as_tensor(REFERENCES[stack])).abs().max() < TOLERANCE


def written(folder: Path, start: str, change: dict[str, Any] | None = None) -> Path:
    """Write the arrays of one link, some of them changed or left out (None)."""
    arrays = {name: array for name, array in ARRAYS.items() if name.startswith(start)} | (change or {})
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def zeros(*shape: int) -> Any:
    """Return an array."""
    return np.zeros(shape, "f4")


@pytest.mark.parametrize(
    ("start", "change", "expected"),
    [
        ("lstm/", {"lstm/peep_i/W": zeros(3, 3)}, r"a StatefulPeepholeLSTM's peepholes are whole matrices"),
        ("lstm/", {"lstm/upward/b": zeros(8)}, r"expected \(4 x units, input\), \(4 x units\) and"),
        ("gru/", {"gru/U_z/b": zeros(3) + 1}, r"at the first step a StatefulGRU leaves these out"),
        ("gru/", {"gru/W_r/W": zeros(3, 4)}, r"expected \(units, input\) of W"),
        ("stack/", {"stack/0/w7": None}, r"as many w as b: 8 of an LSTM"),
        ("stack/", {"stack/0/w7": zeros(2, 2)}, r"expected \(units, input\), then \(units, units\)"),
        ("stack/", {f"stack/1/w{gate}": zeros(3, 5) for gate in range(4)}, r"as no stack of Chainer does"),
        (
            "stack/",
            {f"stack/0/w{gate}": zeros(3, 3) for gate in range(4)},
            r"two levels, or two directions, which no",
        ),
    ],
)
def test_what_no_cell_computes_is_refused(start: str, change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """Whole matrices of peepholes, biases that one step leaves out, and directions that nothing tells are errors."""
    with pytest.raises(ProbeError, match=expected) as raised:
        _ = probe.load(written(tmp_path, start, change), **(TANH if "plain" in start else {}))
    assert "names={" in str(raised.value)


def test_what_no_file_says_is_demanded(tmp_path: Path) -> None:
    """The function of a plain link; a forget bias is in the bias itself, and with another the file is another one."""
    with pytest.raises(ProbeError, match=r"Say which with activation=; usual are 'tanh' \(NStepRNNTanh\)"):
        _ = probe.load(written(tmp_path, "plain"))
    with pytest.raises(ProbeError, match=r"the file itself says forget_bias=0\.0, and 1\.0 was given"):
        _ = probe.load(written(tmp_path, "lstm/"), forget_bias=1.0)
    alone = written(tmp_path, "stack", {f"stack/0/w{gate}": zeros(3, 3) for gate in range(4)})
    assert list(probe.load(alone, names={"stack/1/*": None}).recurrent) == ["stack/0"]
