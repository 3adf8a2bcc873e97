"""What is written says its own digest: whatever was damaged or changed since then is found when it is opened."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import bits, planted, study_of
from torch import nn

import probe
from probe import Finding, ProbeError
from probe.command_line import main
from probe.command_line.verify import verify
from probe.evidence.measurements import Network, measurement, tabulate
from probe.loading.converted import convert
from probe.storage import digests, tensor_files
from probe.storage.files import write_atomically
from probe.storage.input_files import read_array

#: What is asked of a small study.
FEW: dict[str, Any] = {"inputs": bits(40), "questions": ["class-means", "noise-margin"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a recording's file, beside a folder of the same."""
    model, x = nn.LSTM(2, 3, batch_first=True), torch.randn(2, 4, 2)
    probe.record(model, x).save(tmp_path / "run.safetensors")
    _ = probe.record(model, x, out=tmp_path / "run")
    return tmp_path / "run.safetensors"


def found(folder: Path) -> Path:
    """Write a finding and return its folder."""
    table = tabulate([measurement("q", "m", Network("a", "trained", nn.LSTM(1, 1), pair=0), 1.0)])
    return Finding("q", "What?", table).write(folder / "finding")


def resealed(folder: Path, **changed: Any) -> None:
    """Change what a recording's folder says, with a digest that is right."""
    described = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    del described["sha256"]
    sealed = digests.sealed(described | changed)
    _ = (folder / "recording.json").write_text(json.dumps(sealed), encoding="utf-8")


def test_every_byte_of_a_recording_is_checked(file: Path) -> None:
    """A flipped bit in a value, a name, a shape or a description is found, in a file and in a folder."""
    folder = file.with_suffix("")
    for path in (file, *sorted(folder.iterdir())):
        content = path.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 20)):
            _ = path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            with pytest.raises(ProbeError, match="cannot be read as a recording"):
                _ = probe.load_recording(folder if path.parent == folder else file)
        _ = path.write_bytes(content)
    assert probe.load_recording(file).layers == probe.load_recording(folder).layers == ("[0]",)


#: What is changed in a recording's description, in that of its part, or among its tensors; a number repeats its part.
FALSE: list[tuple[str, Any]] = [
    ("about", {"steps": [0, 1, 2]}),
    ("about", {"steps": [True]}),
    ("about", {"max_error": float("nan")}),
    ("about", {"max_error": -1.0}),
    ("about", {"output": {"packed": [{"value": 1}]}}),
    ("about", {"output": {"dict": [1]}}),
    ("about", {"output": {"tensor": []}}),
    ("part", {"call": -1}),
    ("part", {"lengths": [4]}),
    ("part", {"lengths": [4, 5]}),
    ("part", {"signals": []}),
    ("part", {"signals": ["nonsense"]}),
    ("part", {"signals": [[]]}),
    ("part", {"gradients": ["hidden_state"]}),
    ("twice", {}),
    ("tensors", {"0.signals.cell_state": torch.zeros(2, 4)}),
    ("tensors", {"0.signals.cell_state": torch.zeros(2, 3, 3)}),
    ("tensors", {"0.initial.cell_state": torch.zeros(5, 3)}),
]


def test_a_recording_that_record_would_not_have_made_is_refused(file: Path) -> None:
    """Though its digest is right: it fails when it is opened, and not with an error of Python's when it is used."""
    content = file.read_bytes()
    for where, change in FALSE:
        _ = file.write_bytes(content)
        read: Any = tensor_files.read(file)
        about = read.about["recording"]
        {"about": about, "tensors": read.tensors}.get(where, about["parts"][0]).update(change)
        about["parts"] *= 2 if where == "twice" else 1
        _ = file.write_bytes(tensor_files.as_bytes(read.tensors, read.about))
        with refused():
            _ = probe.load_recording(file)


def test_what_python_itself_stumbles_over_is_refused(file: Path) -> None:
    """JSON that is nested too deep, and a header of numpy's that its tokenizer gives up on: errors of their own."""
    folder, away, finding = file.with_suffix(""), file.with_name("deep.safetensors"), found(file.parent)
    array = next(folder.glob("0.signals.*.npy"))
    content = array.read_bytes()
    _ = array.write_bytes(content.replace(b"'shape': (", b"'shape': (((", 1)[: len(content)])
    files = json.loads((folder / "recording.json").read_text(encoding="utf-8"))["files"]
    for changed in (files | {array.stem: digests.of_file(array)}, {"../run": "0"}):
        resealed(folder, files=changed)
        with refused():
            _ = probe.load_recording(folder)
    deep = "[" * 100_000 + "]" * 100_000
    text = json.dumps({"__metadata__": {"rnn-probe": deep}}).encode()
    _ = away.write_bytes(len(text).to_bytes(8, "little") + text)
    for path in (folder / "recording.json", finding / "finding.json"):
        _ = path.write_text(deep)
    reads: list[tuple[Any, Path]] = [(probe.load_recording, one) for one in (away, folder)]
    for read, path in (*reads, (Finding.read, finding), (read_array, array)):
        with refused():
            _ = read(path)


def test_a_folders_arrays_stay_on_the_disk(tmp_path: Path) -> None:
    """They are read once, piece by piece, and mapped: a recording may be larger than memory."""
    _ = probe.record(nn.RNN(1, 200, batch_first=True), torch.randn(50, 100, 1), out=tmp_path / "run")
    tracemalloc.start()
    recording = probe.load_recording(tmp_path / "run")
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording["hidden_state"].numel() * 4 == 4_000_000
    assert taken < 1_000_000
    nothing = probe.record(nn.RNN(1, 2, batch_first=True), torch.randn(0, 3, 1), out=tmp_path / "nothing")
    assert nothing["hidden_state"].shape == (0, 3, 2)


def test_a_folder_is_verified(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recordings, findings and converted networks below it are read whole; what is damaged is named, and exits 1."""
    tmp_path, folder = file.parent, file.with_suffix("")
    torch.save(nn.GRU(2, 3).state_dict(), tmp_path / "w.pt")
    _ = convert(probe.load(tmp_path / "w.pt"), tmp_path / "out")
    finding = found(tmp_path)
    everything = verify(tmp_path)
    names = (("finding", "finding"), ("networks", "model.safetensors"), ("recording", "run"))
    named = [(*one, "") for one in (*names, ("recording", "run.safetensors"))]
    assert [(one.kind, Path(one.path).name, one.damage) for one in everything] == named
    assert main.run(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"whole    finding  {finding}"
    for path in (next(folder.glob("*.npy")), finding / "measurements.csv", file, tmp_path / "out" / "config.json"):
        content = path.read_bytes()
        _ = path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        assert main.run(["verify", str(tmp_path), "--json"]) == 1
        out, err = capsys.readouterr()
        assert sum(bool(one["damage"]) for one in json.loads(out)) == 1
        assert "1 of 4 are damaged" in err
        _ = path.write_bytes(content)
    assert verify(file)[0].kind == "recording"
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "w.pt", tmp_path / "missing"):
        with refused():
            _ = verify(nothing)
    with refused():
        _ = probe.load(file)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a small study, with pictures."""
    folder = tmp_path_factory.mktemp("report") / "report"
    _ = study_of(planted(), **FEW).run(folder)
    return folder


def flipped(path: Path, place: int) -> bytes:
    """Flip a bit of a file, and return what it held."""
    content = path.read_bytes()
    _ = path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
    return content


def damaged(folder: Path) -> list[str]:
    """Return the kinds of what is damaged in a folder."""
    return [one.kind for one in verify(folder) if one.damage]


def test_one_bit_in_any_file_of_a_report_is_noticed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its page, its mark, what was measured, each finding and its pictures; a page that is gone as well."""
    files = [path for path in sorted(report.rglob("*")) if path.is_file() and path.name != ".lock"]
    kinds = {"index.html": "report", "study.json": "report", "xz": "measurements", "png": "finding", "svg": "finding"}
    expected = {path: kinds.get(path.name) or kinds.get(path.name.rpartition(".")[2], "finding") for path in files}
    assert set(expected.values()) == {"report", "measurements", "finding"}
    assert {path.suffix for path in files} == {".html", ".json", ".csv", ".svg", ".xz"}
    assert damaged(report) == []
    for path, kind in expected.items():
        size = path.stat().st_size
        for place in range(0, size, max(1, size // 12)):
            content = flipped(path, place)
            assert kind in damaged(report), (path, place)
            _ = path.write_bytes(content)
        if path.name in ("index.html", "finding.json"):
            away = path.rename(report / "away")
            assert "report" in damaged(report)
            _ = away.rename(path)
    assert main.run(["verify", str(report)]) == 0
    content = flipped(report / "index.html", 7)
    assert main.run(["verify", str(report)]) == 1
    assert "'index.html' was damaged or changed after it was written" in capsys.readouterr().err
    _ = (report / "index.html").write_bytes(content)


HOLDS = """
import sys, time
from pathlib import Path
from probe.storage.files import unfinished
with unfinished(Path(sys.argv[1]), folder=sys.argv[2] == "folder") as path:
    if path.is_dir():
        (path / "a.npy").write_bytes(b"0" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_killed_run_left_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    """What a process that lives is writing stays, and so does a file of somebody else with a name like it."""

    def write() -> set[str]:
        if kind == "folder":
            _ = probe.record(nn.LSTM(2, 3, batch_first=True), torch.randn(2, 4, 2), out=tmp_path / "run")
        else:
            _ = write_atomically(tmp_path / "run", "text")
        names = {path.name for path in tmp_path.iterdir()}
        _ = (tmp_path / "run").rename(tmp_path.parent / f"{kind}{time.monotonic_ns()}")
        return names

    others = {".run.original", ".run.safetensors.abc.rnn-probe-unfinished"}
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "run"), kind]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            held = {path.name for path in tmp_path.iterdir()}
            for name in others:
                _ = (tmp_path / name).write_text("mine")
            assert write() == {*held, *others, "run"}
        finally:
            process.kill()
    assert write() == {*others, "run"}


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    """Sizes are compared with the file before there is memory for them."""
    shapes = [([2], 0, 8, 9), ([3], 0, 8, 8), ([-2], 0, 8, 8), ([2], 8, 16, 16)]
    headers: list[tuple[Any, int]] = [
        ({"a": {"dtype": "F32", "shape": shape, "data_offsets": ends}}, body) for shape, *ends, body in shapes
    ]
    for header, body in (*headers, ({"a": 3}, 0), ([], 0)):
        text = json.dumps(header).encode()
        _ = (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(body))
        with refused():
            _ = probe.load(tmp_path / "a.safetensors")


def test_inputs_of_a_damaged_archive_are_refused(tmp_path: Path) -> None:
    """Whatever byte of a compressed archive is damaged, the error is one sentence."""
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random((3, 4, 2)))
    content = (tmp_path / "a.npz").read_bytes()
    for place in range(len(content)):
        _ = (tmp_path / "a.npz").write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with suppress(ProbeError):
            _ = read_array(tmp_path / "a.npz")
