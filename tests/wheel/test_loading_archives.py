"""One file of weights in an archive or compressed: the same network; and files of other programs, refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe

LSTM = nn.LSTM(3, 5)
Files = Mapping[str, bytes]


def weights() -> bytes:
    """Return what torch.save writes."""
    stream = io.BytesIO()
    torch.save(LSTM.state_dict(), stream)
    return stream.getvalue()


def npz() -> bytes:
    """Return what numpy.savez writes."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, **{name: value.numpy() for name, value in LSTM.state_dict().items()})
    return stream.getvalue()


def zipped(files: Files) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: Files, mode: str = "w") -> bytes:
    """Return a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def written(folder: Path, name: str, content: bytes) -> Path:
    """Write a file, and return its path."""
    _ = (folder / name).write_bytes(content)
    return folder / name


PACKED: dict[str, Callable[[], bytes]] = {
    "a.zip": lambda: zipped({"model/weights.pt": weights(), "README.md": b"# Weights"}),
    "b.tar": lambda: tarred({"weights.pt": weights()}),
    "c.tar.gz": lambda: tarred({"model/weights.pt": weights(), "model/meta.pkl": b"\x80\x04N."}, "w:gz"),
    "d.tar.xz": lambda: tarred({"weights.npz": npz()}, "w:xz"),
    "e.pt.gz": lambda: gzip.compress(weights()),
    "f.npz.bz2": lambda: bz2.compress(npz()),
    "g.xz": lambda: lzma.compress(weights()),
    "h": lambda: gzip.compress(npz()),
}


@pytest.mark.parametrize("name", PACKED)
def test_one_file_of_weights_is_found_in_an_archive(name: str, tmp_path: Path) -> None:
    """Whatever packed it, and whatever lies beside it, which the checkpoint names."""
    checkpoint = probe.load(written(tmp_path, name, PACKED[name]()))
    (module,) = checkpoint.recurrent.values()
    for array, value in LSTM.state_dict().items():
        assert torch.equal(module.state_dict()[array], value)
    assert str(checkpoint.source).endswith("in an archive")
    beside = {"a.zip": ("README.md",), "c.tar.gz": ("model/meta.pkl",)}
    assert checkpoint.not_understood == beside.get(name, ())
    assert sorted(file.name for file in tmp_path.iterdir()) == [name]


def test_a_folder_in_an_archive_is_one(tmp_path: Path) -> None:
    """Arrays of .npy files belong together."""
    arrays = {}
    for name, value in LSTM.state_dict().items():
        stream = io.BytesIO()
        np.save(stream, value.numpy())
        arrays[f"rnn/{name}.npy"] = stream.getvalue()
    checkpoint = probe.load(written(tmp_path, "a.tar.gz", tarred(arrays, "w:gz")))
    assert list(checkpoint.recurrent) == ["rnn"]


@pytest.mark.parametrize(
    "content",
    [
        lambda: zipped({"a.pt": weights(), "b.npz": npz()}),
        lambda: zipped({"a.txt": b"x", "b.csv": b"1,2"}),
        lambda: zipped({"a.txt": b"x"}),
        lambda: zipped({"a.pt": b"garbage" * 99, "b": b""}),
        lambda: zipped({"a.zip": zipped({"a.pt": weights()})}),
        lambda: tarred({"../a.pt": weights()}),
        lambda: tarred({"/a.pt": weights()}),
        lambda: gzip.compress(weights())[:-200],
        lambda: gzip.compress(bytes(60_000_000)),
        lambda: zipped({"a.pt": bytes(60_000_000)}),
        lambda: zipped({}),
    ],
)
def test_an_archive_without_one_is_refused(content: Callable[[], bytes], tmp_path: Path) -> None:
    """Several, none, damaged ones, one that leads out of its folder, and one that unpacks to too much."""
    with refused():
        _ = probe.load(written(tmp_path, "model.any", content()))
    assert [file.name for file in tmp_path.iterdir()] == ["model.any"]


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file of the machine."""
    outside = written(tmp_path, "outside.pt", weights())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("weights.pt")
        info.type, info.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(info)
    with refused():
        _ = probe.load(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tflite", b"\x1c\0\0\0TFL3"),
        ("a.bin", b"\x1c\0\0\0TFL3"),
        ("a.mlmodel", b"\x08\x01"),
        ("a.t7", b"\x04\0\0\0"),
        ("a.caffemodel", b"\n\0"),
        ("a.gguf", b"GGUF\x03"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1"),
        ("a.h5", b"<!DOCTYPE html><html>"),
        ("a.pt2", zipped({"a/data/weights/model_weights_config.json": b"{}"})),
        ("a.pt", zipped({"a/.data/extern_modules": b"", "a/.data/0.storage": b""})),
        ("a.pt", zipped({"a/.data/python_version": b"", "a/b/constants.pkl": b""})),
    ],
)
def test_a_file_of_another_program_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    """What it is, by its contents before its name, and what to do."""
    with refused():
        _ = probe.load(written(tmp_path, name, content))


def test_a_folder_of_core_ml_is_refused_by_name(tmp_path: Path) -> None:
    """Its newer form is a folder."""
    (tmp_path / "a.mlpackage").mkdir()
    with refused():
        _ = probe.load(tmp_path / "a.mlpackage")


def test_arrays_named_after_a_layer_are_pointed_out(tmp_path: Path) -> None:
    """A cell that is not known here is not said to be absent."""
    np.savez(tmp_path / "a.npz", **{"mlstm.wmx": np.zeros((2, 2)), "head": np.zeros(2)})
    with refused():
        _ = probe.load(tmp_path / "a.npz")
