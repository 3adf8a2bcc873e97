"""Pickles: arrays are read, and nothing that a pickle names is imported or called."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from refusing import refused
from torch import nn

import probe
from probe import ProbeError


class Harmful:
    """Runs code when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder / "made"),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_objects_is_refused(protocol: int, tmp_path: Path) -> None:
    """No class is imported and no function called, whatever lies beside it."""
    weights = {name: value.numpy() for name, value in nn.GRU(2, 3).state_dict().items()}
    content = {"model": weights, "bad": Harmful(tmp_path)}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert not (tmp_path / "made").exists()


def test_a_state_dict_of_arrays_is_read(tmp_path: Path) -> None:
    """Torch's dict carries attributes of its own, which are no arrays."""
    saved: Any = nn.GRU(2, 3).state_dict()
    for name in saved:
        saved[name] = saved[name].numpy()
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(saved))
    assert isinstance(probe.load(tmp_path / "a.pkl").recurrent[""], nn.GRU)


def hostile(*parts: bytes) -> bytes:
    """Return a pickle of opcodes."""
    return b"\x80\x04" + b"".join(parts) + b"."


TEXT = b"X" + (1000).to_bytes(4, "little") + b"x" * 1000


@pytest.mark.parametrize(
    "content",
    [
        hostile(b"c_codecs\nencode\n\x94", TEXT, b"\x94", b"(" + b"h\x00h\x01\x85R" * 5000 + b"t"),
        hostile(b"ccollections\nOrderedDict\n\x94](" + b"]" * 2 + b"K\x01K\x02\x86e\x94" + b"h\x00h\x01\x85R" * 9000),
        hostile(b"c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb"),
        hostile(b"cnumpy\ndtype\nN}X\x03\x00\x00\x00getK\x01s\x86b"),
        hostile(b"cnumpy\nndarray\n)\x81\x94X\x02\x00\x00\x00xxb"),
    ],
)
def test_a_pickle_cannot_change_or_exhaust_its_reader(content: bytes, tmp_path: Path) -> None:
    """Copies are counted, and the functions and classes of the table are given no state."""
    _ = (tmp_path / "a.pkl").write_bytes(content)
    # What Python says of the pickle differs where annotations are checked.
    with pytest.raises(ProbeError, match="cannot be read as a pickle of arrays"):
        _ = probe.load(tmp_path / "a.pkl")
    named = {name: value.numpy() for name, value in nn.LSTM(2, 3).state_dict().items()}
    _ = (tmp_path / "b.pkl").write_bytes(pickle.dumps(named, 2))
    assert isinstance(probe.load(tmp_path / "b.pkl").recurrent[""], nn.LSTM)


def test_values_that_lie_within_each_other_end(tmp_path: Path) -> None:
    """A list that holds one list twice, and that one another twice, is small in a file, and endless."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")


def test_a_module_of_torch_is_not_taken_apart(tmp_path: Path) -> None:
    """Its tensors are arguments of a function that is not called, so that none is read."""
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(nn.LSTM(2, 2)))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
