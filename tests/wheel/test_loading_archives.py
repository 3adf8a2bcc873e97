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
from torch import nn

import probe
from probe import ProbeError

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
    ("content", "message"),
    [
        (
            lambda: zipped({"a.pt": weights(), "b.npz": npz()}),
            r"several files of weights, '.*', '.*'\. Unpack",
        ),
        (lambda: zipped({"a.txt": b"x", "b.csv": b"1,2"}), r"archive of '.*', none of which is a file of weights"),
        (lambda: zipped({"a.txt": b"x"}), r"'.*/model\.any/a\.txt' ends in '\.txt', and its contents are of no kind"),
        (lambda: zipped({"a.pt": b"garbage" * 99, "b": b""}), r"'.*/model\.any/a\.pt' is no file of torch\.save"),
        (
            lambda: zipped({"a.zip": zipped({"a.pt": weights()})}),
            r"'.*/model\.any/a\.zip' is an archive in an archive",
        ),
        (lambda: tarred({"../a.pt": weights()}), r"cannot be read as an archive \(it holds '\.\./a\.pt'\)"),
        (lambda: tarred({"/a.pt": weights()}), r"cannot be read as an archive \(it holds '/a\.pt'\)"),
        (lambda: gzip.compress(weights())[:-200], r"cannot be read as an archive"),
        (lambda: gzip.compress(bytes(60_000_000)), r"unpacks to more than an archive of weights does"),
        (lambda: zipped({"a.pt": bytes(60_000_000)}), r"unpacks to 60,000,000"),
        (lambda: zipped({}), r"none of which is a file of weights"),
    ],
)
def test_an_archive_without_one_is_refused(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    """Several, none, damaged ones, one that leads out of its folder, and one that unpacks to too much."""
    with pytest.raises(ProbeError, match=message):
        _ = probe.load(written(tmp_path, "model.any", content()))
    assert [file.name for file in tmp_path.iterdir()] == ["model.any"]


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file of the machine."""
    outside = written(tmp_path, "outside.pt", weights())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("weights.pt")
        info.type, info.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(info)
    with pytest.raises(ProbeError, match=r"none of which is a file of weights"):
        _ = probe.load(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.tflite",
            b"\x1c\0\0\0TFL3",
            r"is a model of TensorFlow Lite, .* Give what it was converted from: the Keras",
        ),
        ("a.bin", b"\x1c\0\0\0TFL3", r"is a model of TensorFlow Lite"),
        ("a.mlmodel", b"\x08\x01", r"is a Core ML model, which is not read here\. Give what it was converted from"),
        ("a.t7", b"\x04\0\0\0", r"is a file of Lua Torch"),
        ("a.caffemodel", b"\n\0", r"is a model of Caffe"),
        ("a.gguf", b"GGUF\x03", r"is a model of GGUF"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform", r"is a file of MATLAB.* scipy\.io\.loadmat"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1", r"is a pointer of Git LFS, .* `git lfs pull`"),
        ("a.h5", b"<!DOCTYPE html><html>", r"is a page of HTML, as a download leaves that did not find the file"),
        ("a.pt2", zipped({"a/data/weights/model_weights_config.json": b"{}"}), r"is a program of torch\.export"),
        (
            "a.pt",
            zipped({"a/.data/extern_modules": b"", "a/.data/0.storage": b""}),
            r"is a package of torch\.package",
        ),
        (
            "a.pt",
            zipped({"a/.data/python_version": b"", "a/b/constants.pkl": b""}),
            r"is a package of torch\.package",
        ),
    ],
)
def test_a_file_of_another_program_is_refused_by_name(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    """What it is, by its contents before its name, and what to do."""
    with pytest.raises(ProbeError, match=message):
        _ = probe.load(written(tmp_path, name, content))


def test_a_folder_of_core_ml_is_refused_by_name(tmp_path: Path) -> None:
    """Its newer form is a folder."""
    (tmp_path / "a.mlpackage").mkdir()
    with pytest.raises(ProbeError, match=r"is a Core ML model"):
        _ = probe.load(tmp_path / "a.mlpackage")


def test_arrays_named_after_a_layer_are_pointed_out(tmp_path: Path) -> None:
    """A cell that is not known here is not said to be absent."""
    np.savez(tmp_path / "a.npz", **{"mlstm.wmx": np.zeros((2, 2)), "head": np.zeros(2)})
    with pytest.raises(
        ProbeError, match=r"The names of 1 arrays are of a recurrent layer \('mlstm\.wmx'\): their layout"
    ):
        _ = probe.load(tmp_path / "a.npz")
