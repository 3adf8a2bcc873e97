"""Files that were made to harm: no code of them is run, little memory and time is spent, and the reason is said."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe import ProbeError

CALLED: list[str] = []


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, function: Any = CALLED.append, arguments: tuple[Any, ...] = ("called",)) -> None:
        self._what = function, arguments

    def __reduce__(self) -> Any:
        return self._what


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    """Expect a refusal that takes less than so many bytes."""
    tracemalloc.start()
    with refused():
        yield
    assert tracemalloc.get_traced_memory()[1] < most
    tracemalloc.stop()


def numbers(module: nn.Module) -> dict[str, Any]:
    """Return a module's arrays as numpy's."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def write(path: Path, arrays: dict[str, Any]) -> Path:
    """Write arrays in the format that a path's ending says, and return the path."""
    if path.suffix == ".npz":
        (np.savez_compressed if "compressed" in path.name else np.savez)(path, **arrays)
    elif path.suffix == ".pkl":
        _ = path.write_bytes(pickle.dumps(arrays))
    else:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize(
    "content",
    [
        Malicious(os.system, ("true",)),
        {"model": numbers(nn.GRU(2, 3)), "x": Malicious()},
        nn.LSTM(2, 2),
        {"w": np.array([{}, []], dtype=object)},
    ],
    ids=["system", "beside weights", "a module", "objects"],
)
def test_a_pickle_calls_nothing(content: Any, protocol: int, tmp_path: Path) -> None:
    """Every name beyond those of numpy's arrays ends the reading, and is said."""
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert CALLED == []


def test_a_file_of_torch_or_numpy_calls_nothing(tmp_path: Path) -> None:
    """A whole model, or whatever else is no tensor, is refused; torch's advice to open it is not passed on."""
    spread = {"w": torch.zeros(1).expand(1_000_000, 1_000_000)}  # four bytes that claim to be of any shape
    for content in (nn.LSTM(3, 5), {"model": nn.LSTM(3, 5).state_dict(), "x": Malicious()}, spread):
        torch.save(content, tmp_path / "a.pt")
        with refused() as raised:
            _ = probe.load(tmp_path / "a.pt")
        assert "weights_only" not in str(raised.value)
    harmful = np.array([Malicious()], dtype=object)  # numpy keeps objects as a pickle inside its own file
    np.savez(tmp_path / "a.npz", w=harmful)
    with refused():
        _ = probe.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", w=harmful, **numbers(nn.GRU(1, 2)))
    assert (probe.load(tmp_path / "b.npz", names={"w": None}).not_understood, CALLED) == (("w",), [])


@pytest.mark.filterwarnings("ignore:.torch.jit")  # old, and still read
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
    _ = (tmp_path / "b.pkl").write_bytes(pickle.dumps(numbers(nn.LSTM(2, 3)), 2))
    assert isinstance(probe.load(tmp_path / "b.pkl").recurrent[""], nn.LSTM)


def test_lists_in_lists_are_not_walked_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that holds one list many times, thirty deep, is small in a file; so is one within itself."""
    monkeypatch.setattr("probe.loading.readers.MOST_VALUES", 10_000)
    value: list[Any] = []
    for _ in range(30):
        value = [value] * 10
    endless: list[Any] = [nn.GRU(1, 2).state_dict()]
    endless.append(endless)
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    _ = (tmp_path / "b.pkl").write_bytes(pickle.dumps(endless[1:]))
    torch.save(endless, tmp_path / "b.pt")
    for name in ("a.pkl", "b.pkl", "b.pt"):
        with refused():
            _ = probe.load(tmp_path / name)


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
    with little_memory(20_000_000):
        _ = probe.load(tmp_path / name)
    # A slot of a pickle's memory is named by a number; Python's own unpickler in C makes room for all before it.
    _ = (tmp_path / "a.pkl").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    with little_memory(5_000_000):
        _ = probe.load(tmp_path / "a.pkl")


def test_arrays_that_are_not_in_the_file_are_refused(tmp_path: Path) -> None:
    """A file of four kilobytes can claim gigabytes of zeros, in one array or many: what is stored counts."""
    h5py = pytest.importorskip("h5py")
    claims = 1_000_000_000
    for name, count in (("one", 1), ("many", 40), ("linked", 40)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for number in range(count):
                if name == "linked" and number:
                    file[f"{number}"] = file["0"]
                else:
                    file.create_dataset(str(number), (claims // 4 // count,), "f4", chunks=(1 << 20,), fillvalue=1)
        assert (tmp_path / f"{name}.h5").stat().st_size < 100_000
        with little_memory(claims // 8):
            _ = probe.load(tmp_path / f"{name}.h5")


def test_a_shape_that_the_numbers_do_not_fill_is_refused(tmp_path: Path) -> None:
    """No room is made for what a header claims before the numbers are counted."""
    for shape in ("(1000000, 1000000)", "(-1,)", "(3,)", "'x'"):
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        _ = (tmp_path / "a.npy").write_bytes(header + bytes(16))
        with refused():
            _ = probe.load(tmp_path / "a.npy")


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file of the machine."""
    np.save(tmp_path / "secret.npy", np.zeros(3))
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "w.npy", np.zeros(3))
    (tmp_path / "folder" / "link.npy").symlink_to(tmp_path / "secret.npy")
    with refused():
        _ = probe.load(tmp_path / "folder")


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".ts"])
def test_a_flipped_bit_of_an_archive_is_found(suffix: str, tmp_path: Path) -> None:
    """Archives have checksums, and they are checked, also where torch does not."""
    arrays = numbers(nn.GRU(3, 5))
    path = write(tmp_path / f"a{suffix}", arrays)
    content = bytearray(path.read_bytes())
    content[content.index(arrays["weight_hh_l0"].tobytes()) + 5] ^= 1
    _ = path.write_bytes(content)
    with refused():
        _ = probe.load(path)


def test_a_file_of_an_archive_whose_name_was_changed_is_found(tmp_path: Path) -> None:
    """Two arrays that are called otherwise in the table of contents would leave a network without its biases."""
    path = write(tmp_path / "a.npz", numbers(nn.GRU(3, 5)))
    files, mark, contents = path.read_bytes().partition(b"PK\x01\x02")
    for name in (b"bias_ih_l0.np", b"bias_hh_l0.np"):
        contents = contents.replace(name + b"y", name + b"x")
    _ = path.write_bytes(files + mark + contents)
    with refused():
        _ = probe.load(path)


def test_a_missing_extra_is_named_with_its_command(tmp_path: Path) -> None:
    """Without the package the file is refused with the command that brings it, and other files are read."""
    files = {"a.h5": b"\x89HDF\r\n\x1a\n", "a.onnx": b"\x08\x07", "a.msgpack": b"\x81\xa1a\x01"}
    for name, content in files.items():
        _ = (tmp_path / name).write_bytes(content)
    _ = write(tmp_path / "a.pt", numbers(nn.GRU(1, 2)))
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('h5py', 'onnx', 'msgpack')))\n"
        "import probe; probe.load('a.pt')\n"
        f"for name in {list(files)}:\n"
        "    try: probe.load(name)\n    except probe.ProbeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    said = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    assert said == [f"pip install 'rnn-probe[{extra}]'." for extra in ("keras", "onnx", "flax")]


MEASURED = """
import resource, sys
import probe, torch
from probe.loading.formats import numpy_files, safetensors_file, torch_files, pickled
torch.save(torch.nn.LSTM(2, 3).state_dict(), sys.argv[2])
_ = probe.load(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for memory in sys.argv[3:]:
    try:
        _ = probe.load(sys.argv[1], memory=int(memory))
    except probe.ProbeError as error:
        assert "give memory=" in str(error) or "memory= is" in str(error)
        print("refused", end=" ")
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts kilobytes on Linux")
@pytest.mark.parametrize(
    "name",
    ["a.pt", "compressed.npz", *(pytest.param(f"a.{end}", marks=pytest.mark.exhaustive) for end in ("npz", "pkl"))],
)
def test_memory_bounds_the_peak(name: str, tmp_path: Path) -> None:
    """What memory= says is never exceeded, neither by a file that is loaded nor by one that is refused."""
    arrays = {f"rnn.{name}": value for name, value in numbers(nn.LSTM(1000, 1000)).items()}
    size = sum(array.nbytes for array in arrays.values())
    _ = write(tmp_path / name, arrays)
    bounds = int(1.5 * size), 5 * size
    words = [sys.executable, "-c", MEASURED, str(tmp_path / name), str(tmp_path / "small.pt"), *map(str, bounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
    lines = done.stdout.splitlines()
    assert [line.startswith("refused") for line in lines] == [True, False]
    for line, memory in zip(lines, bounds, strict=True):
        # The interpreter's own changes are a few megabytes.
        assert int(line.split()[-1]) < memory + 8_000_000
