"""Files that were made to harm: no code of them is run, little memory and time is spent, and the reason is said."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import nn

import probe

CALLED: list[str] = []


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, function: Any = CALLED.append, arguments: tuple[Any, ...] = ("called",)) -> None:
        self._what = function, arguments

    def __reduce__(self) -> Any:
        return self._what


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "content",
    [
        Malicious(os.system, ("true",)),
        Malicious(eval, ("1",)),
        {"w": np.zeros(3), "x": Malicious()},
        Malicious(np.load, ("x",)),
        nn.LSTM(2, 2),
    ],
)
def test_a_pickle_calls_nothing(content: Any, protocol: int, tmp_path: Path) -> None:
    """Every name beyond those of numpy's arrays ends the reading, and is said."""
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert CALLED == []


def test_an_object_array_is_not_opened(tmp_path: Path) -> None:
    """numpy keeps objects as a pickle inside its own file."""
    harmful = np.array([Malicious()], dtype=object)
    np.savez(tmp_path / "a.npz", allow_pickle=True, w=harmful)
    with refused():
        _ = probe.load(tmp_path / "a.npz")
    named: dict[str, Any] = {name: value.numpy() for name, value in nn.GRU(1, 2).state_dict().items()}
    np.savez(tmp_path / "b.npz", allow_pickle=True, w=harmful, **named)
    assert probe.load(tmp_path / "b.npz", names={"w": None}).not_understood == ("w",)
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.array([{}, []], dtype=object)}))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert CALLED == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_archive_of_torchscript_calls_nothing(tmp_path: Path) -> None:
    """Its pickle may name tensors, lists and its own modules; a function of Python is refused."""
    stream = io.BytesIO()
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "good.ts"))
    with zipfile.ZipFile(tmp_path / "good.ts") as good, zipfile.ZipFile(stream, "w") as bad:
        for name in good.namelist():
            content = pickle.dumps(Malicious(), 2) if name.endswith("/data.pkl") else good.read(name)
            bad.writestr(name, content)
    _ = (tmp_path / "a.ts").write_bytes(stream.getvalue())
    with refused():
        _ = probe.load(tmp_path / "a.ts")
    assert CALLED == []


@pytest.mark.parametrize("name", ["a.npz", "a.pt", "a.keras"])
def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(name: str, tmp_path: Path) -> None:
    """Its table of contents says so, and nothing is unpacked to find out."""
    inside = {"a.npz": "w.npy", "a.pt": "a/data.pkl", "a.keras": "config.json"}[name]
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        if name == "a.keras":
            archive.writestr("model.weights.h5", b"")
        with archive.open(inside, "w") as file:
            for _ in range(100):
                _ = file.write(bytes(1_000_000))
    tracemalloc.start()
    with refused():
        _ = probe.load(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def header(shape: str, data: bytes) -> bytes:
    """Return an .npy file that claims a shape."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(-1,)", "(3,)", "()", "(4.5,)", "'x'"])
def test_a_shape_that_the_numbers_do_not_fill_is_refused(shape: str, tmp_path: Path) -> None:
    """No room is made for what a header claims before the numbers are counted."""
    _ = (tmp_path / "a.npy").write_bytes(header(shape, bytes(16)))
    with refused():
        _ = probe.load(tmp_path / "a.npy")


def test_the_memory_for_arrays_is_bounded(tmp_path: Path) -> None:
    """A file with more is refused before it is read, and read if the caller allows for it."""
    named: dict[str, Any] = {name: value.numpy() for name, value in nn.GRU(100, 100).state_dict().items()}
    np.savez(tmp_path / "a.npz", **named)
    torch.save(nn.GRU(100, 100).state_dict(), tmp_path / "a.pt")
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(named))
    for name in ("a.npz", "a.pt", "a.pkl"):
        with refused():
            _ = probe.load(tmp_path / name, memory=100_000)
        assert list(probe.load(tmp_path / name, memory=1_000_000).recurrent) == [""]


def test_a_view_of_one_number_is_not_spread_out(tmp_path: Path) -> None:
    """A tensor of four bytes can claim to be of any shape."""
    torch.save({"w": torch.zeros(1).expand(1_000_000, 1_000_000)}, tmp_path / "a.pt")
    with refused():
        _ = probe.load(tmp_path / "a.pt")


def test_lists_in_lists_are_not_walked_for_ever(tmp_path: Path) -> None:
    """A list that holds one list many times, thirty deep, is small in a file; so is one within itself."""
    value: list[Any] = []
    for _ in range(30):
        value = [value] * 10
    endless: list[Any] = []
    endless.append(endless)
    for content in (value, endless):
        _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
        with refused():
            _ = probe.load(tmp_path / "a.pkl")


def test_an_opcode_for_much_memory_makes_none(tmp_path: Path) -> None:
    """A slot of a pickle's memory is named by a number; Python's own unpickler in C makes room for all before it."""
    _ = (tmp_path / "a.pkl").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    tracemalloc.start()
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file of the machine."""
    np.save(tmp_path / "secret.npy", np.zeros(3))
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "w.npy", np.zeros(3))
    (tmp_path / "folder" / "link.npy").symlink_to(tmp_path / "secret.npy")
    with refused():
        _ = probe.load(tmp_path / "folder")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    """A network with one such weight answers nothing, whatever it is asked."""
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in nn.GRU(1, 2).state_dict().items()}
    arrays["weight_hh_l0"][0, 0] = value
    np.savez(tmp_path / "a.npz", **arrays)
    with refused():
        _ = probe.load(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".ts"])
def test_a_flipped_bit_of_an_archive_is_found(suffix: str, tmp_path: Path) -> None:
    """Archives have checksums, and they are checked, also where torch does not."""
    path = tmp_path / f"a{suffix}"
    weights = nn.GRU(3, 5).state_dict()
    named: dict[str, Any] = {name: value.numpy() for name, value in weights.items()}
    _ = np.savez(path, **named) if suffix == ".npz" else torch.save(weights, path)
    content = bytearray(path.read_bytes())
    at = content.index(weights["weight_hh_l0"].numpy().tobytes()) + 5
    content[at] ^= 1
    _ = path.write_bytes(content)
    with refused():
        _ = probe.load(path)


def test_a_file_of_an_archive_whose_name_was_changed_is_found(tmp_path: Path) -> None:
    """Two arrays that are called otherwise in the table of contents would leave a network without its biases."""
    named: dict[str, Any] = {name: value.numpy() for name, value in nn.GRU(3, 5).state_dict().items()}
    np.savez(tmp_path / "a.npz", **named)
    content = (tmp_path / "a.npz").read_bytes()
    start = content.index(b"PK\x01\x02")
    table = (
        content[start:].replace(b"bias_ih_l0.npy", b"bias_ih_l0.npx").replace(b"bias_hh_l0.npy", b"bias_hh_l0.npx")
    )
    _ = (tmp_path / "a.npz").write_bytes(content[:start] + table)
    with refused():
        _ = probe.load(tmp_path / "a.npz")
    # The last two swallowed by the comment of the one before, which is made longer.
    entries = content[start:].split(b"PK\x01\x02")[1:]
    lost = sum(len(entry) + 4 for entry in entries[-2:]) - 22
    grown = bytearray(content[start:])
    at = len(entries[0]) + 4 + 32
    grown[at : at + 2] = lost.to_bytes(2, "little")
    _ = (tmp_path / "a.npz").write_bytes(content[:start] + grown)
    with refused():
        _ = probe.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("content", "module", "name", "command"),
    [
        (b"\x89HDF\r\n\x1a\n", "h5py", "a.h5", "pip install 'rnn-probe[keras]'"),
        (b"\x08\x07", "onnx", "a.onnx", "pip install 'rnn-probe[onnx]'"),
    ],
)
def test_a_missing_extra_is_named_with_its_command(
    content: bytes, module: str, name: str, command: str, tmp_path: Path
) -> None:
    """Without the package the file is refused with the command that brings it, and other files are read."""
    _ = (tmp_path / name).write_bytes(content)
    torch.save(nn.GRU(1, 2).state_dict(), tmp_path / "a.pt")
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"import probe; probe.load('a.pt')\n"
        f"try: probe.load({name!r})\nexcept probe.ProbeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"{module}" in done.stdout
    assert done.stdout.strip().endswith(f"not installed: {command}.")


CLAIMS = 1_000_000_000


def test_arrays_that_are_not_in_the_file_are_refused(tmp_path: Path) -> None:
    """A file of four kilobytes can claim gigabytes of zeros, in one array or many: what is stored counts."""
    h5py = pytest.importorskip("h5py")
    for name, count in (("one", 1), ("many", 40), ("linked", 40)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for number in range(count):
                if name == "linked" and number:
                    file[f"{number}"] = file["0"]
                else:
                    file.create_dataset(str(number), (CLAIMS // 4 // count,), "f4", chunks=(1 << 20,), fillvalue=1)
        assert (tmp_path / f"{name}.h5").stat().st_size < 100_000
        tracemalloc.start()
        with refused():
            _ = probe.load(tmp_path / f"{name}.h5")
        assert tracemalloc.get_traced_memory()[1] < CLAIMS / 8
        tracemalloc.stop()


MEASURED = """
import resource, sys
import probe, torch
from probe.loading.formats import numpy_files, safetensors_file, torch_files, pickled
torch.save(torch.nn.LSTM(2, 3).state_dict(), sys.argv[2])
_ = probe.load(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    _ = probe.load(sys.argv[1], memory=int(sys.argv[3]))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
except probe.ProbeError as error:
    assert "give memory=" in str(error) or "memory= is" in str(error)
    print("refused", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts kilobytes on Linux")
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz", "a.pkl", "compressed.npz"])
def test_memory_bounds_the_peak(name: str, tmp_path: Path) -> None:
    """What memory= says is never exceeded, neither by a file that is loaded nor by one that is refused."""
    state = {f"rnn.{name}": value for name, value in nn.LSTM(1000, 1000).state_dict().items()}
    size = sum(value.numel() * value.element_size() for value in state.values())
    named: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    write: dict[str, Any] = {
        "a.pt": lambda path: torch.save(state, path),
        "a.safetensors": lambda path: save_file(state, path),
        "a.npz": lambda path: np.savez(path, **named),
        "compressed.npz": lambda path: np.savez_compressed(path, **named),
        "a.pkl": lambda path: path.write_bytes(pickle.dumps(named)),
    }
    write[name](tmp_path / name)
    for memory in (5 * size, int(1.5 * size)):
        words = [sys.executable, "-c", MEASURED, str(tmp_path / name), str(tmp_path / "small.pt"), str(memory)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
        # The interpreter's own changes are a few megabytes.
        assert int(done.stdout.split()[-1]) < memory + 8_000_000
        assert done.stdout.startswith("refused") == (memory < 2 * size)
